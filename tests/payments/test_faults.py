"""What goes wrong around a payment: what Stripe tells badly, answers late or not at all, what stores lose meanwhile.

Every test ends with the books balanced.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import stripe as stripe_library

from rabbitgw.errors import PaymentUnavailable
from rabbitgw.payments import sync
from rabbitgw.payments.registry import Providers
from rabbitgw.payments.till import Payments
from tests.payments.dying import overdue, quiesce
from tests.payments.shop import DOLLAR, PaymentShop

TEN = 10 * DOLLAR
FEE = 590_000_000  # 2.9 % of 10.00 and 0.30
DECLINED = "4000000000000002"
DAY_S = 86_400


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripe's library tries again after half a second; here at once."""
    monkeypatch.setattr(stripe_library.HTTPClient, "_sleep_time_seconds", lambda *_: 0)


def posts(shop: PaymentShop, path: str) -> int:
    return sum((one.method, one.path) == ("POST", path) for one in shop.stripe.requests)


# -- webhooks


@pytest.mark.parametrize("manner", ["twice", "reversed", "shuffled", "two workers"])
async def test_webhooks_may_come_in_any_manner(shop: PaymentShop, manner: str) -> None:
    """A payment whose first try failed, a refund of ours, one at Stripe, and a dispute that is won: told at the end."""
    customer, stripe = await shop.customer(), shop.stripe
    made = await shop.checkout(customer, order_id="ORD-1")
    txn = made.init.provider_txn_id
    await stripe.pay(txn, DECLINED)
    await stripe.pay(txn)
    await shop.payments.sync.look(shop.payments.providers.get("stripe"), txn)
    await stripe.next_refunds("pending")
    refund = await shop.refund("ORD-1", 300)
    assert refund.state == "pending"
    await stripe.succeed_refund(refund.provider_refund_id)
    await stripe.dashboard_refund(txn, 100)
    dispute = await stripe.dispute(txn, 600)
    await stripe.withdraw_funds(dispute["id"])
    await stripe.reinstate_funds(dispute["id"])
    await stripe.close_dispute(dispute["id"], "won")

    events = list(stripe.account.events)
    if manner == "twice":
        events += events
    elif manner == "reversed":
        events.reverse()
    elif manner == "shuffled":
        random.Random(5).shuffle(events)
    if manner == "two workers":
        other = Payments(shop.shop.pg, shop.shop.link, shop.settings, providers=shop.payments.providers)
        await asyncio.gather(*(shop.deliver(event) for event in events))
        done = await asyncio.gather(shop.payments.run_once(), other.run_once())
        assert sum(done) == await shop.shop.pg.fetchval("SELECT count(*) FROM provider_events WHERE wanted")
    else:
        fresh = [await shop.deliver(event) for event in events]
        assert sum(fresh) == len(stripe.account.events)
    await quiesce(shop)
    assert await shop.status("ORD-1") == "partially_refunded"
    assert await customer.ledger_nanos() == 6 * DOLLAR
    # 10.00 less its fee came, 4.00 went back, and the dispute cost 15.00 though it was won
    assert await shop.booked() == {
        "wallet": 6 * DOLLAR,
        "cash:stripe": -6 * DOLLAR + FEE + 15 * DOLLAR,
        "fees:stripe": -FEE - 15 * DOLLAR,
    }
    await shop.balanced()


