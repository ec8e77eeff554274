"""What providers tell us: stored as it came once its signature is good, and worked off afterwards.

Owns the table of events and what becomes of each. A webhook is answered when it is stored and nothing else is done for
it, so a provider is kept waiting for one insert; if that fails, it is told so and comes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from rabbitgw import metrics, statements, telemetry
from rabbitgw.clock import now_ms
from rabbitgw.errors import (
    Conflict,
    InvariantBroken,
    NotFound,
    PaymentsOff,
    PaymentUnavailable,
    RabbitError,
    SignatureInvalid,
    StoreError,
)
from rabbitgw.payments.codes import release_old
from rabbitgw.payments.leases import LEASE, pause_after
from rabbitgw.payments.sync import OTHER_MODE
from rabbitgw.stores import connection

if TYPE_CHECKING:
    import asyncpg

    from rabbitgw.payments.contract import Backfilled, PaymentEvent, PaymentProvider
    from rabbitgw.payments.registry import Providers
    from rabbitgw.payments.sync import Sync
    from rabbitgw.stores import Pool

ATTEMPTS_MAX: Final = 80  # with an hour between the last ones, three days: as long as providers try
AT_ONCE: Final = 4
WEBHOOK: Final = "webhook"
BACKFILL: Final = "backfill"


async def receive_webhook(
    pg: Pool, provider: PaymentProvider, headers: Mapping[str, str], body: bytes
) -> bool:
    """Store a genuine webhook. Returns: whether it is new.

    Raises: SignatureInvalid, RequestInvalid (no event), Conflict (its id is another message's): nothing is stored.
            PaymentsOff, PostgresUnavailable: it is to come again.
    """
    try:
        event = await provider.handle_webhook(headers, body)
    except SignatureInvalid as error:
        metrics.WEBHOOKS.add(1, provider.name, "forged")
        telemetry.warn("webhook_refused", provider=provider.name, reason=error.message)
        raise
    try:
        fresh = await _store(pg, provider, event, body, WEBHOOK)
    except StoreError:
        metrics.WEBHOOKS.add(1, provider.name, "failed")
        raise
    metrics.WEBHOOKS.add(1, provider.name, "stored" if fresh else "repeated")
    telemetry.log("webhook_stored", provider=provider.name, event_id=event.event_id, type=event.type,
                  order_id=event.order_id, fresh=fresh)  # fmt: skip
    return fresh


async def _store(pg: Pool, provider: PaymentProvider, event: PaymentEvent, body: bytes, source: str) -> bool:
    if event.livemode != provider.livemode:
        state, outcome = "ignored", OTHER_MODE
    elif not event.wanted:
        state, outcome = "ignored", "nothing that we act on"
    else:
        state, outcome = "stored", None
    async with connection(pg) as db:
        row = await db.fetchrow(
            statements.provider_events.store, provider.name, event.event_id, event.type, body, event.livemode,
            event.wanted, event.provider_txn_id, event.order_id, event.made_at, source, state, outcome,
        )  # fmt: skip
    assert row is not None
    if event.exact and not row["same"]:
        raise Conflict("id: another message has it; what differs needs an id of its own", field="id")
    return bool(row["fresh"])


class Events:
    """Works stored events off, any number of processes at once: each event is leased to one."""

    def __init__(self, pg: Pool, providers: Providers, sync: Sync) -> None:
        self._pg = pg
        self._providers = providers
        self._sync = sync

    async def run_once(self) -> int:
        """Work off what is due. Returns: how many events were ended. Raises: StoreError."""
        done = await asyncio.gather(*(self._drain() for _ in range(AT_ONCE)), return_exceptions=True)
        for one in done:
            if isinstance(one, BaseException):
                raise one
        return sum(one for one in done if isinstance(one, int))

    async def _drain(self) -> int:
        ended = 0
        while True:
            async with connection(self._pg) as db:
                row = await db.fetchrow(statements.provider_events.claim, LEASE)
            if row is None:
                return ended
            ended += await self._handle(row)

    async def _handle(self, row: asyncpg.Record) -> bool:
        try:
            provider = self._providers.get(row["provider"])
            look = await self._sync.look(provider, row["provider_txn_id"])
        except (PaymentUnavailable, PaymentsOff, NotFound) as error:
            return await self._later(row, error)
        except (StoreError, InvariantBroken):
            raise
        except RabbitError as error:  # the provider does not know it, or says what nobody can book
            return await self._end(row, "given_up", error.message)
        state = "ignored" if look.order_id is None else "done"
        return await self._end(row, state, look.outcome)

    async def _later(self, row: asyncpg.Record, error: RabbitError) -> bool:
        attempts = row["attempts"]
        if attempts >= ATTEMPTS_MAX:
            return await self._end(row, "given_up", error.message)
        pause = pause_after(attempts)
        telemetry.warn("payment_event_waits", event_id=row["event_id"], provider=row["provider"],
                       reason=error.message, attempts=attempts, pause_s=int(pause.total_seconds()))  # fmt: skip
        async with connection(self._pg) as db:
            await db.execute(statements.provider_events.try_again, row["id"], pause, error.message)
        return False

    async def _end(self, row: asyncpg.Record, state: str, outcome: str) -> bool:
        async with connection(self._pg) as db:
            await db.execute(statements.provider_events.end, row["id"], state, outcome)
        if state == "given_up":
            telemetry.error("payment_event_given_up", event_id=row["event_id"], provider=row["provider"],
                            reason=outcome)  # fmt: skip
        metrics.PAYMENT_EVENTS.add(1, row["provider"], state)
        return True


class Backfill:
    """Asks providers, once a day, for events that never came, and looks at orders that nobody was heard of."""

    EVERY: Final = timedelta(days=1)
    OVERLAP: Final = timedelta(hours=1)  # events are listed by when they were made, and may be listed late
    BACK_MAX: Final = timedelta(days=30)  # as long as Stripe keeps them
    UNHEARD: Final = timedelta(hours=1)
    ROWS_MAX: Final = 200

    def __init__(self, pg: Pool, providers: Providers, sync: Sync) -> None:
        self._pg = pg
        self._providers = providers
        self._sync = sync

    async def run_once(self) -> int:
        """Ask every provider whose day is over. Returns: how many events were new. Raises: StoreError."""
        await release_old(self._pg)
        found = 0
        for provider in self._providers:
            async with connection(self._pg) as db:
                row = await db.fetchrow(statements.provider_events.backfilled, provider.name)
            now = datetime.fromtimestamp(now_ms() / 1000, UTC)
            if row is not None and now - row["ran_at"] < self.EVERY:
                continue
            async with connection(self._pg) as db:
                first = await db.fetchval(statements.orders.first, provider.name, self.BACK_MAX)
            if first is None:  # nothing of ours can have happened there, only other programs' payments
                continue
            since = first if row is None else max(first, row["asked_until"])
            since -= self.OVERLAP
            try:
                found += await self.ask(provider, since)
            except PaymentUnavailable as error:
                telemetry.warn("backfill_waits", provider=provider.name, reason=error.message)
                continue
            async with connection(self._pg) as db:
                await db.execute(statements.provider_events.note_backfill, provider.name, now)
        return found

    async def ask(self, provider: PaymentProvider, since: datetime) -> int:
        """Store what is missing since then, and look at open orders. Raises: PaymentUnavailable, StoreError."""
        new = 0
        kept: Backfilled
        async for kept in provider.events(since):
            new += await _store(self._pg, provider, kept.event, kept.body, BACKFILL)
        looked = await self._open_orders(provider)
        telemetry.log("backfill_done", provider=provider.name, new_events=new, orders_looked_at=looked)
        return new

    async def _open_orders(self, provider: PaymentProvider) -> int:
        after = looked = 0
        while True:
            async with connection(self._pg) as db:
                rows = await db.fetch(
                    statements.orders.unheard,
                    provider.name,
                    self.UNHEARD,
                    self.BACK_MAX,
                    after,
                    self.ROWS_MAX,
                )
            for row in rows:
                after = row["id"]
                looked += 1
                try:
                    await self._sync.look(provider, row["provider_txn_id"])
                except (PaymentUnavailable, StoreError, InvariantBroken):
                    raise
                except RabbitError as error:  # unknown there: the next orders may be known
                    telemetry.warn("order_unknown_to_provider", order_id=row["order_id"], provider=provider.name,
                                   reason=error.message)  # fmt: skip
            if len(rows) < self.ROWS_MAX:
                return looked
