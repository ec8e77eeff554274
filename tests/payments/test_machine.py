"""Payments in any order: people buy, pay, spend and dispute; Stripe tells or does not; processes die at any step.

selling_model.py says how it must end, selling_driver.py checks it. A run has RABBITGW_SOAK_EXAMPLES examples; the few
of `make test` are always the same ones.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
import stripe as stripe_library
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from rabbitgw.payments.till import Payments
from tests.conftest import PostgresForTests
from tests.payments.dying import overdue
from tests.payments.selling_driver import Doom, SellingDriver
from tests.payments.selling_model import Buyer, Dispute, Sale

EXAMPLES = int(os.environ.get("RABBITGW_SOAK_EXAMPLES") or 12)
EXAMPLES_OF_A_DATABASE = 25
STEPS = 30
DAY_AND_AN_HOUR_S = 25 * 3600
DECLINED, DISPUTED = "4000000000000002", "4000000000000259"

OUTCOMES = ("pending", "failed", "succeeded")
number = st.integers(0, 5)
unlikely = st.sampled_from([False, False, True])
bonuses = st.sampled_from([0, 0, 1_000_000, 4_300_001])  # nanos for each cent
cards = st.sampled_from(["", "", "", DECLINED, DISPUTED])
dooms: st.SearchStrategy[Doom] = st.none() | st.tuples(st.integers(1, 45), st.booleans())
cents = st.sampled_from([50, 1000, 1999, 4500])
shares = st.sampled_from([None, None, 0.1, 0.5, 0.9])
# Method, path, kind, when, status. A 500 that Stripe keeps is told about in test_faults.py.
faults = st.sampled_from([
    (method, path, *fault)
    for method, path in (
        ("POST", "/v1/customers"), ("POST", "/v1/payment_intents"), ("POST", "/v1/checkout/sessions"),
        ("POST", "/v1/refunds"), ("GET", "/v1/payment_intents/*"), ("GET", "/v1/refunds"), ("GET", "/v1/disputes"),
    )
    for fault in (
        ("status", "before", 429), ("status", "before", 500), ("cut", "before", 0), ("cut", "after", 0),
        ("garbage", "before", 0), ("garbage", "after", 0),
    )
])  # fmt: skip


def payable(sale: Sale) -> bool:
    return sale.unpaid in ("awaiting_payment", "failed") and not (sale.paid or sale.over)


def part(of_cents: int, share: float | None) -> int | None:
    return None if share is None else max(1, int(of_cents * share))


class SellingMachine(SellingDriver):
    @initialize(bonuses=st.lists(bonuses, min_size=1, max_size=3))
    def the_shop_opens(self, bonuses: list[int]) -> None:
        """Two customers; some orders that are paid, and of which the shop knows."""
        for _ in range(2):
            self.customers.append(self.run(self.shop.customer()))
            self.buyers.append(Buyer())
        for who, bonus in enumerate(bonuses):
            self.checks_out(who, 1000, bonus, who == 2, None)
            self.pays(0, "", False)
        self.stripe_tells(0, 1.0, False, None)
        self.workers_work(None, False, False)

    # -- rules: few, each with many ways, so that every example has some of each

    @rule(
        act=st.sampled_from(["buys", "buys", "checks out", "pays", "gets through", "gives up", "spends", "spends"]),
        who=number, amount=cents, bonus=bonuses, session=st.booleans(), card=cards, slow=unlikely, doom=dooms,
    )  # fmt: skip
    def a_customer(
        self, act: str, who: int, amount: int, bonus: int, session: bool, card: str, slow: bool, doom: Doom
    ) -> None:
        if act in ("buys", "checks out"):
            self.checks_out(who, amount, bonus, session, doom)
        if act in ("buys", "pays"):
            self.pays(0 if act == "buys" else who, card, slow)
        if act == "gets through":
            self.money_that_was_under_way_comes_or_not(who, not slow)
        if act == "gives up":
            self.gives_up(who)
        if act == "spends":
            self.spends(who, 30)

    @rule(
        act=st.sampled_from(["we", "we", "we", "at Stripe", "ends", "are"]), which=number, share=shares, doom=dooms,
        again=st.booleans(), ok=unlikely, outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=3),
    )  # fmt: skip
    def refunds(
        self,
        act: str,
        which: int,
        share: float | None,
        doom: Doom,
        again: bool,
        ok: bool,
        outcomes: list[str],
    ) -> None:
        if act == "we":
            self.we_refund(which, share, doom, again)
        elif act == "at Stripe":
            self.somebody_refunds_at_stripe(which, share)
        elif act == "ends":
            self.a_refund_ends(which, ok)
        else:
            self.the_next_refunds_are(outcomes)

    @rule(
        opens=st.booleans(), which=number, share=shares, inquiry=unlikely,
        what=st.sampled_from(["withdraw", "withdraw", "reinstate", "escalate", "won", "lost"]),
    )  # fmt: skip
    def a_bank(self, opens: bool, which: int, share: float | None, inquiry: bool, what: str) -> None:
        if opens:
            self.a_bank_disputes(which, share, inquiry)
        else:
            self.a_dispute_goes_on(which, what)

    @rule(
        seed=st.integers(0, 99), told=st.sampled_from([0, 0.3, 1.0, 1.0]), twice=unlikely, works=st.booleans(),
        leases_end=st.booleans(), both=unlikely, dooms=st.tuples(dooms, dooms),
    )  # fmt: skip
    def stripe_and_workers(
        self,
        seed: int,
        told: float,
        twice: bool,
        works: bool,
        leases_end: bool,
        both: bool,
        dooms: tuple[Doom, Doom],
    ) -> None:
        if told:
            self.stripe_tells(seed, told, twice, dooms[0])
        if works:
            self.workers_work(dooms[1], leases_end, both)

    @rule(act=st.sampled_from(["fault"] * 8 + ["day", "redis"]), fault=faults, times=st.integers(1, 3))
    def trouble(self, act: str, fault: tuple[Any, ...], times: int) -> None:
        if act == "fault":
            self.stripe_will_fail(fault, times)
        elif act == "day":
            self.a_day_passes()
        else:
            self.run(self.redis_comes_back_empty())

    # -- buying

    def checks_out(self, who: int, amount: int, bonus: int, session: bool, doom: Doom) -> None:
        customer, buyer = self.customers[who % len(self.customers)], self.buyers[who % len(self.buyers)]
        order_id = f"{self.run_name}-{next(self.numbers)}"
        fields: dict[str, Any] = {"bonus_nanos": bonus * amount}
        if session:
            fields |= {"mode": "checkout_session", "return_url": "https://shop.test/back"}
        made = self.run(
            self.persistently(doom, lambda: self.shop.checkout(customer, amount, order_id, **fields))
        )
        buyer.sales[order_id] = Sale(amount, bonus, txn=made.init.provider_txn_id)

    def pays(self, which: int, card: str, slow: bool) -> None:
        found = self.pick(which, payable)
        if found is None:
            return
        order_id, sale = found
        if sale.bonus_nanos_per_cent and card == DISPUTED:
            card = ""
        pay = self.stripe.complete_session if sale.session else self.stripe.pay
        how = {"paid": not slow} if sale.session else {"processing": slow}
        self.run(pay(sale.txn, **({"card": card} if card else {}), **how))
        intent = self.intent(order_id)
        sale.unpaid = {"processing": "processing", "requires_payment_method": "failed"}.get(
            intent["status"], ""
        )
        sale.paid = intent["status"] == "succeeded"
        for dispute in self.stripe.account.all("dispute"):
            if dispute["payment_intent"] == intent["id"]:
                sale.disputes[dispute["id"]] = Dispute(
                    sale.cents, inquiry=False, withdrawn=True, withdrawals=1
                )

    def money_that_was_under_way_comes_or_not(self, which: int, ok: bool) -> None:
        found = self.pick(which, lambda sale: not sale.paid and sale.unpaid == "processing")
        if found is None:
            return
        _, sale = found
        if sale.session:
            self.run(self.stripe.finish_session(sale.txn, ok))
        else:
            self.run(self.stripe.finish_processing(sale.txn, ok))
        sale.paid, sale.unpaid = ok, "failed"
        sale.over = sale.session  # a session that is complete is not paid again

    def gives_up(self, which: int) -> None:
        found = self.pick(which, payable)
        if found is not None:
            _, sale = found
            self.run(
                (self.stripe.expire_session if sale.session else self.stripe.cancel_by_dashboard)(sale.txn)
            )
            sale.unpaid = "canceled"

    def spends(self, who: int, percent: int) -> None:
        customer, buyer = self.customers[who % len(self.customers)], self.buyers[who % len(self.buyers)]

        async def call() -> int:
            balance, held = await customer.shop.link.call("HMGET", customer.key, "b:USD", "h:USD")
            cost = max(0, int(balance) - int(held or 0)) * percent // 100
            if cost:
                await customer.call(cost)
            return cost

        buyer.spent_nanos += self.run(call())

    # -- money back

    def we_refund(self, which: int, share: float | None, doom: Doom, again: bool) -> None:
        found = self.pick(which, lambda sale: sale.paid and not (sale.bonus_nanos_per_cent and sale.disputes))
        if found is None:
            return
        order_id, sale = found
        sale.was_refunded = True
        key = f"{order_id}-{next(self.numbers)}"
        for one in (doom, None) if again else (doom,):
            self.run(
                self.doomed(
                    one, lambda: self.shop.refund(order_id, part(sale.cents, share), idempotency_key=key)
                )
            )

    def somebody_refunds_at_stripe(self, which: int, share: float | None) -> None:
        found = self.pick(which, lambda sale: sale.paid and not (sale.bonus_nanos_per_cent and sale.disputes))
        if found is not None:
            order_id, sale = found
            sale.was_refunded = True
            self.at_stripe(self.stripe.dashboard_refund(self.intent(order_id)["id"], part(sale.cents, share)))

    def the_next_refunds_are(self, outcomes: list[str]) -> None:
        self.run(self.stripe.next_refunds(*outcomes))

    def a_refund_ends(self, which: int, ok: bool) -> None:
        refunds = self.stripe.account.all("refund")
        if not refunds:
            return
        ends = self.stripe.succeed_refund if ok else self.stripe.fail_refund
        self.at_stripe(ends(refunds[-1 - which % len(refunds)]["id"]))

    def a_bank_disputes(self, which: int, share: float | None, inquiry: bool) -> None:
        found = self.pick(
            which,
            lambda sale: (
                sale.paid and not (sale.bonus_nanos_per_cent and (sale.was_refunded or sale.disputes))
            ),
        )
        if found is None:
            return
        order_id, sale = found
        amount = sale.cents if sale.bonus_nanos_per_cent else part(sale.cents, share) or sale.cents
        made = self.run(
            self.stripe.dispute(
                self.intent(order_id)["id"], amount, "warning_needs_response" if inquiry else "needs_response"
            )
        )
        sale.disputes[made["id"]] = Dispute(amount, inquiry)

    def a_dispute_goes_on(self, which: int, what: str) -> None:
        disputes = {key: one for _, _, sale in self.sales() for key, one in sale.disputes.items()}
        if not disputes:
            return
        dispute_id, dispute = list(disputes.items())[-1 - which % len(disputes)]
        if what == "withdraw":
            # Stripe takes money while it is open, and keeps it from whoever has lost
            if dispute.open and self.at_stripe(self.stripe.withdraw_funds(dispute_id)) is not None:
                dispute.withdrawn = True
                dispute.withdrawals += 1
        elif what == "reinstate":
            if not dispute.lost and self.at_stripe(self.stripe.reinstate_funds(dispute_id)) is not None:
                dispute.withdrawn = False
        elif what == "escalate":
            if self.at_stripe(self.stripe.update_dispute(dispute_id, "needs_response")) is not None:
                dispute.inquiry = False
        else:
            end = "warning_closed" if dispute.inquiry else what
            if self.at_stripe(self.stripe.close_dispute(dispute_id, end)) is not None:
                dispute.open, dispute.lost = False, end == "lost"

    # -- what is told, and who works

    def stripe_tells(self, seed: int, share: float, twice: bool, doom: Doom) -> None:
        """Some of it, in any order, some twice; what was told once is told again in the end, as everything is."""
        events = self.untold()
        if not events:
            return
        chosen = random.Random(seed).sample(events, max(1, int(len(events) * share)))

        async def tell() -> None:
            for event in chosen * (2 if twice else 1):
                await self.shop.deliver(event)

        self.run(self.doomed(doom, tell))

    def workers_work(self, doom: Doom, leases_end: bool, both: bool) -> None:
        other = Payments(
            self.shop.shop.pg, self.shop.shop.link, self.shop.settings, providers=self.shop.payments.providers
        )

        async def work() -> None:
            if leases_end:
                await overdue(self.shop.shop.pg)
            await self.shop.payments.run_once()

        async def together() -> None:
            await work()
            if both:
                await other.run_once()

        self.run(self.doomed(doom, together))

    def stripe_will_fail(self, fault: tuple[Any, ...], times: int) -> None:
        method, path, kind, when, status = fault
        self.stripe.fault(method, path, kind, when=when, times=times, status=status)

    def a_day_passes(self) -> None:
        """Stripe's keys are over, and sessions that nobody has begun."""
        self.run(self.stripe.advance(DAY_AND_AN_HOUR_S))
        self.run(
            self.shop.shop.pg.execute("UPDATE payment_orders SET sent_at = sent_at - interval '25 hours'")
        )
        for _, _, sale in self.sales():
            if sale.session and payable(sale):
                sale.unpaid = "canceled"


@pytest.mark.timeout(600 + 5 * EXAMPLES)
def test_whatever_happens_to_payments_the_books_say_what_is_so(
    postgres_server: PostgresForTests, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe_library.HTTPClient, "_sleep_time_seconds", lambda *_: 0)
    dsns: list[str] = []
    examples = 0

    def new_dsn() -> str:
        nonlocal examples
        if examples % EXAMPLES_OF_A_DATABASE == 0 or not SellingMachine.clean:
            while dsns:
                postgres_server.drop(dsns.pop())
            dsns.append(postgres_server.new_database())
            SellingMachine.empty_redis(redis_url)
        examples += 1
        return dsns[-1]

    SellingMachine.new_dsn, SellingMachine.redis_url = staticmethod(new_dsn), redis_url
    run_state_machine_as_test(
        SellingMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=EXAMPLES < 100,
            phases=[Phase.generate],  # to make a failing history smaller takes longer than any test may
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(dict(SellingMachine.happened))
    while dsns:
        postgres_server.drop(dsns.pop())