async def test_a_failed_try_that_is_told_after_the_payment_changes_nothing(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.checkout(customer)
    await shop.stripe.pay(made.init.provider_txn_id, DECLINED)
    (failed,) = await shop.stripe.events("payment_intent.payment_failed")
    await shop.deliver(failed)
    await shop.payments.run_once()
    assert await shop.status(made.order_id) == "failed"
    await shop.stripe.pay(made.init.provider_txn_id)
    (paid,) = await shop.stripe.events("payment_intent.succeeded")
    await shop.deliver(paid)
    await shop.payments.run_once()
    await shop.deliver({**failed, "id": "evt_told_late"})
    await shop.payments.run_once()
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("paid", TEN)
    await shop.balanced()


async def test_an_event_of_the_other_mode_is_kept_and_moves_nothing(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.checkout(customer)
    await shop.stripe.pay(made.init.provider_txn_id)
    (paid,) = await shop.stripe.events("payment_intent.succeeded")
    await shop.deliver({**paid, "livemode": True})
    assert await shop.payments.run_once() == 0
    row = await shop.shop.pg.fetchrow(
        "SELECT state, outcome FROM provider_events WHERE event_id = $1", paid["id"]
    )
    assert tuple(row) == ("ignored", sync.OTHER_MODE)
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("awaiting_payment", 0)
    await shop.balanced()


async def test_a_fee_that_is_known_later_is_booked_when_it_is_told(shop: PaymentShop) -> None:
    """As it is with every payment that Stripe captures in the background, which is its default."""
    customer = await shop.customer()
    await shop.stripe.late_balance()
    made = await shop.paid(customer)
    assert await shop.booked() == {"wallet": TEN, "cash:stripe": -TEN}
    await shop.stripe.settle(made.init.provider_txn_id)
    for _ in range(2):
        await quiesce(shop)
        assert await shop.booked() == {"wallet": TEN, "cash:stripe": -TEN + FEE, "fees:stripe": -FEE}
    await shop.balanced()


# -- looks that overtake each other


@asynccontextmanager
async def held_look(shop: PaymentShop, path: str, txn: str) -> AsyncIterator[asyncio.Task[Any]]:
    """A look at a payment whose answer, as it is now, comes at the end of the block only."""
    provider = shop.payments.providers.get("stripe")
    fault = shop.stripe.fault("GET", path, "hold", when="after")
    look = asyncio.create_task(shop.payments.sync.look(provider, txn))
    await fault.met.wait()
    yield look
    fault.gate.set()
    await look


async def test_an_earlier_look_does_not_undo_a_later_one(shop: PaymentShop) -> None:
    customer, stripe = await shop.customer(), shop.stripe
    made = await shop.checkout(customer)
    txn = made.init.provider_txn_id
    await stripe.pay(txn, DECLINED)
    async with held_look(shop, f"/v1/payment_intents/{txn}", txn):
        await stripe.pay(txn)
        await shop.settle()
        assert await shop.status(made.order_id) == "paid"
    assert await shop.status(made.order_id) == "paid"

    refund = await shop.refund(made.order_id, 400)
    async with held_look(shop, "/v1/refunds", txn):
        await stripe.fail_refund(refund.provider_refund_id)
        await shop.settle()
        assert await customer.ledger_nanos() == TEN

    dispute = await stripe.dispute(txn)
    await stripe.withdraw_funds(dispute["id"])
    async with held_look(shop, "/v1/disputes", txn):
        await stripe.reinstate_funds(dispute["id"])
        await stripe.close_dispute(dispute["id"], "won")
        await shop.settle()
        assert await customer.ledger_nanos() == TEN
    assert (await shop.status(made.order_id), await customer.ledger_nanos()) == ("paid", TEN)
    await shop.balanced()


async def test_a_second_payment_is_not_forgotten_when_a_look_at_the_first_overtakes_it(
    shop: PaymentShop,
) -> None:
    customer = await shop.customer()
    made = await shop.paid(customer, order_id="ORD-1")
    deployment = await shop.shop.pg.fetchval("SELECT id::text FROM deployment")
    second = await shop.stripe.pay_elsewhere(
        1000, "usd", {"order_id": "ORD-1", "rabbitgw_deployment": deployment}
    )
    # It is asked for twice: whose it is, and then with a number. It is the second answer that is late.
    await shop.take_webhooks()
    path = f"/v1/payment_intents/{second['id']}"
    shop.stripe.fault("GET", path, "hold", when="after").gate.set()
    fault = shop.stripe.fault("GET", path, "hold", when="after")
    work = asyncio.create_task(shop.payments.run_once())
    await fault.met.wait()
    await shop.payments.sync.look(shop.payments.providers.get("stripe"), made.init.provider_txn_id)
    fault.gate.set()
    await work
    await quiesce(shop)
    assert (await shop.status("ORD-1"), await shop.house("clearing")) == ("needs_review", TEN)
    await shop.refund("ORD-1")
    await quiesce(shop)
    assert (await shop.status("ORD-1"), await shop.house("clearing")) == ("paid", 0)
    assert await customer.ledger_nanos() == TEN
    await shop.balanced()


# -- answers that do not come

FAULTS = [
    ("status", "before", 429),
    ("status", "before", 500),
    ("cut", "before", 0),
    ("cut", "after", 0),
    ("garbage", "before", 0),
    ("garbage", "after", 0),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "when", "status"), FAULTS)
async def test_what_stripe_does_not_answer_is_asked_again_and_done_once(
    shop: PaymentShop, kind: str, when: str, status: int
) -> None:
    """Each call of the story fails, the library's own second try too; then people and workers try again."""
    customer, stripe = await shop.customer(), shop.stripe
    tries = 1 if kind == "garbage" or status == 429 else 2

    def spoil(method: str, path: str) -> None:
        stripe.fault(method, path, kind, when=when, times=tries, status=status)

    for path in ("/v1/customers", "/v1/payment_intents"):
        spoil("POST", path)
        with pytest.raises(PaymentUnavailable):
            await shop.checkout(customer, order_id="ORD-1")
    made = await shop.checkout(customer, order_id="ORD-1")
    txn = made.init.provider_txn_id
    assert [one["id"] for one in await stripe.all("payment_intent")] == [txn]

    for path in ("/v1/payment_intents/*", "/v1/refunds", "/v1/disputes"):
        spoil("GET", path)
    await stripe.pay(txn)
    for _ in range(4):
        await shop.settle()
        await overdue(shop.shop.pg)
    assert (await shop.status("ORD-1"), await customer.ledger_nanos()) == ("paid", TEN)

    spoil("GET", "/v1/payment_intents/*")
    spoil("POST", "/v1/refunds")
    refund = await shop.refund("ORD-1", 400)
    assert (refund.state, await customer.ledger_nanos()) == ("taken", 6 * DOLLAR)
    await quiesce(shop)
    assert [one["amount"] for one in await stripe.all("refund")] == [400]
    assert await customer.redis_nanos() == await customer.ledger_nanos() == 6 * DOLLAR
    assert await shop.status("ORD-1") == "partially_refunded"
    await shop.balanced()


@pytest.mark.parametrize("mode", ["payment_element", "checkout_session"])
async def test_a_500_that_stripe_keeps_makes_nothing_twice(shop: PaymentShop, mode: str) -> None:
    """It answers so for a day, whatever was done: it is asked what there is, and for another Customer."""
    customer, stripe = await shop.customer(), shop.stripe
    form = {"order_id": "ORD-1", "mode": mode, "return_url": "https://shop.test/back"}
    path = "/v1/payment_intents" if mode == "payment_element" else "/v1/checkout/sessions"
    stripe.fault("POST", path, "status", when="after", status=500)
    stripe.fault("POST", "/v1/customers", "status", when="after", status=500)
    if mode == "payment_element":  # which is found by a search that may lag behind
        await stripe.pause_search_index()
        with pytest.raises(PaymentUnavailable):
            await shop.checkout(customer, **form)
        await stripe.pause_search_index(False)
    made = await shop.checkout(customer, **form)
    assert made == await shop.checkout(customer, **form)
    txn = made.init.provider_txn_id
    if mode == "payment_element":
        await stripe.pay(txn)
    else:
        await stripe.complete_session(txn)
    await quiesce(shop)
    kind = "payment_intent" if mode == "payment_element" else "checkout.session"
    assert [one["id"] for one in await stripe.all(kind)] == [txn]

    stripe.fault("POST", "/v1/refunds", "status", when="after", status=500)
    assert (await shop.refund("ORD-1", 400)).state == "taken"
    await quiesce(shop)
    assert len(await stripe.all("refund")) == 1
    assert await shop.booked() == {
        "wallet": 6 * DOLLAR,
        "cash:stripe": -6 * DOLLAR + FEE,
        "fees:stripe": -FEE,
    }
    assert await customer.redis_nanos() == 6 * DOLLAR
    await shop.balanced()


async def a_day_passes(shop: PaymentShop) -> None:
    """Stripe's clock goes ahead; of ours, what was sent is older."""
    await shop.stripe.advance(25 * 3600)
    await shop.shop.pg.execute("UPDATE payment_orders SET sent_at = sent_at - interval '25 hours'")


async def test_no_second_payment_is_made_when_the_keys_are_over(shop: PaymentShop) -> None:
    customer, stripe = await shop.customer(), shop.stripe
    stripe.fault("POST", "/v1/payment_intents", "cut", when="after", times=2)
    with pytest.raises(PaymentUnavailable):
        await shop.checkout(customer, order_id="ORD-1")
    await a_day_passes(shop)
    made = await shop.checkout(customer, order_id="ORD-1")
    assert [one["id"] for one in await stripe.all("payment_intent")] == [made.init.provider_txn_id]
    await stripe.pay(made.init.provider_txn_id)
    await quiesce(shop)

    # The same of a session, which has ended by itself meanwhile.
    back = {"mode": "checkout_session", "return_url": "https://shop.test/back"}
    stripe.fault("POST", "/v1/checkout/sessions", "cut", when="after", times=2)
    with pytest.raises(PaymentUnavailable):
        await shop.checkout(customer, order_id="ORD-2", **back)
    await a_day_passes(shop)
    made = await shop.checkout(customer, order_id="ORD-2", **back)
    sessions = [(one["id"], one["status"]) for one in await stripe.all("checkout.session")]
    assert sessions == [(made.init.provider_txn_id, "expired")]
    await quiesce(shop)
    assert (await shop.status("ORD-2"), await customer.ledger_nanos()) == ("canceled", TEN)
    await shop.balanced()


async def test_a_refund_that_is_tried_again_after_the_keys_are_over_is_the_same(shop: PaymentShop) -> None:
    customer = await shop.customer()
    made = await shop.paid(customer)
    shop.stripe.fault("POST", "/v1/refunds", "cut", when="after", times=2)
    assert (await shop.refund(made.order_id, 400)).state == "taken"
    await shop.stripe.advance(25 * 3600)
    await quiesce(shop)
    assert [one["status"] for one in await shop.stripe.all("refund")] == ["succeeded"]
    assert await customer.ledger_nanos() == 6 * DOLLAR
    await shop.balanced()


@pytest.mark.parametrize("installed", [["stripe"], []], ids=["switched off", "not installed"])
async def test_a_refund_waits_for_a_provider_that_is_not_there(
    shop: PaymentShop, installed: list[str]
) -> None:
    """Stripe has it, though its answer was lost; so it is not given back by whoever has no key for Stripe."""
    customer = await shop.customer()
    made = await shop.paid(customer)
    shop.stripe.fault("POST", "/v1/refunds", "cut", when="after", times=2)
    assert (await shop.refund(made.order_id, 400)).state == "taken"
    with_stripe = shop.payments
    shop.payments = Payments(shop.shop.pg, shop.shop.link, shop.settings, providers=Providers({}, installed))
    await overdue(shop.shop.pg)
    assert await shop.payments.run_once() == 1
    assert await customer.ledger_nanos() == 6 * DOLLAR
    shop.payments = with_stripe
    await quiesce(shop)
    assert await shop.shop.pg.fetchval("SELECT state FROM refunds") == "succeeded"
    assert await customer.ledger_nanos() == 6 * DOLLAR
    await shop.balanced()


# -- refunds and disputes that meet


@pytest.mark.parametrize("first", ["failed", "not sent"])
async def test_a_bonus_goes_back_with_a_refund_whatever_became_of_another(
    shop: PaymentShop, first: str
) -> None:
    """Of 10.00 with a bonus of 1.00 everything is sent back at Stripe, beside a refund that came to nothing."""
    customer, stripe = await shop.customer(), shop.stripe
    made = await shop.paid(customer, bonus_nanos=DOLLAR)
    txn = made.init.provider_txn_id
    if first == "failed":
        refund = await stripe.dashboard_refund(txn)
        await shop.settle()
        assert await customer.ledger_nanos() == 0
        await stripe.fail_refund(refund["id"])
    else:
        stripe.fault("POST", "/v1/refunds", "cut", times=2)
        assert (await shop.refund(made.order_id, 600)).state == "taken"
        assert await customer.ledger_nanos() == 4_400_000_000
    await stripe.dashboard_refund(txn)
    await quiesce(shop)
    assert await shop.status(made.order_id) == "refunded"
    assert await shop.booked() == {"cash:stripe": FEE, "fees:stripe": -FEE}
    await shop.balanced()
