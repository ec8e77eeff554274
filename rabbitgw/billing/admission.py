"""The till: how the proxy reserves, extends, settles and releases money, with the cases between handled.

The scripts decide; this file turns their words into results and errors, loads a cold account, looks a stale key up
again, names today's spans, and waits a moment for money that other calls of the same account still hold.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

from rabbitgw import clock, metrics
from rabbitgw.billing.desks import NO_LOAD, Desk, Desks, Load
from rabbitgw.billing.growing import grow
from rabbitgw.billing.hold import Beyond, Hold, Terms
from rabbitgw.billing.holding import Holding
from rabbitgw.billing.keyring import KeyRecord, Keyring
from rabbitgw.billing.leases import Leases
from rabbitgw.billing.overflow import Way
from rabbitgw.billing.plan_book import PlanFeed
from rabbitgw.billing.refusals import extend_error, reserve_error
from rabbitgw.billing.settling import Ending, Settler
from rabbitgw.billing.shortfalls import balance_taken
from rabbitgw.billing.ways import OFF
from rabbitgw.clock import RedisClock
from rabbitgw.errors import (
    BalanceShort,
    RabbitError,
    RedisReplyError,
    RedisUnavailable,
    WindowShort,
)
from rabbitgw.keynames import FIELD_SEPARATOR
from rabbitgw.replies import ReserveReply
from rabbitgw.scripts import Scripts

TRIES_MAX: Final = 6  # words that ask for a correction and another try: cold, stale, span
WAITS_MAX: Final = 6  # of hold_wait_s: how long the line may take in all, as long as it moves
# How a call of this key would be taken by each of these ways.
Offered = Callable[[KeyRecord, tuple[Way, ...]], tuple[Beyond, ...]]
_Tried = tuple[Desk, tuple[Beyond, ...], bytes, Awaitable[Any]]  # a reserve as it was sent, and its reply
TICKET_SEPARATOR: Final = FIELD_SEPARATOR.encode()
_SETTLE_SECONDS: Final = metrics.SETTLE_SECONDS.cells()


class Till:
    """One per process.

    load: brings an account into Redis from the books.
    hold_wait_s: how long a reserve waits for other calls of the account to free what they hold, while none of them ends
    or grows; WAITS_MAX times that in all.
    """

    def __init__(
        self,
        scripts: Scripts,
        keyring: Keyring,
        leases: Leases,
        settler: Settler,
        redis_clock: RedisClock,
        load: Callable[[int], Awaitable[None]],
        plans: PlanFeed,
        *,
        hold_max_age_s: int,
        events_backlog_max: int,
        hold_wait_s: float,
        overdraft_gating: str = OFF,
    ) -> None:
        self._scripts = scripts
        self._link = scripts.link
        self._keyring = keyring
        self._leases = leases
        self._settler = settler
        self._clock = redis_clock
        self._load = load
        self._hold_wait_s = hold_wait_s
        self._holding = Holding()
        self._desks = Desks(
            scripts,
            plans,
            leases.worker_id,
            max_age_ms=hold_max_age_s * 1000,
            backlog_max=events_backlog_max,
            overdraft_gating=overdraft_gating,
        )

    def now_ms(self) -> int:
        """Redis' clock, estimated."""
        return self._clock.now_ms()

    def others_hold(self, hold: Hold) -> bool:
        """Whether other calls of this account hold money in this process, which their end may free."""
        return self._holding.held_nanos(hold.key.account_id) > hold.wallet_nanos

    async def reserve(
        self,
        secret: str,
        key: KeyRecord,
        hold_id: str,
        terms: tuple[Terms, ...],
        ticket: bytes,
        *,
        check: Callable[[KeyRecord], None] = lambda key: None,
        load: Load = NO_LOAD,
        beyond: Offered | None = None,
    ) -> Hold:
        """Set money aside by the first of `terms` that passes; or, where the first fails at the limit of a plan, by the
        first that passes of what `beyond` makes of the plan's ways.

        `check` raises what a key forbids (other models, say): asked again of a key that has changed since the caller
        looked at it. `load`: what it takes of rates.
        Raises: AuthError (the key was revoked or changed), BalanceShort, WindowShort, RateLimited, Backlog,
        RedisUnavailable, PostgresUnavailable (the account is not in Redis and cannot be loaded). Nothing is held then.
        """
        if key.plans and self._desks.of(key, self._clock.now_ms(), load).laid.borne:
            terms = (terms[0]._replace(growth=None), *terms[1:])  # nobody's money becomes scarce by it
        account_id, first = key.account_id, terms[0]
        tried = None
        entered = self._holding.enter(account_id, hold_id, first.amount_nanos, first.growth)
        if entered:  # as `_ask`, of which nearly every call would be three coroutines more
            try:
                if self._leases.held(key.partition):
                    tried = desk, offered, _, sent = self._sent(key, hold_id, terms, ticket, load, beyond)
                    reply = await sent
                    if reply[0] == b"OK":
                        _, index, granted, available, now_ms, *more = reply
                        self._clock.observe(now_ms)
                        hold = Hold(hold_id, key, index, int(granted), desk.windows, desk.ends, desk.laid)
                        wallet_nanos = hold.granted_nanos
                        if more or key.plans:
                            hold.complete(offered, desk.counts_tokens, *more)
                            wallet_nanos = hold.wallet_nanos
                        self._holding.granted(account_id, hold_id, wallet_nanos, int(available))
                        return hold
            except RedisUnavailable:
                pass  # `_ask` meets it again, in what was sent
            except BaseException:
                self._give_up(account_id, hold_id)
                raise
        return await self._reserve_on(
            secret, key, hold_id, terms, ticket, check, load, beyond, entered, tried
        )

    def _sent(
        self,
        key: KeyRecord,
        hold_id: str,
        terms: tuple[Terms, ...],
        ticket: bytes,
        load: Load,
        beyond: Offered | None,
    ) -> _Tried:
        """Send a reserve as the key's desk has it now. The ways beyond a limit come before what holds less than the
        whole: who has bought them is not to be limited first."""
        desk = self._desks.of(key, self._clock.now_ms(), load)
        offered: tuple[Beyond, ...] = ()
        if beyond is not None and desk.laid.ways:
            offered = beyond(key, desk.laid.ways)
        if offered:
            write = desk.command
            offers = write.offers(terms[:1])
            for place, one in enumerate(offered, 1):
                offers += write.way(one.terms, one.way.enforce, one.way.how, place)
            offers += write.offers(terms[1:])
            ticket = TICKET_SEPARATOR.join([ticket, *(one.ticket for one in offered)])
        else:
            offers = desk.command.offers(terms)
        command = desk.command.filled(hold_id, offers, ticket, load[1] or 0)
        return desk, offered, command, self._link.send(command)

    async def _reserve_on(
        self,
        secret: str,
        key: KeyRecord,
        hold_id: str,
        terms: tuple[Terms, ...],
        ticket: bytes,
        check: Callable[[KeyRecord], None],
        load: Load,
        beyond: Offered | None,
        entered: bool,
        tried: _Tried | None,
    ) -> Hold:
        """Go on with a reserve that was not granted at once."""
        refusal: BalanceShort | WindowShort | None = None
        try:
            if entered:
                try:
                    return await self._ask(secret, key, hold_id, terms, ticket, check, load, beyond, tried)
                except (BalanceShort, WindowShort) as error:
                    refusal = error

            def ask(terms: tuple[Terms, ...]) -> Awaitable[Hold]:
                return self._ask(secret, key, hold_id, terms, ticket, check, load, beyond)

            return await self._stand_in_line(key, hold_id, terms, ask, refusal)
        except RabbitError as error:
            metrics.hold_refused(error)
            raise

    async def extend(self, hold: Hold, wanted_nanos: int, delivered_nanos: int) -> None:
        """Let the hold grow towards `wanted_nanos`, a total; all there is, if that is less but more than now.

        Raises: BudgetError when it cannot grow at all, RedisUnavailable.
        """
        now_ms = self._clock.now_ms() if hold.windows else 0
        reply = await grow(self._scripts, hold, wanted_nanos, delivered_nanos, now_ms)
        account_id = hold.key.account_id
        if reply.word == "OK":
            self._holding.granted(account_id, hold.hold_id, hold.wallet_nanos, reply.available_nanos)
            return
        if reply.word in ("SHORT", "WINDOW"):
            self._holding.starves(account_id, hold.hold_id)
        raise extend_error(hold.key, hold.windows, reply)

    async def settle(
        self,
        hold: Hold,
        cost_nanos: int,
        status: Literal["settled", "partial"],
        payload: bytes,
        tokens: int | None = None,
    ) -> None:
        """Turn the hold into a charge; returns when Redis has it, or else the spool on disk. `tokens`: what
        it used, where the hold counts them.

        Raises: StoreError when neither could be reached: the caller must not see its answer whole.
        """
        key, hold_id, began_s = hold.key, hold.hold_id, clock.monotonic_s()
        try:
            first_try_ms = self._clock.now_ms()
            command = hold.ends.settle(hold_id, cost_nanos, first_try_ms, status, payload, tokens)
            sent = self._link.send(command)
            try:
                charged = (await sent)[0] == b"OK"
            except RedisUnavailable:
                charged = False  # the settler meets it again, in what was sent
            if not charged:
                ending = Ending(
                    hold_id, key.partition, key.account_id, key.currency,
                    cost_nanos, status, payload, first_try_ms, tokens, hold.borne_of(cost_nanos),
                )  # fmt: skip
                await self._settler.settle(ending, command, sent, began_s)
        finally:
            _SETTLE_SECONDS.observe(clock.monotonic_s() - began_s)
            if hold.laid.plan_of:
                cost_nanos -= hold.borne_of(cost_nanos)
            self._holding.ended(key.account_id, hold_id, cost_nanos, whole=status == "settled")

    async def release(self, hold: Hold, payload: bytes) -> None:
        """Give the hold back. Never raises for a store that is away: the release is tried until it is through."""
        try:
            await self._settler.end(self._released(hold.key, hold.hold_id, payload))
        finally:
            self._holding.ended(hold.key.account_id, hold.hold_id, 0, whole=False)

    def _released(self, key: KeyRecord, hold_id: str, payload: bytes) -> Ending:
        at_ms = self._clock.now_ms()
        return Ending(hold_id, key.partition, key.account_id, key.currency, 0, "released", payload, at_ms)

    def _wait_s(self, account_id: int, began_s: float) -> float:
        """How long a call may go on waiting: the line is given up when it stands still, or takes too long in all."""
        moved_s = max(began_s, self._holding.moved_s(account_id))
        ends_s = min(moved_s + self._hold_wait_s, began_s + WAITS_MAX * self._hold_wait_s)
        return ends_s - clock.monotonic_s()

    def _is_worth_waiting(
        self, account_id: int, terms: tuple[Terms, ...], error: BalanceShort | WindowShort
    ) -> bool:
        """Whether what other calls hold would do, if all of it came free."""
        room_nanos = error.available_nanos + self._holding.held_nanos(account_id)
        return room_nanos > 0 and room_nanos >= min(offer.least_nanos for offer in terms)

    async def _stand_in_line(
        self,
        key: KeyRecord,
        hold_id: str,
        terms: tuple[Terms, ...],
        ask: Callable[[tuple[Terms, ...]], Awaitable[Hold]],
        refusal: BalanceShort | WindowShort | None,
    ) -> Hold:
        """Ask when it is worth it, until there is a hold, or no use to wait any more. `refusal`: of a first try."""
        account_id, first, holding = key.account_id, terms[0], self._holding
        began_s = clock.monotonic_s()
        new, refused_now = True, refusal is not None
        while True:
            if not refused_now and (
                holding.may_begin(account_id, first.amount_nanos, first.growth, new=new)
                or (self._wait_s(account_id, began_s) <= 0 and holding.few_run(account_id))
            ):
                amount_nanos = holding.begin(account_id, hold_id, first.amount_nanos, first.growth)
                asked = terms
                if amount_nanos < first.amount_nanos:
                    less = first._replace(amount_nanos=amount_nanos, least_nanos=amount_nanos)
                    asked = (less, *terms[1:])
                try:
                    return await ask(asked)
                except (BalanceShort, WindowShort) as error:
                    refusal, refused_now = error, True
            if refusal is not None and refused_now and not self._is_worth_waiting(account_id, terms, refusal):
                holding.wake(account_id)  # what is too little here may do for the next
                raise refusal
            refused_now = False
            wait_s = self._wait_s(account_id, began_s)
            if wait_s <= 0 or not await holding.wait(account_id, wait_s, new=new):
                holding.wake(account_id)
                raise refusal or balance_taken(key)
            new = False

    async def _ask(
        self,
        secret: str,
        key: KeyRecord,
        hold_id: str,
        terms: tuple[Terms, ...],
        ticket: bytes,
        check: Callable[[KeyRecord], None],
        load: Load,
        beyond: Offered | None,
        tried: _Tried | None = None,
    ) -> Hold:
        """Ask for a hold, corrected as the script asks, until it grants or refuses; and let the others of the
        account know what came of it. `tried`: a first try that is sent already."""
        account_id = key.account_id
        try:
            for _ in range(TRIES_MAX):
                if tried is None:
                    await self._leases.ensure(key.partition)
                    tried = self._sent(key, hold_id, terms, ticket, load, beyond)
                (desk, offered, command, sent), tried = tried, None
                try:
                    reply = await self._scripts.reserved(command, sent)
                except RedisReplyError:
                    raise  # refused, and nothing written: a tombstone would only fill a Redis that is full
                except RedisUnavailable:
                    # it may have been granted: leave a release behind, so that whichever comes second finds the other
                    self._settler.end_later(self._released(key, hold_id, ticket))
                    raise
                if reply.now_ms:
                    self._clock.observe(reply.now_ms)
                if reply.word in ("OK", "HELD"):
                    break
                key = await self._corrected(secret, key, check, desk, reply)
            else:
                raise RedisUnavailable(f"reserve of account {account_id} did not come to an end")
        except BalanceShort as error:
            self._holding.refused(account_id, hold_id, error.available_nanos)
            raise
        except BaseException:
            self._give_up(account_id, hold_id)
            raise
        hold = Hold(hold_id, key, reply.offer, reply.granted_nanos, desk.windows, desk.ends, desk.laid)
        hold.complete(offered, desk.counts_tokens, reply.standing, reply.passed)
        self._holding.granted(account_id, hold_id, hold.wallet_nanos, reply.available_nanos)
        return hold

    def _give_up(self, account_id: int, hold_id: str) -> None:
        self._holding.refused(account_id, hold_id)
        self._holding.wake(account_id)

    async def _corrected(
        self,
        secret: str,
        key: KeyRecord,
        check: Callable[[KeyRecord], None],
        desk: Desk,
        reply: ReserveReply,
    ) -> KeyRecord:
        """What a reserve that granted nothing asks for before it is sent again. Returns the key to send it for.
        Raises: what is in its way for good."""
        match reply.word:
            case "COLD":
                await self._load(key.account_id)
            case "STALE":
                key = await self._fresh(secret, key)
                check(key)
            case "SPAN":
                pass  # the clock has been observed; the spans are named anew
            case _:
                raise reserve_error(key, desk, reply)
        return key

    async def _fresh(self, secret: str, key: KeyRecord) -> KeyRecord:
        """The key as it is now. Redis may be the older of the two: then it is told the generation."""
        fresh = await self._keyring.refresh(secret)
        if fresh.generation == key.generation:
            await self._scripts.key_put(
                key.partition, key.account_id, key_id=key.key_id, generation=key.generation
            )
        return fresh
