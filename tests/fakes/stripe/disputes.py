"""Disputes: a cardholder's bank asks, takes the money, and keeps it or gives it back.

Each step is told by itself, because Stripe's events for one come apart and in any order: opening a dispute moves no
money, and closing one as won gives none back. An inquiry (warning_*) never holds money.
"""

from __future__ import annotations

from tests.fakes.stripe import money, objects
from tests.fakes.stripe.account import Account
from tests.fakes.stripe.errors import state_forbids
from tests.fakes.stripe.objects import Obj

INQUIRIES = ("warning_needs_response", "warning_under_review", "warning_closed")
OPEN = ("needs_response", "under_review")
HELD = (*OPEN, "lost")  # what such a dispute is about cannot be refunded
ANSWER_WITHIN_S = 14 * 24 * 3600


def _refuse(made: Obj, doing: str) -> None:
    message = f"Dispute {made['id']} has a status of {made['status']}: cannot {doing}."
    raise state_forbids(message, "dispute_unexpected_state")


def open_dispute(account: Account, charge: Obj, amount: int, status: str, reason: str) -> Obj:
    if status not in (*INQUIRIES[:2], *OPEN):
        raise ValueError(f"a dispute does not begin as {status}")
    due = account.now + ANSWER_WITHIN_S
    made = account.add(objects.dispute(account.new_id("dispute"), charge, amount, status, reason, due))
    account.change(charge, "charge.updated", disputed=True)
    account.emit("charge.dispute.created", made)
    return made


def update(account: Account, made: Obj, status: str) -> Obj:
    """To another open status; an inquiry can become a chargeback."""
    if made["status"] not in (*INQUIRIES[:2], *OPEN) or status not in (*INQUIRIES[:2], *OPEN):
        _refuse(made, f"become {status}")
    account.change(made, "charge.dispute.updated", status=status, is_charge_refundable=status in INQUIRIES)
    return made


def _out(account: Account, made: Obj) -> int:
    """What this dispute holds, in the settlement currency."""
    moved: list[int] = [movement["amount"] for movement in made["balance_transactions"]]
    return -sum(moved)


def withdraw(account: Account, made: Obj) -> Obj:
    if made["status"] in INQUIRIES or _out(account, made) > 0:
        _refuse(made, "withdraw funds")
    moved = money.move(account, "adjustment", made, -made["amount"], category="dispute", costs="dispute")
    made["balance_transactions"] = [*made["balance_transactions"], moved]
    account.emit("charge.dispute.funds_withdrawn", made)
    return made


def reinstate(account: Account, made: Obj) -> Obj:
    if _out(account, made) <= 0:
        _refuse(made, "reinstate funds that were not withdrawn")
    moved = money.move(account, "adjustment", made, made["amount"], category="dispute_reversal")
    made["balance_transactions"] = [*made["balance_transactions"], moved]
    account.emit("charge.dispute.funds_reinstated", made)
    return made


def close(account: Account, made: Obj, status: str) -> Obj:
    fits = INQUIRIES[:2] if status == "warning_closed" else OPEN
    if status not in ("won", "lost", "warning_closed") or made["status"] not in fits:
        _refuse(made, f"close as {status}")
    account.change(made, None, status=status, is_charge_refundable=status != "lost")
    account.emit("charge.dispute.closed", made)
    return made
