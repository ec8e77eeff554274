"""When the billing cycles of an assignment begin and end. Pure calendar arithmetic; reads no clock.

Every cycle is counted from the anchor, the moment at which the assignment began, never from the cycle before: one of
31 January begins on 28 February and again on 31 March. It keeps the anchor's time of day in the zone; where the clocks
skip that time, the cycle begins as much later.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

WEEKLY: Final = "weekly"
MONTHLY: Final = "monthly"
YEARLY: Final = "yearly"
CYCLES: Final = (WEEKLY, MONTHLY, YEARLY)
_MONTHS: Final = {MONTHLY: 1, YEARLY: 12}
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Calendar:
    anchor: datetime
    zone: tzinfo
    cycle: str

    def start(self, number: int) -> datetime:
        """Of the cycle with that number, from 0; also the end of the one before."""
        if number == 0:
            return self.anchor.astimezone(UTC)
        local = self.anchor.astimezone(self.zone)
        if self.cycle == WEEKLY:
            day = local.date() + timedelta(days=7 * number)
        else:
            months = local.year * 12 + local.month - 1 + _MONTHS[self.cycle] * number
            year, month = divmod(months, 12)
            day = local.date().replace(
                year=year, month=month + 1, day=min(local.day, monthrange(year, month + 1)[1])
            )
        return datetime.combine(day, local.time().replace(fold=0), tzinfo=self.zone).astimezone(UTC)

    def number_at(self, moment: datetime) -> int:
        """The number of the cycle that a moment, not before the anchor, lies in."""
        local, first = moment.astimezone(self.zone), self.anchor.astimezone(self.zone)
        if self.cycle == WEEKLY:
            number = (local.date() - first.date()).days // 7
        else:
            number = ((local.year - first.year) * 12 + local.month - first.month) // _MONTHS[self.cycle]
        return number - 1 if number and self.start(number) > moment else number


def part_of(amount_nanos: int, starts: datetime, ends: datetime, cut: datetime, zone: tzinfo) -> int:
    """The part of a cycle's amount for the days until it was cut short: days begun are whole ones."""
    if cut >= ends:
        return amount_nanos
    days = (ends.astimezone(zone).date() - starts.astimezone(zone).date()).days
    return amount_nanos * min(days, -(-(cut - starts) // _DAY)) // days
