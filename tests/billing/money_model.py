"""The rules of the money scripts, said once more in plain Python with whole numbers, for the state machine.

Written from the rules and not from the Lua: one account, one currency, any number of windows. It answers what
the scripts must answer, and keeps what they must keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from rabbitgw.prepared import RateCheck, WindowCheck
from rabbitgw.replies import CreditReply, ExpireReply, ExtendReply, ReleaseReply, ReserveReply, SettleReply
from rabbitgw.scripts import WindowLimit
from tests.billing.rates_model import RatesModel
from tests.billing.takes_model import TakesModel
from tests.scripted import Offer

SETTLE_AGE_MAX_MS = 450_000
ENDLESS = 10**30


@dataclass(frozen=True)
class Part:
    """What one way of taking a call holds; `windows` are "id:span"."""

    amount: int
    borne: bool
    windows: tuple[str, ...]


@dataclass(frozen=True)
class Hold:
    worker_id: str
    parts: tuple[Part, ...]
    delivered: int
    max_at_ms: int
    last: bool
    ticket: bytes
    rates: str = ""

    @property
    def amount(self) -> int:
        return sum(part.amount for part in self.parts)

    @property
    def from_wallet(self) -> int:
        return sum(part.amount for part in self.parts if not part.borne)

    def shares(self, cost: int) -> list[int]:
        """A cost divided among the parts in their order: each takes up to what it holds, the last the rest."""
        shares = []
        for part in self.parts[:-1]:
            shares.append(min(cost, part.amount))
            cost -= shares[-1]
        return [*shares, cost]


@dataclass(frozen=True)
class Mark:
    kind: str  # S settled, R released, E expired
    at_ms: int
    charged: int = 0
    hold: Hold | None = None


@dataclass(frozen=True)
class Event:
    """`moves`: what it moved in each window; `borne`: what a plan bore of it."""

    hold_id: str
    status: str
    charge: int
    paid: int
    moves: tuple[tuple[str, int], ...]
    borne: int = 0


@dataclass
class Model:
    balance: int
    generation: int = 1
    seq: int = 0
    credited: int = 0
    worst: int | None = None
    now_ms: int = 0
    holds: dict[str, Hold] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    leases: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    latest: dict[int, str] = field(default_factory=dict)
    before: dict[int, str] = field(default_factory=dict)
    last_hold: str | None = None
    below_zero_at_ms: int | None = None  # when the balance went there last
    rates: RatesModel = field(default_factory=RatesModel)
    takes: TakesModel = field(default_factory=TakesModel)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.credited = self.balance

    @property
    def held(self) -> int:
        return sum(hold.from_wallet for hold in self.holds.values()) + self.takes.held

    @property
    def available(self) -> int:
        return self.balance - self.held

    # -- admission --

    def reserve(
        self,
        hold_id: str,
        worker_id: str,
        generation: int,
        max_age_ms: int,
        backlog_max: int,
        windows: Sequence[WindowCheck],
        offers: Sequence[Offer],
        ticket: bytes,
        rates: Sequence[RateCheck] = (),
        tokens: int = 0,
    ) -> ReserveReply:
        if hold_id in self.marks:
            return ReserveReply("DONE")
        if hold_id in self.holds:
            hold = self.holds[hold_id]
            fits = [
                o.last == hold.last
                and o.least_nanos <= hold.amount
                and _ticket(o, offers, ticket) == hold.ticket
                for o in offers
            ]
            index = fits.index(True)
            return ReserveReply("HELD", index, hold.amount, self.available, self.now_ms)
        if generation != self.generation:
            return ReserveReply("STALE")
        windows = [self._open(window) for window in windows]
        if any(self.now_ms < w.start_ms or (w.end_ms and self.now_ms >= w.end_ms) for w in windows):
            return ReserveReply("SPAN", now_ms=self.now_ms)
        if len(self.events) >= backlog_max:
            return ReserveReply("BACKLOG", backlog=len(self.events))
        refusal = self.rates.refusal(rates, tokens, self.now_ms)
        if refusal is not None:
            standing = self.rates.standing(rates, self.now_ms)
            return ReserveReply("RATE", now_ms=self.now_ms, standing=standing, refusal=refusal)
        for index, offer in enumerate(offers):
            if not self._is_open(offer, offers[0], windows):
                continue
            granted = self._grant(offer, windows)
            if granted is not None:
                passed = [
                    sign == "0" and self._room(window) < granted
                    for sign, window in zip(offer.enforce, windows, strict=True)
                ]
                its_own = _ticket(offer, offers, ticket)
                self._hold(hold_id, worker_id, max_age_ms, windows, offer, granted, its_own)
                kept = self.rates.take(rates, tokens, self.now_ms)
                self.holds[hold_id] = replace(self.holds[hold_id], rates=kept)
                return ReserveReply(
                    "OK",
                    index,
                    granted,
                    self.available,
                    self.now_ms,
                    standing=self.rates.standing(rates, self.now_ms),
                    passed=passed.index(True) if True in passed else -1,
                )
        return self._refusal(offers[0], windows)

    def _is_gated(self, offer: Offer) -> bool:
        """The offer is only for a wallet that has not gone below zero since a moment, and it has."""
        gate = _manner(offer)[1]
        if gate is None or self.balance >= 0:
            return False
        return self.below_zero_at_ms is None or self.below_zero_at_ms >= gate

    def _is_open(self, offer: Offer, first: Offer, windows: Sequence[WindowCheck]) -> bool:
        """A way of an overflow policy is tried only where the first offer fails at a window that it leaves out, or, if
        the plan bears it, because the wallet is below zero."""
        borne, _, way = _manner(offer)
        if self._is_gated(offer):
            return False
        if not way:
            return True
        if self._is_gated(first):
            return borne
        tightest = self._tightest(first, windows)[1]
        return tightest is not None and offer.enforce[tightest] == "-"

    def _open(self, window: WindowCheck) -> WindowCheck:
        """In the span that the call counts in: of a window that opens at an admission the open one, or a new one."""
        if not window.span.startswith("*"):
            return window
        span = self.latest.get(window.window_id)
        if span is None or self.now_ms >= int(span) + int(window.span[1:]):
            span = str(self.now_ms)
        return window._replace(span=span)

    def _room(self, window: WindowCheck) -> int:
        return window.limit_nanos - self.counters.get(f"{window.window_id}:{window.span}", 0)

    def _grant(self, offer: Offer, windows: Sequence[WindowCheck]) -> int | None:
        if offer.last and self.last_hold is not None:
            return None
        if offer.amount_nanos == 0:
            return 0 if self.balance >= 0 or _manner(offer)[0] else None
        granted = min(offer.amount_nanos, self._tightest(offer, windows)[0])
        return granted if granted > 0 and granted >= offer.least_nanos else None

    def _tightest(self, offer: Offer, windows: Sequence[WindowCheck]) -> tuple[int, int | None]:
        """The least room that binds an offer, and the window that has it; None: the wallet, or nothing at all."""
        room, tightest = ENDLESS if _manner(offer)[0] else self.available, None
        for index, window in enumerate(windows):
            if offer.enforce[index] == "1" and self._room(window) < room:
                room, tightest = self._room(window), index
        return room, tightest

    def _refusal(self, offer: Offer, windows: Sequence[WindowCheck]) -> ReserveReply:
        room, tightest = self._tightest(offer, windows)
        if tightest is None or self._is_gated(offer):
            return ReserveReply("SHORT", available_nanos=self.available, now_ms=self.now_ms)
        refused = windows[tightest]
        return ReserveReply(
            "WINDOW",
            window=tightest,
            limit_nanos=refused.limit_nanos,
            remaining_nanos=room,
            now_ms=self.now_ms,
            span=refused.span,
        )

    def _hold(
        self,
        hold_id: str,
        worker_id: str,
        max_age_ms: int,
        windows: Sequence[WindowCheck],
        offer: Offer,
        granted: int,
        ticket: bytes,
    ) -> None:
        names = []
        for sign, window in zip(offer.enforce, windows, strict=True):
            name = f"{window.window_id}:{window.span}"
            if sign != "-":
                names.append(name)
            latest, before = self.latest.get(window.window_id), self.before.get(window.window_id)
            if window.span not in (latest, before):  # else a day that was before has come again
                self.counters.pop(f"{window.window_id}:{before}", None)
                if latest is not None:
                    self.before[window.window_id] = latest
                self.latest[window.window_id] = window.span
                self.counters.setdefault(name, 0)
            if sign != "-":
                self.counters[name] = self.counters.get(name, 0) + granted
        self.holds[hold_id] = Hold(
            worker_id=worker_id,
            parts=(Part(granted, _manner(offer)[0], tuple(names)),),
            delivered=0,
            max_at_ms=self.now_ms + max_age_ms,
            last=bool(offer.last),
            ticket=ticket,
        )
        if offer.last:
            self.last_hold = hold_id

    def extend(
        self,
        hold_id: str,
        new_total: int,
        least_total: int,
        delivered: int,
        windows: Sequence[WindowLimit],
        way: Part | None = None,
    ) -> ExtendReply:
        """`way`: a part of nothing yet, by which it is to go on."""
        hold = self.holds.get(hold_id)
        if hold is None:
            return ExtendReply("GONE")
        part = hold.parts[-1]
        begun = False
        gone: tuple[
            str, ...
        ] = ()  # of the windows of the way those without a counter: they bind, and do not count
        if way is not None:
            gone = tuple(name for name in way.windows if name not in self.counters)
            way = replace(way, windows=tuple(name for name in way.windows if name in self.counters))
            begun = (way.borne, way.windows) != (part.borne, part.windows)
            part = way if begun else part
        room, tightest = ENDLESS if part.borne else self.available, None
        of_admission = {int(name.partition(":")[0]): name for name in (*part.windows, *gone)}
        for index, window in enumerate(windows):
            name = of_admission.get(window.window_id, "")
            if window.enforce and (name in self.counters or name in gone):
                left = 0 if name in gone else window.limit_nanos - self.counters[name]
                if left < room:
                    room, tightest = left, index
        granted = max(hold.amount, min(new_total, hold.amount + max(room, 0)))
        if granted < least_total:
            if tightest is None:
                return ExtendReply("SHORT", available_nanos=self.available)
            window_id, limit, _ = windows[tightest]
            span = of_admission[window_id].partition(":")[2]
            return ExtendReply("WINDOW", window=tightest, limit_nanos=limit, remaining_nanos=room, span=span)
        growth = granted - hold.amount
        self._count(part.windows, growth)
        earlier = hold.parts if begun else hold.parts[:-1]
        parts = (*earlier, replace(part, amount=(0 if begun else part.amount) + growth))
        self.holds[hold_id] = replace(hold, parts=parts, delivered=max(hold.delivered, delivered))
        return ExtendReply("OK", granted, self.available)

    # -- ends --

    def _count(self, windows: Sequence[str], change: int) -> None:
        for name in windows:
            if name in self.counters:
                self.counters[name] += change

    def _change_balance(self, amount: int) -> None:
        before, self.balance = self.balance, self.balance + amount
        if before >= 0 > self.balance:
            self.below_zero_at_ms = self.now_ms

    def _book(self, hold_id: str, hold: Hold, status: str, cost: int, paid: int, *, held: bool) -> None:
        """An end: each part's share of the cost, less what an earlier end took of it, or what is held for it."""
        charged = borne = paid_by_wallet = 0
        moves: list[tuple[str, int]] = []
        for part, share, before in zip(hold.parts, hold.shares(cost), hold.shares(paid), strict=True):
            self._count(part.windows, share - (part.amount if held else before))
            moves += [(name, share - before) for name in part.windows]
            if part.borne:
                borne += share - before
            else:
                charged, paid_by_wallet = charged + share - before, paid_by_wallet + before
        self._change_balance(-charged)
        if self.balance < 0:
            self.worst = min(self.balance, self.worst or 0)
        self.events.append(Event(hold_id, status, charged, paid_by_wallet, tuple(moves), borne))

    def _end(self, hold_id: str, charge: int, status: str, kind: str, tokens: int | None) -> None:
        hold = self.holds.pop(hold_id)
        self.rates.give_back(hold.rates, tokens)
        self._book(hold_id, hold, status, charge, 0, held=True)
        if self.last_hold == hold_id:
            self.last_hold = None
        expired = kind == "E"
        self.marks[hold_id] = Mark(kind, self.now_ms, charge if expired else 0, hold if expired else None)

    def settle(
        self, hold_id: str, cost: int, first_try_ms: int, status: str, tokens: int | None = None
    ) -> SettleReply:
        if hold_id in self.holds:
            self._end(hold_id, cost, status, "S", tokens)
            return SettleReply("OK", self.available, self.now_ms)
        mark = self.marks.get(hold_id)
        if mark is None:
            if first_try_ms and self.now_ms - first_try_ms > SETTLE_AGE_MAX_MS:
                return SettleReply("OLD")
            return SettleReply("UNKNOWN", now_ms=self.now_ms)
        if mark.hold is None:
            return SettleReply("DONE" if mark.kind == "S" else "RELEASED")
        self._book(hold_id, mark.hold, "late", cost, mark.charged, held=False)
        self.marks[hold_id] = Mark("S", self.now_ms)
        return SettleReply("LATE", self.available, self.now_ms)

    def release(self, hold_id: str) -> ReleaseReply:
        if hold_id in self.holds:
            self._end(hold_id, 0, "released", "R", 0)
            return ReleaseReply("OK", self.available)
        if hold_id in self.marks:
            return ReleaseReply("DONE")
        self.marks[hold_id] = Mark("R", self.now_ms)
        return ReleaseReply("TOMBSTONE")

    def expire(self, hold_id: str) -> ExpireReply:
        hold = self.holds.get(hold_id)
        if hold is None:
            return ExpireReply("GONE")
        if self.now_ms < self.leases.get(hold.worker_id, 0) and self.now_ms < hold.max_at_ms:
            return ExpireReply("ALIVE")
        self._end(hold_id, hold.delivered, "expired", "E", None)
        return ExpireReply("OK", hold.delivered)

    # -- what comes from PostgreSQL --

    def credit(self, seq: int, amount: int, take_id: UUID | None = None) -> CreditReply:
        if seq <= self.seq:
            return CreditReply("DONE", stored_seq=self.seq)
        if seq > self.seq + 1:
            return CreditReply("GAP", stored_seq=self.seq)
        self.seq = seq
        self._change_balance(amount)
        self.credited += amount
        if take_id is not None:
            self.takes.aside.pop(take_id, None)
        return CreditReply("OK", balance_nanos=self.balance)


def _manner(offer: Offer) -> tuple[bool, int | None, int]:
    """Whether a plan bears it, since when the wallet may not be below zero, and the place of its ticket."""
    how, _, place = offer.how.partition("/")
    borne, _, gate = how.partition("^")
    return borne == "~", int(gate) if gate else None, int(place or 0)


def _ticket(offer: Offer, offers: Sequence[Offer], tickets: bytes) -> bytes:
    if not any("/" in one.how for one in offers):
        return tickets
    return tickets.split(b"\x1f")[_manner(offer)[2]]
