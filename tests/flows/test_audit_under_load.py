"""`rabbitgw audit` while money moves: exact every time, and a nano that is wrong is named in the same run.

An audit counts as one of the twenty only if at least a hundred answers a second were seen whole while it ran;
those during which the machine was busy with something else must pass as well.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import asyncpg
import pytest

from tests.fakes.openai_upstream import FakeUpstream
from tests.flows.callers import KINDS, Callers, script
from tests.flows.house import until
from tests.flows.processes import Deployment, deployment

AUDITS = 20
AUDITS_MAX = 200
ANSWERS_PER_S = 100
CALLERS = 8
QUICK = tuple(kind for kind in KINDS if kind.model in ("gpt-4o-plain", "gpt-4o-stream"))


@pytest.mark.timeout(400)
async def test_audits_pass_while_calls_flow_and_name_a_seeded_breach(
    dsn: str, redis_url: str, upstream: FakeUpstream, tmp_path: Path
) -> None:
    script(upstream)
    async with deployment(
        dsn, redis_url, upstream.base_url, tmp_path, credit_nanos=10_000_000_000_000
    ) as house:
        await house.gateway()
        await house.worker()
        callers = Callers(house.base_url, house.secret, random.Random(0), count=CALLERS, kinds=QUICK)
        async with callers:
            await until(lambda: callers.seen.served > CALLERS)
            await audit_under_load(house, callers)
            await seed_breaches(house, dsn)
        assert set(callers.seen.outcomes) == {"whole"}, callers.seen.outcomes


async def audit_under_load(house: Deployment, callers: Callers) -> None:
    rates: list[float] = []
    for number in range(1, AUDITS_MAX + 1):
        before, began_s = callers.seen.served, time.monotonic()
        report = await house.assert_audit_passes()
        assert all(one["checked"] for one in report["invariants"]), report
        rate = (callers.seen.served - before) / (time.monotonic() - began_s)
        if rate >= ANSWERS_PER_S:
            rates.append(rate)
        if len(rates) == AUDITS:
            print(
                f"\n{AUDITS} audits passed while {min(rates):.0f} to {max(rates):.0f} answers/s were seen whole"
                f" ({number} audits in all, {callers.seen.served} answers)"
            )
            return
    raise AssertionError(f"{AUDITS_MAX} audits passed, but only {len(rates)} saw {ANSWERS_PER_S} answers/s")


async def seed_breaches(house: Deployment, dsn: str) -> None:
    """A nano too much, first in Redis and then in PostgreSQL, by the hand of somebody who may do anything."""
    account_id = house.account.id
    redis_account = house.stores.scripts.names.partition[house.account.partition].account(account_id)
    await house.stores.link.call("HINCRBY", redis_account, "b:USD", 1)
    breach = await only_breach(house)
    assert f"account {account_id}: Redis balance in USD" in breach
    assert "off by 1 nanos" in breach
    await house.stores.link.call("HINCRBY", redis_account, "b:USD", -1)
    await house.assert_audit_passes()

    owner = await asyncpg.connect(dsn)
    try:
        await owner.execute(
            "UPDATE wallets SET balance_nanos = balance_nanos + 1 WHERE account_id = $1", account_id
        )
        breach = await only_breach(house)
        assert f"account {account_id}: wallet in USD, against its ledger entries" in breach
        assert f"account {account_id}: Redis balance in USD" in breach
        assert "off by -1 nanos" in breach
        assert "E+" not in breach
        await owner.execute(
            "UPDATE wallets SET balance_nanos = balance_nanos - 1 WHERE account_id = $1", account_id
        )
    finally:
        await owner.close()
    await house.assert_audit_passes()


async def only_breach(house: Deployment) -> str:
    """The audit fails, by invariant 5 and no other. Returns what it says."""
    status, report = await house.audit()
    broken = [one for one in report["invariants"] if not one["ok"]]
    assert (status, report["ok"], [one["id"] for one in broken]) == (1, False, [5]), report
    print(f"the audit says: {broken[0]['detail']}")
    return str(broken[0]["detail"])
