"""A payment provider that a third party wrote: found by its entry point, and unlike the others in all that it may be.

Its webhooks are forms that are signed in the body, its amounts are decimals, refunds are instant, it keeps no events.
The harbour itself, which a network would be between, is a `Harbour` in this process, found by HARBOUR_URL.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from rabbitgw.errors import PaymentRefused, PaymentUnavailable, RequestInvalid, SignatureInvalid
from rabbitgw.payments.contract import (
    Backfilled,
    InitResult,
    Order,
    PaymentEvent,
    PaymentProvider,
    PaymentState,
    PaymentStatus,
    ProviderContext,
    RefundFact,
    RefundResult,
    RefundState,
)
from rabbitgw.payments.currencies import decimal_of_minor, exponent

SECRET = b"secret-of-the-harbour"
SIGN = b"&sign="  # begins the last field of a webhook's form


@dataclass
class Harbour:
    """The far end. `away`: it answers nothing; `forgetful`: it does what it is asked for, and answers nothing."""

    bills: dict[str, dict[str, Any]] = field(default_factory=dict)
    away: bool = False
    forgetful: bool = False
    asked: int = 0

    def ask(self, what: str, *given: Any) -> dict[str, Any]:
        self.asked += 1
        if self.away:
            raise ConnectionResetError
        answer: dict[str, Any] = getattr(self, what)(*given)
        if self.forgetful:
            raise ConnectionResetError
        return answer

    def bill(self, order_id: str, deployment: str, amount: str, currency: str) -> dict[str, Any]:
        number = f"hb_{hashlib.sha256(f'{deployment} {order_id}'.encode()).hexdigest()[:20]}"
        new = {
            "number": number,
            "order": order_id,
            "deployment": deployment,
            "amount": amount,
            "currency": currency,
        }
        return self.bills.setdefault(number, {**new, "paid": False, "refunds": {}})

    def show(self, number: str) -> dict[str, Any]:
        if number not in self.bills:
            raise KeyError(f"no bill {number}")
        return self.bills[number]

    def send_back(self, number: str, key: str, amount: str | None) -> dict[str, Any]:
        bill = self.show(number)
        if key not in bill["refunds"]:
            left = Decimal(bill["amount"]) * bill["paid"] - sum(map(Decimal, bill["refunds"].values()))
            wanted = left if amount is None else Decimal(amount)
            if not 0 < wanted <= left:
                raise KeyError("not so much is left")
            bill["refunds"][key] = str(wanted)
        return {"number": f"{number}:{key}", "amount": bill["refunds"][key]}


HARBOURS: dict[str, Harbour] = {}


def make(context: ProviderContext) -> PaymentProvider | None:
    url = context.environ.get("HARBOUR_URL")
    return None if url is None else HarbourPay(HARBOURS[url])


class HarbourPay:
    name: ClassVar[str] = "harbour"

    def __init__(self, harbour: Harbour) -> None:
        self.livemode = True
        self._harbour = harbour

    def check_order(self, order: Order) -> None:
        if order.methods:
            raise RequestInvalid("methods: the harbour takes ships only", field="methods")
        exponent(order.currency)

    async def create_payment(self, order: Order) -> InitResult:
        amount = str(decimal_of_minor(order.currency, order.amount_minor))
        return _result(self._ask("bill", order.order_id, order.deployment, amount, order.currency))

    async def resume(self, provider_txn_id: str) -> InitResult:
        return _result(self._ask("show", provider_txn_id))

    async def handle_webhook(self, headers: Mapping[str, str], body: bytes) -> PaymentEvent:
        said, _, signature = body.rpartition(SIGN)
        if not hmac.compare_digest(signature_of(said), signature):
            raise SignatureInvalid("sign: it is not the harbour's")
        fields = dict(parse_qsl(said.decode("latin-1")))
        try:
            return PaymentEvent(fields["id"], fields["about"], True, True, fields["bill"])
        except KeyError as missing:
            raise RequestInvalid(f"{missing}: it is missing") from None

    async def refund(
        self, provider_txn_id: str, amount: int | None, reason: str | None, *, refund_id: str
    ) -> RefundResult:
        bill = self._ask("show", provider_txn_id)
        wanted = None if amount is None else str(decimal_of_minor(bill["currency"], amount))
        return RefundResult(
            self._ask("send_back", provider_txn_id, refund_id, wanted)["number"], RefundState.SUCCEEDED
        )

    async def query(self, provider_txn_id: str) -> PaymentStatus:
        bill = self._ask("show", provider_txn_id)
        currency = bill["currency"]
        status = PaymentStatus(
            provider_txn_id=provider_txn_id,
            payment_id=provider_txn_id,
            state=PaymentState.AWAITING,
            amount_minor=_minor(currency, bill["amount"]),
            received_minor=0,
            currency=currency,
            livemode=True,
            order_id=bill["order"],
            deployment=bill["deployment"],
        )
        if not bill["paid"]:
            return status
        refunds = tuple(
            RefundFact(f"{provider_txn_id}:{key}", _minor(currency, amount), RefundState.SUCCEEDED, key)
            for key, amount in bill["refunds"].items()
        )
        return replace(
            status, state=PaymentState.SUCCEEDED, received_minor=status.amount_minor, refunds=refunds
        )

    async def events(self, since: datetime) -> AsyncIterator[Backfilled]:
        for one in ():
            yield one

    async def check(self) -> str:
        self._ask("bill", "", "", "0", "USD")
        return "the harbour answers"

    async def close(self) -> None:
        pass

    def _ask(self, what: str, *given: Any) -> dict[str, Any]:
        try:
            return self._harbour.ask(what, *given)
        except ConnectionError as error:
            raise PaymentUnavailable("the harbour does not answer") from error
        except KeyError as error:
            raise PaymentRefused(f"the harbour: {error.args[0]}") from error


def signature_of(said: bytes) -> bytes:
    return hmac.new(SECRET, said, hashlib.sha256).hexdigest().encode()


def _result(bill: Mapping[str, Any]) -> InitResult:
    payload = {"url": f"https://harbour.example/pay/{bill['number']}"}
    return InitResult("redirect_url", payload, bill["number"])


def _minor(currency: str, amount: str) -> int:
    return int(Decimal(amount).scaleb(exponent(currency)))
