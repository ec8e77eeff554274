"""What people do: the customer who pays, the bank that disputes, the merchant in Stripe's dashboard.

These methods are what a test calls; over HTTP (POST /_test/<name>) they take the same arguments. Each happens at once
and makes the events that Stripe would make. A step that Stripe's states forbid raises StripeRefusal; a declined card
does not: the answered PaymentIntent says so, as the customer's browser would.
"""

from __future__ import annotations

from tests.fakes.stripe import checkout, disputes, objects, payments, refunds
from tests.fakes.stripe.account import Account
from tests.fakes.stripe.objects import Obj, answered
from tests.fakes.stripe.tables import CARDS, Decline

CARD = "4242424242424242"


class People:
    account: Account

    def _intent(self, pi_id: str) -> Obj:
        return self.account.get("payment_intent", pi_id)

    def _paid(self, pi_id: str) -> Obj:
        charge_id = self._intent(pi_id)["latest_charge"]
        charge = self.account.get("charge", str(charge_id))
        if charge["status"] != "succeeded":
            raise ValueError(f"{pi_id} is not paid")
        return charge

    # -- the customer

    async def pay(self, pi_id: str, card: str = CARD, method: str = "card", processing: bool = False) -> Obj:
        """One attempt. Alipay stops at the redirect (`finish_redirect`), 4000002500003155 at `authenticate`."""
        intent = self._intent(pi_id)
        payments.require(intent, *payments.PAYABLE, doing="pay")
        if method not in intent["payment_method_types"]:
            raise ValueError(f"{pi_id} takes {intent['payment_method_types']}, not {method}")
        number = card if method == "card" else None
        payments.attempt(self.account, intent, method, number, processing=processing)
        if method == "card" and intent["status"] == "succeeded":
            self._bank_reacts(intent, card)
        return answered(intent)

    def _bank_reacts(self, intent: Obj, card: str) -> None:
        reason = CARDS[card].dispute
        if reason is None:
            return
        charge = self.account.objects[intent["latest_charge"]]
        status = "warning_needs_response" if CARDS[card].inquiry else "needs_response"
        made = disputes.open_dispute(self.account, charge, charge["amount"], status, reason)
        if not CARDS[card].inquiry:
            disputes.withdraw(self.account, made)

    async def authenticate(self, pi_id: str, ok: bool = True) -> Obj:
        """The customer's answer to 3-D Secure."""
        return self._acted(pi_id, ok, payments.AUTHENTICATION_FAILED)

    async def finish_redirect(self, pi_id: str, ok: bool = True, processing: bool = False) -> Obj:
        """The customer comes back from Alipay, or would have; with `processing` the money takes its time."""
        return self._acted(pi_id, ok, payments.ATTEMPT_FAILED, processing)

    def _acted(self, pi_id: str, ok: bool, failure: Decline, processing: bool = False) -> Obj:
        intent = self._intent(pi_id)
        payments.require(intent, "requires_action", doing="authenticate")
        if not ok:
            payments.fail(self.account, intent, failure)
        elif processing:
            payments.start_processing(self.account, intent)
        else:
            payments.succeed(self.account, intent)
        return answered(intent)

    async def finish_processing(self, pi_id: str, ok: bool = True) -> Obj:
        intent = self._intent(pi_id)
        payments.require(intent, "processing", doing="finish")
        if ok:
            payments.succeed(self.account, intent)
        else:
            payments.fail(self.account, intent, payments.ATTEMPT_FAILED)
        return answered(intent)

    async def complete_session(
        self,
        cs_id: str,
        paid: bool = True,
        card: str = CARD,
        method: str = "card",
        presentment: tuple[int, str] | None = None,
    ) -> Obj:
        """The customer pays on Stripe's page. paid=False: complete but unpaid, until `finish_session`.

        `presentment`, amount and currency, is what adaptive pricing showed; the session's own stay as they are.
        """
        made = self.account.get("checkout.session", cs_id)
        checkout.complete(self.account, made, paid=paid, card=card, method=method, presentment=presentment)
        if made["payment_status"] == "paid" and method == "card":
            self._bank_reacts(self._intent(made["payment_intent"]), card)
        return answered(made)

    async def finish_session(self, cs_id: str, ok: bool = True) -> Obj:
        made = self.account.get("checkout.session", cs_id)
        return answered(checkout.finish(self.account, made, ok))

    async def expire_session(self, cs_id: str) -> Obj:
        return answered(checkout.expire(self.account, self.account.get("checkout.session", cs_id)))

    # -- the merchant

    async def dashboard_refund(self, pi_id: str, amount: int | None = None, reason: str | None = None) -> Obj:
        """A refund that carries no metadata of the gateway's."""
        params: Obj = {"payment_intent": pi_id, "reason": reason}
        return answered(
            refunds.create(self.account, params if amount is None else {**params, "amount": amount})
        )

    async def cancel_by_dashboard(self, pi_id: str, reason: str = "requested_by_customer") -> Obj:
        return answered(payments.cancel(self.account, self._intent(pi_id), reason))

    async def pay_elsewhere(self, amount: int, currency: str, metadata: dict[str, str] | None = None) -> Obj:
        """A PaymentIntent that another program of the same Stripe account made, and that was paid."""
        params = {"amount": amount, "currency": currency, "metadata": metadata or {}}
        intent = payments.create(self.account, params)
        return await self.pay(intent["id"])

    async def delete_customer(self, cus_id: str) -> Obj:
        """Later requests that name the customer meet resource_missing; what was paid stays."""
        found = self.account.get("customer", cus_id)
        self.account.emit("customer.deleted", found)
        kept = {"id": cus_id, "object": "customer", "deleted": True}
        found.clear()
        found.update(kept)
        return answered(found)

    # -- the bank

    async def fail_refund(self, re_id: str, reason: str = "expired_or_canceled_card") -> Obj:
        return answered(refunds.fail(self.account, self.account.get("refund", re_id), reason))

    async def succeed_refund(self, re_id: str) -> Obj:
        return answered(refunds.succeed(self.account, self.account.get("refund", re_id)))

    async def next_refunds(self, *outcomes: str) -> None:
        """What becomes of the next refunds, in order: succeeded, pending or failed. Then as usual again."""
        if not set(outcomes) <= set(refunds.OUTCOMES):
            raise ValueError(f"outcomes are among {refunds.OUTCOMES}")
        self.account.refund_outcomes = list(outcomes)

    async def dispute(
        self,
        pi_id: str,
        amount: int | None = None,
        status: str = "needs_response",
        reason: str = "fraudulent",
    ) -> Obj:
        """Opens a dispute, by default of the whole charge; no money moves before `withdraw_funds`."""
        charge = self._paid(pi_id)
        whole = charge["amount"] if amount is None else amount
        return answered(disputes.open_dispute(self.account, charge, whole, status, reason))

    def _dispute(self, dp_id: str) -> Obj:
        return self.account.get("dispute", dp_id)

    async def update_dispute(self, dp_id: str, status: str) -> Obj:
        return answered(disputes.update(self.account, self._dispute(dp_id), status))

    async def withdraw_funds(self, dp_id: str) -> Obj:
        return answered(disputes.withdraw(self.account, self._dispute(dp_id)))

    async def reinstate_funds(self, dp_id: str) -> Obj:
        return answered(disputes.reinstate(self.account, self._dispute(dp_id)))

    async def close_dispute(self, dp_id: str, status: str) -> Obj:
        """`won`, `lost` or `warning_closed`; won gives nothing back by itself (`reinstate_funds`)."""
        return answered(disputes.close(self.account, self._dispute(dp_id), status))

    # -- Stripe itself

    async def settle(self, pi_id: str) -> Obj:
        """With `late_balance`, the charge's balance transaction, which then comes by charge.updated."""
        charge = self._paid(pi_id)
        if charge["balance_transaction"] is not None:
            raise ValueError(f"{charge['id']} has its balance transaction")
        made = payments.settle(self.account, charge)
        self.account.emit("charge.updated", charge, {"balance_transaction": None})
        return answered(made)

    async def late_balance(self, late: bool = True) -> None:
        self.account.balance_late = late

    async def settle_in(self, currency: str | None, rates: dict[str, str] | None = None) -> None:
        """All later movements settle in this currency; `rates` has one for each other currency, as decimals."""
        self.account.settles_in, self.account.rates = currency, dict(rates or {})

    async def advance(self, seconds: int) -> int:
        """Move the clock ahead: idempotency keys end after 24 h, sessions expire. Answers the time."""
        self.account.advance(seconds)
        checkout.expire_overdue(self.account)
        return self.account.now

    async def pause_search_index(self, paused: bool = True) -> None:
        """While paused, search does not find what is made from now on."""
        self.account.unindexed_from = len(self.account.objects) if paused else None

    async def tamper(self, id: str, **fields: object) -> Obj:
        """A lie: fields of any object are set, without an event and without a rule."""
        found = self.account.objects[id]
        unknown = fields.keys() - found.keys()
        if unknown:
            raise ValueError(f"{id} has no {sorted(unknown)}")
        found.update(fields)
        return answered(found)

    # -- looking

    async def find(self, id: str) -> Obj:
        return answered(self.account.objects[id])

    async def all(self, kind: str, **fields: object) -> list[Obj]:
        """Objects of a kind, oldest first; `object` names as Stripe's: payment_intent, checkout.session …"""
        return [
            objects.answered(made)
            for made in self.account.all(kind)
            if all(made.get(name) == value for name, value in fields.items())
        ]

    async def events(self, type: str | None = None, about: str | None = None) -> list[Obj]:
        """The log, oldest first; `about` is an object's id."""
        return [
            answered(event)
            for event in self.account.events
            if (type is None or event["type"] == type)
            and (about is None or event["data"]["object"]["id"] == about)
        ]
