"""What waits between the stores."""

from __future__ import annotations

from rabbitgw.billing import keys
from rabbitgw.billing.consumer import Consumer
from rabbitgw.billing.epoch import read_names
from rabbitgw.findings import State
from tests.doctor.conftest import Deployment


async def test_events_that_nobody_books(deployment: Deployment) -> None:
    names = await read_names(deployment.pg)
    for _ in range(3):
        await deployment.link.call("XADD", names.partition[5].events, "*", "id", "x")
    found = (await deployment.look())["books.backlog"]
    assert found.state is State.OK
    assert found.found.startswith("usage events that wait: 3, ")
    assert (await deployment.look(events_backlog_max=4))["books.backlog"].state is State.WARNING
    assert (await deployment.look(events_backlog_max=3))["books.backlog"].state is State.FAILED
    await deployment.link.call("XADD", names.partition[6].events, "1000-0", "id", "x")
    found = (await deployment.look())["books.backlog"]
    assert found.state is State.WARNING
    assert "that wait: 4, " in found.found


async def test_events_that_could_not_be_read(deployment: Deployment) -> None:
    dead = "INSERT INTO dead_events VALUES (1, 1, 1, {}, 'no id', {}, '{{}}')"
    await deployment.execute(dead.format(1, "true"))
    assert (await deployment.unusual())["books.dead_events"].state is State.WARNING
    await deployment.execute(dead.format(2, "false"))
    found = (await deployment.unusual())["books.dead_events"]
    assert found.state is State.FAILED
    assert found.found == "usage events that could not be read whole: 2, of these not charged: 1"


async def test_a_key_that_redis_was_not_told_of(deployment: Deployment) -> None:
    await keys.create_key(deployment.pg, keys.NewKey(account_id=1, name="k"))
    found = (await deployment.unusual())["books.untold"]
    assert found.state is State.WARNING
    assert "credits 0, changed keys 1" in found.found


async def test_a_worker_is_seen(deployment: Deployment) -> None:
    await Consumer(deployment.pg, deployment.link).run_once()
    found = (await deployment.look())["books.worker"]
    assert (found.state, found.found) == (State.OK, "workers: 1; they book 64 of 64 partitions")
