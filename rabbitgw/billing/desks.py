"""What calls of one key under the same rates have in common, kept ready: spans of today, reserve and ends as far as
written.

Owns when that is out of date: with another record of the key, and when a span of its windows, or a temporary increase
of a limit, ends. Sends nothing.
To write it anew takes ten times what it saves a call.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from rabbitgw.billing.key_record import KeyRecord
from rabbitgw.billing.plan_book import PlanBook, PlanFeed
from rabbitgw.billing.rate_rules import RateRule, binding, by_model
from rabbitgw.billing.ways import OFF, Laid, laid
from rabbitgw.billing.windows import NEVER_MS, Span, WindowRule, check_of, span_of
from rabbitgw.prepared import EndCommands, ReserveCommand
from rabbitgw.scripts import Scripts

# What a call takes of rates: its model, and the tokens that it is estimated at; None: it is free, and takes none.
Load = tuple[str, int | None]
NO_LOAD: Final[Load] = ("", 0)
DESKS_MAX: Final = 10_000  # about 2 kB each; past it all are made anew


class Desk(NamedTuple):
    key: KeyRecord
    plans: PlanBook | None  # that its windows are by; None: no plan stands above the key
    windows: tuple[tuple[WindowRule, Span], ...]
    command: ReserveCommand
    ends: EndCommands
    start_ms: int  # by Redis' clock: from here
    end_ms: int  # until just before here its spans and limits are the present ones
    rates: tuple[RateRule, ...] = ()
    counts_tokens: bool = False  # one of the rates does
    laid: Laid = Laid((), b"")  # which windows bind, who pays, and the ways beyond


class Desks:
    """Those of one process."""

    __slots__ = ("_backlog_max", "_desks", "_gating", "_max_age_ms", "_plans", "_scripts", "_worker_id")

    def __init__(
        self,
        scripts: Scripts,
        plans: PlanFeed,
        worker_id: str,
        *,
        max_age_ms: int,
        backlog_max: int,
        overdraft_gating: str = OFF,
    ) -> None:
        self._gating = overdraft_gating
        self._scripts = scripts
        self._plans = plans
        self._worker_id = worker_id
        self._max_age_ms = max_age_ms
        self._backlog_max = backlog_max
        self._desks: dict[int | tuple[int, str, bool], Desk] = {}  # by key; with rates by kind of call too

    def of(self, key: KeyRecord, at_ms: int, load: Load = NO_LOAD) -> Desk:
        name = _name(key, load) if key.rates else key.key_id
        desk = self._desks.get(name)
        if desk is not None and desk.key is key and desk.start_ms <= at_ms < desk.end_ms:
            plans, book = desk.plans, self._plans.book
            if plans is None or plans is book:
                return desk
            if book.says_the_same(plans, key.plans):  # it is other plans that have changed
                desk = self._desks[name] = desk._replace(plans=book)
                return desk
        if len(self._desks) >= DESKS_MAX:
            self._desks.clear()
        desk = self._desks[name] = self._made(key, at_ms, load)
        return desk

    def _made(self, key: KeyRecord, at_ms: int, load: Load) -> Desk:
        plans = self._plans.book if key.plans else None
        limits = () if plans is None else plans.limits(key.plans, at_ms)
        how = laid(key.windows, limits, at_ms, self._gating)
        windows = tuple((rule, span_of(rule, at_ms)) for rule in how.rules)
        checks = [check_of(rule, span, at_ms) for rule, span in windows]
        rates = binding(key.rates, load[0], free=load[1] is None)
        command = self._scripts.reserve_command(
            key.partition,
            key.account_id,
            worker_id=self._worker_id,
            currency=key.currency,
            key_id=key.key_id,
            generation=key.generation,
            max_age_ms=self._max_age_ms,
            backlog_max=self._backlog_max,
            windows=checks,
            rates=[rule.check for rule in rates],
            enforce=how.enforce,
            how=how.how,
        )
        start_ms = max((check.start_ms for check in checks), default=0)
        end_ms = min((check.end_ms for check in checks if check.end_ms), default=NEVER_MS)
        if plans is not None:
            from_ms, to_ms = plans.unchanged_ms(key.plans, at_ms)
            start_ms, end_ms = max(start_ms, from_ms), min(end_ms, to_ms)
        ends = self._scripts.end_commands(key.partition, key.account_id, key.currency)
        counts_tokens = any(rule.tpm for rule in rates)
        return Desk(key, plans, windows, command, ends, start_ms, end_ms, rates, counts_tokens, how)


def _name(key: KeyRecord, load: Load) -> tuple[int, str, bool]:
    """What decides which of the key's rates bind."""
    model, tokens = load
    return key.key_id, model if by_model(key.rates) else "", tokens is None
