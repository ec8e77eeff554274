"""What a bank would say that a customer has: sales, refunds and disputes in plain cents, and the sums that follow.

Knows nothing of the product, its tables or its order of doing things: only what is so in the end. A bonus is so many
nanos for each cent, and goes with the cents that it came with; no share is rounded.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

NANOS_PER_CENT = 10_000_000
DISPUTE_FEE_CENTS = 1500


def stripe_fee_cents(cents: int) -> int:
    """2.9 % and 0.30, rounded half up."""
    return (cents * 29 + 500) // 1000 + 30


@dataclass
class Dispute:
    cents: int
    inquiry: bool
    open: bool = True
    lost: bool = False
    withdrawn: bool = False
    withdrawals: int = 0

    @property
    def frozen_cents(self) -> int:
        return self.cents if self.withdrawn or self.lost or (self.open and not self.inquiry) else 0


@dataclass
class Sale:
    """`txn`: what was made at Stripe for it. `unpaid`: its status while no money has come. `over`: a session that
    nobody can pay any more. `refunds`: cents and status of each that the bank knows."""

    cents: int
    bonus_nanos_per_cent: int = 0
    txn: str = ""
    over: bool = False
    was_refunded: bool = False
    unpaid: str = "awaiting_payment"
    paid: bool = False
    refunds: list[tuple[int, str]] = field(default_factory=list)
    disputes: dict[str, Dispute] = field(default_factory=dict)

    @property
    def session(self) -> bool:
        return self.txn.startswith("cs_")

    @property
    def back_cents(self) -> int:
        return sum(cents for cents, status in self.refunds if status != "failed")

    @property
    def frozen_cents(self) -> int:
        return sum(dispute.frozen_cents for dispute in self.disputes.values())

    @property
    def status(self) -> str:
        if not self.paid:
            return self.unpaid
        if self.frozen_cents:
            return "disputed"
        if self.back_cents == self.cents:
            return "refunded"
        return "partially_refunded" if self.back_cents else "paid"

    @property
    def wallet_nanos(self) -> int:
        left = self.cents - self.back_cents - self.frozen_cents if self.paid else 0
        return left * (NANOS_PER_CENT + self.bonus_nanos_per_cent)

    def books(self) -> Counter[str]:
        """What it leaves in each account of the ledger, in nanos."""
        if not self.paid:
            return Counter()
        left = self.cents - self.back_cents - self.frozen_cents
        gone = sum(cents for cents, status in self.refunds if status == "succeeded")
        pending = self.back_cents - gone
        withdrawn = sum(one.cents for one in self.disputes.values() if one.withdrawn)
        fees = stripe_fee_cents(self.cents) + DISPUTE_FEE_CENTS * sum(
            one.withdrawals for one in self.disputes.values()
        )
        in_cents = {
            "cash:stripe": gone + withdrawn + fees - self.cents,
            "fees:stripe": -fees,
            "refunds:pending": pending,
            "disputes": self.frozen_cents - withdrawn,
        }
        books = Counter({name: cents * NANOS_PER_CENT for name, cents in in_cents.items()})
        books["wallet"] = self.wallet_nanos
        books["bonus"] = -left * self.bonus_nanos_per_cent
        return books


@dataclass
class Buyer:
    sales: dict[str, Sale] = field(default_factory=dict)
    spent_nanos: int = 0

    @property
    def balance_nanos(self) -> int:
        return sum(sale.wallet_nanos for sale in self.sales.values()) - self.spent_nanos

    def books(self) -> Counter[str]:
        books = Counter({"wallet": -self.spent_nanos, "revenue": self.spent_nanos})
        for sale in self.sales.values():
            books.update(sale.books())
        return books
