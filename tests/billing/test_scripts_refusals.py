"""What a script refuses altogether: another epoch, and arguments that do not fit. Nothing is written then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rabbitgw.errors import InvariantBroken
from rabbitgw.keynames import KeyNames
from rabbitgw.prepared import WindowCheck
from rabbitgw.scripts import Scripts
from tests.billing.money_world import (
    ACCOUNT,
    AMOUNT_MAX,
    EPOCH,
    HOLD,
    KEY,
    OTHER,
    PARTITION,
    PAYLOAD,
    TAKE,
    TEST_PROLOGUE,
    TICKET,
    WORKER,
    World,
    life,
    offer,
)
from tests.scripted import LookingLink, reserve

Call = Callable[[World], Awaitable[Any]]

# Every script whose KEYS[1] is the epoch, each on something that it could well do.
CALLS: dict[str, Call] = {
    "reserve": lambda world: world.reserve(offer(1), hold_id=OTHER),
    "reserve again": lambda world: world.reserve(offer(100, enforce="1"), windows=[life(5000)]),
    "extend": lambda world: world.extend(200, delivered=20),
    "settle": lambda world: world.settle(50),
    "release": lambda world: world.release(),
    "release first": lambda world: world.release(hold_id=OTHER),
    "expire": lambda world: world.expire(),
    "credit": lambda world: world.credit(1, 5),
    "credit of a take": lambda world: world.credit(1, -5, take_id=TAKE),
    "set_aside": lambda world: world.set_aside(5),
    "put_back": lambda world: world.put_back(),
    "load": lambda world: world.scripts.load(PARTITION, 99, {"b:USD": 1}),
    "key_put": lambda world: world.scripts.key_put(PARTITION, ACCOUNT, key_id=KEY, generation=2),
    "lease": lambda world: world.lease(),
    "snapshot": lambda world: world.scripts.snapshot(PARTITION, [ACCOUNT]),
}


@pytest.fixture
async def holding(world: World) -> World:
    await world.reserve(offer(100, enforce="1"), windows=[life(5000)])
    return world


@pytest.mark.parametrize("epoch", [EPOCH + 1, EPOCH - 1, "", None])
@pytest.mark.parametrize("name", CALLS)
async def test_every_script_of_another_epoch_is_fenced(holding: World, name: str, epoch: object) -> None:
    if epoch is None:
        await holding.link.call("DEL", holding.keys.epoch_key)
    else:
        await holding.link.call("SET", holding.keys.epoch_key, str(epoch))
    before = await holding.everything()
    reply = await CALLS[name](holding)
    assert (reply if isinstance(reply, str) else reply.word) == "FENCED"
    assert await holding.everything() == before


async def test_a_raised_epoch_begins_with_nothing(holding: World) -> None:
    await holding.link.call("SET", holding.keys.epoch_key, EPOCH + 1)
    holding.scripts.use(KeyNames(4, EPOCH + 1))
    assert (await holding.settle(50)).word == "COLD"
    assert (await holding.reserve(offer(1))).word == "COLD"
    assert await holding.scripts.load(PARTITION, ACCOUNT, {"b:USD": 10, f"g:{KEY}": 1}) == "OK"
    assert (await holding.settle(50)).word == "UNKNOWN"
    assert (await holding.reserve(offer(1))).word == "OK"


def reserve_with(**changed: Any) -> Call:
    arguments: dict[str, Any] = {
        "hold_id": OTHER,
        "worker_id": WORKER,
        "currency": "USD",
        "key_id": KEY,
        "generation": 1,
        "max_age_ms": 1000,
        "backlog_max": 100,
        "windows": (),
        "offers": (offer(1),),
        "ticket": TICKET,
        **changed,
    }
    return lambda world: reserve(world.scripts, PARTITION, ACCOUNT, **arguments)


async def _settle_as(world: World, account_id: int, currency: str, status: Any = "settled") -> Any:
    return await world.scripts.settle(
        PARTITION,
        account_id,
        hold_id=HOLD,
        currency=currency,
        cost_nanos=1,
        status=status,
        payload=PAYLOAD,
    )


async def _release_as(world: World, account_id: int, currency: str) -> Any:
    return await world.scripts.release(
        PARTITION, account_id, hold_id=HOLD, currency=currency, payload=PAYLOAD
    )


MISFITS: dict[str, Call] = {
    "reserve: no offer": reserve_with(offers=()),
    "reserve: a part too many": reserve_with(offers=((*offer(1), "more"),)),
    "reserve: a part too few": reserve_with(offers=((1, 1, 0),)),
    "reserve: no offer after one": reserve_with(offers=(offer(1), ("",))),
    "reserve: a window that is half there": reserve_with(
        windows=((1, "life", 0, 0),), offers=(offer(1, enforce="1"),)
    ),
    "reserve: least above amount": reserve_with(offers=(offer(1, 2),)),
    "reserve: a later offer is wrong": reserve_with(offers=(offer(1), offer(1, 2))),
    "reserve: enforce too short": reserve_with(windows=(life(9),)),
    "reserve: enforce too long": reserve_with(offers=(offer(1, enforce="1"),)),
    "reserve: enforce of other signs": reserve_with(windows=(life(9),), offers=(offer(1, enforce="x"),)),
    "reserve: last is no flag": reserve_with(offers=(offer(1, last=2),)),
    "reserve: twenty-five windows": reserve_with(
        windows=[life(9, number) for number in range(25)], offers=(offer(1, enforce="1" * 25),)
    ),
    "reserve: a span without a start": reserve_with(
        windows=(WindowCheck(1, "life", "", 0, 9),),  # type: ignore[arg-type]
        offers=(offer(1, enforce="1"),),
    ),
    "reserve: a negative limit": reserve_with(windows=(life(-1),), offers=(offer(1, enforce="1"),)),
    "reserve: a negative age": reserve_with(max_age_ms=-1),
    "reserve: a negative backlog": reserve_with(backlog_max=-1),
    "reserve: no age": reserve_with(max_age_ms=""),
    "reserve: a hold of another currency": reserve_with(hold_id=HOLD, currency="EUR"),
    "extend: least above total": lambda world: world.extend(100, 101),
    "extend: a negative delivery": lambda world: world.extend(100, delivered=-1),
    "extend: a window too short": lambda world: world.extend(100, windows=[(11, "life", 5)]),  # type: ignore[list-item]
    "extend: a negative limit": lambda world: world.extend(100, windows=[(11, "life", -1, 1)]),  # type: ignore[list-item]
    "extend: another account's hold": lambda world: world.scripts.extend(
        PARTITION, 99, hold_id=HOLD, new_total_nanos=200, least_total_nanos=0, delivered_nanos=0
    ),
    "expire: another account's hold": lambda world: world.scripts.expire(PARTITION, 99, hold_id=HOLD),
    "settle: another account's hold": lambda world: _settle_as(world, 99, "USD"),
    "settle: another currency's hold": lambda world: _settle_as(world, ACCOUNT, "EUR"),
    "settle: no such status": lambda world: _settle_as(world, ACCOUNT, "USD", "released"),
    "settle: a first try that is no time": lambda world: world.settle(1, first_try_ms="x"),  # type: ignore[arg-type]
    "release: another account's hold": lambda world: _release_as(world, 99, "USD"),
    "release: another currency's hold": lambda world: _release_as(world, ACCOUNT, "EUR"),
    "credit: number zero": lambda world: world.credit(0, 5),
    "credit: no amount": lambda world: world.credit(1, "-0"),  # type: ignore[arg-type]
    "credit: a take that is none": lambda world: world.credit(1, -5, take_id="x"),  # type: ignore[arg-type]
    "set_aside: nothing": lambda world: world.set_aside(0),
    "set_aside: less than nothing": lambda world: world.set_aside(-1),
    "set_aside: more than there can be": lambda world: world.set_aside(AMOUNT_MAX + 10_000),
    "set_aside: a number below zero": lambda world: world.set_aside(1, -1),
    "set_aside: a take that is none": lambda world: world.set_aside(1, take_id="x"),  # type: ignore[arg-type]
    "put_back: a take that is none": lambda world: world.put_back(take_id=""),  # type: ignore[arg-type]
    "load: something set aside": lambda world: world.scripts.load(PARTITION, 98, {f"a:USD:{TAKE}": 1}),
    "load: nothing": lambda world: world.scripts.load(PARTITION, 98, {}),
    "key_put: no generation": lambda world: world.scripts.key_put(
        PARTITION, ACCOUNT, key_id=KEY, generation=-1
    ),
    "key_record_put: no generation": lambda world: world.scripts.key_record_put(
        "ab", generation=-1, record=b""
    ),
    "lease: a negative length": lambda world: world.lease(-1),
    "snapshot: too many accounts": lambda world: world.scripts.snapshot(PARTITION, range(101)),
}


@pytest.mark.parametrize("name", MISFITS)
async def test_arguments_that_do_not_fit_are_refused_and_nothing_is_written(
    holding: World, name: str
) -> None:
    await holding.scripts.load(PARTITION, 99, {"b:USD": 1, "g:7": 1})
    before = await holding.everything()
    with pytest.raises(InvariantBroken):
        await MISFITS[name](holding)
    assert await holding.everything() == before


class MangledLink(LookingLink):
    """Adds to every script call one key, or one argument, that the script does not have."""

    def __init__(self, link: LookingLink, what: str) -> None:
        self._link = link
        self._what = what

    def call(self, *args: bytes | str | int) -> Awaitable[Any]:
        if args[0] not in (b"EVALSHA", b"EVAL"):
            return self._link.call(*args)
        command, script, n_keys, *rest = args
        if self._what == "argument":
            return self._link.call(*args, "more")
        return self._link.call(
            command, script, int(n_keys) + 1, *rest[: int(n_keys)], "more", *rest[int(n_keys) :]
        )


@pytest.mark.parametrize("what", ["key", "argument"])
@pytest.mark.parametrize("name", [*CALLS, "key_record_put"])
async def test_a_key_or_an_argument_too_many_is_refused_and_nothing_is_written(
    holding: World, name: str, what: str
) -> None:
    calls: dict[str, Call] = {
        **CALLS,
        "key_record_put": lambda world: world.scripts.key_record_put("ab", generation=1, record=b"{}"),
    }
    before = await holding.everything()
    holding.scripts = Scripts(MangledLink(holding.clocked, what), holding.names, prologue=TEST_PROLOGUE)
    if name == "snapshot" and what == "key":
        assert (await CALLS[name](holding)).accounts[1] == {}  # one more account
        return
    with pytest.raises(InvariantBroken, match="BADARG"):
        await calls[name](holding)
    assert await holding.everything() == before
