"""What people, banks and Stripe do at the fake: payments, refunds, disputes, Checkout, and the lists of it all."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
import stripe as sdk

from tests.fakes.conftest import USD_10, Params, bought
from tests.fakes.stripe import FakeStripe, StripeRefusal

SESSION: Params = {
    "mode": "payment",
    "success_url": "https://shop.example/ok?cs={CHECKOUT_SESSION_ID}",
    "metadata": {"order_id": "o-1"},
    "line_items": [
        {
            "price_data": {"currency": "usd", "unit_amount": 500, "product_data": {"name": "Credit"}},
            "quantity": 2,
        }
    ],
}


async def types(stripe: FakeStripe, since: int = 0) -> list[str]:
    return [event["type"] for event in (await stripe.events())[since:]]


# -- payments


@pytest.mark.parametrize(
    ("card", "status", "code", "decline_code", "events"),
    [
        ("4242424242424242", "succeeded", None, None, ["charge.succeeded", "payment_intent.succeeded"]),
        (
            "4000000000000002",
            "requires_payment_method",
            "card_declined",
            "generic_decline",
            ["charge.failed", "payment_intent.payment_failed"],
        ),
        (
            "4000000000009995",
            "requires_payment_method",
            "card_declined",
            "insufficient_funds",
            ["charge.failed", "payment_intent.payment_failed"],
        ),
        ("4000002500003155", "requires_action", None, None, ["payment_intent.requires_action"]),
        (
            "4000000000000259",
            "succeeded",
            None,
            None,
            [
                "charge.succeeded",
                "payment_intent.succeeded",
                "charge.updated",
                "charge.dispute.created",
                "charge.dispute.funds_withdrawn",
            ],
        ),
    ],
)
async def test_a_card_decides_what_becomes_of_a_payment(
    stripe: FakeStripe,
    client: Any,
    card: str,
    status: str,
    code: str | None,
    decline_code: str | None,
    events: list[str],
) -> None:
    intent = await client.payment_intents.create_async(USD_10)
    await stripe.pay(intent.id, card=card)
    intent = await client.payment_intents.retrieve_async(intent.id, {"expand": ["latest_charge"]})
    error = intent.last_payment_error
    assert intent.status == status
    assert (error and error.code, error and error.decline_code) == (code, decline_code)
    assert intent.amount_received == (1000 if status == "succeeded" else 0)
    assert (await types(stripe))[1:] == events
    if code is not None:
        assert (intent.latest_charge.status, intent.latest_charge.paid) == ("failed", False)
        await stripe.pay(intent.id)  # a failed attempt ends nothing
        assert (await stripe.find(intent.id))["status"] == "succeeded"
    elif status == "succeeded":
        with pytest.raises(StripeRefusal, match="payment_intent_unexpected_state"):
            await stripe.pay(intent.id)


@pytest.mark.parametrize("ok", [True, False])
async def test_a_payment_waits_for_the_customer_and_for_the_bank(
    stripe: FakeStripe, client: Any, ok: bool
) -> None:
    end = "succeeded" if ok else "requires_payment_method"
    one, two, three = [(await client.payment_intents.create_async(USD_10)).id for _ in range(3)]
    await stripe.pay(one, card="4000002500003155")
    assert (await stripe.authenticate(one, ok=ok))["status"] == end
    assert (await stripe.pay(two, processing=True))["status"] == "processing"
    assert (await stripe.finish_processing(two, ok=ok))["status"] == end
    waiting = await stripe.pay(three, method="alipay")
    assert waiting["next_action"]["type"] == "alipay_handle_redirect"
    if ok:
        assert (await stripe.finish_redirect(three, processing=True))["status"] == "processing"
        assert (await stripe.finish_processing(three))["status"] == end
        assert (await stripe.find(three))["latest_charge"].startswith("py_")
    else:
        assert (await stripe.finish_redirect(three, ok=False))["status"] == end
    succeeded = (await types(stripe)).count("payment_intent.succeeded")
    assert succeeded == (3 if ok else 0)


async def test_the_browser_confirms_with_the_publishable_key_and_the_client_secret(
    stripe: FakeStripe, client: Any
) -> None:
    intent = await client.payment_intents.create_async(USD_10)
    path = f"/v1/payment_intents/{intent.id}"
    form = {
        "key": "pk_test_fake",
        "client_secret": intent.client_secret,
        "payment_method_data[type]": "card",
        "payment_method_data[card][number]": "4000000000000002",
    }
    async with aiohttp.ClientSession(stripe.url) as session:
        async with session.post(f"{path}/confirm", data={**form, "client_secret": "x"}) as response:
            assert response.status == 400
        async with session.post(f"{path}/confirm", data=form) as response:
            declined = (await response.json())["error"]
            assert (response.status, declined["code"]) == (402, "card_declined")
            assert declined["payment_intent"]["status"] == "requires_payment_method"
        form["payment_method_data[card][number]"] = "4242424242424242"
        async with session.post(f"{path}/confirm", data=form) as response:
            assert (await response.json())["status"] == "succeeded"
            assert response.headers["Access-Control-Allow-Origin"] == "*"
        asked = {"key": "pk_test_fake", "client_secret": intent.client_secret}
        async with session.get(path, params=asked) as response:
            assert "metadata" not in await response.json()


async def test_canceled_is_the_end_and_paid_cannot_be_canceled(stripe: FakeStripe, client: Any) -> None:
    intent = await client.payment_intents.create_async(USD_10)
    assert intent.automatic_payment_methods.to_dict() == {"enabled": True, "allow_redirects": "always"}
    canceled = await client.payment_intents.cancel_async(intent.id, {"cancellation_reason": "abandoned"})
    assert (canceled.status, canceled.cancellation_reason) == ("canceled", "abandoned")
    with pytest.raises(StripeRefusal, match="status of canceled"):
        await stripe.pay(intent.id)
    with pytest.raises(sdk.InvalidRequestError) as refused:
        await client.payment_intents.cancel_async(await bought(stripe, client))
    assert refused.value.code == "payment_intent_unexpected_state"
    with pytest.raises(sdk.CardError) as declined:
        await client.payment_intents.create_async(
            {
                **USD_10,
                "confirm": True,
                "off_session": True,
                "payment_method": "pm_card_authenticationRequiredOnSetup",
            }
        )
    assert declined.value.code == "authentication_required"


async def test_fees_are_taken_in_the_currency_of_settlement(stripe: FakeStripe, client: Any) -> None:
    async def movement(pi_id: str) -> tuple[int, int, int, str]:
        charge = await client.charges.retrieve_async(
            (await stripe.find(pi_id))["latest_charge"], {"expand": ["balance_transaction"]}
        )
        moved = charge.balance_transaction
        return moved.amount, moved.fee, moved.net, moved.currency

    assert await movement(await bought(stripe, client)) == (1000, 59, 941, "usd")
    assert await movement(await bought(stripe, client, amount=1050)) == (1050, 60, 990, "usd")  # 30.45 → 30
    assert await movement(await bought(stripe, client, amount=500)) == (500, 45, 455, "usd")  # 14.5 → 15
    await stripe.settle_in("usd", {"cny": "0.1401", "jpy": "0.0067"})
    assert await movement(await bought(stripe, client, currency="cny")) == (140, 34, 106, "usd")
    assert await movement(await bought(stripe, client, currency="jpy")) == (670, 49, 621, "usd")
    await stripe.late_balance()
    late = await bought(stripe, client)
    assert (await client.payment_intents.retrieve_async(late, {"expand": ["latest_charge"]})).latest_charge[
        "balance_transaction"
    ] is None
    await stripe.settle(late)
    assert (await types(stripe))[-1] == "charge.updated"


# -- refunds and disputes


async def test_refunds_are_capped_and_counted_until_they_fail(stripe: FakeStripe, client: Any) -> None:
    intent = await bought(stripe, client)
    charge = (await stripe.find(intent))["latest_charge"]

    async def refunded() -> tuple[int, bool]:
        made = await client.charges.retrieve_async(charge)
        return made.amount_refunded, made.refunded

    await stripe.next_refunds("pending")
    first = await client.refunds.create_async({"payment_intent": intent, "amount": 300})
    assert (first.status, first.pending_reason, await refunded()) == ("pending", "processing", (300, False))
    with pytest.raises(sdk.InvalidRequestError) as refused:
        await client.refunds.create_async({"charge": charge, "amount": 701}, {"idempotency_key": "r"})
    assert refused.value.code == "amount_too_large"
    rest = await client.refunds.create_async({"charge": charge})
    assert (rest.amount, rest.status, await refunded()) == (700, "succeeded", (1000, True))
    assert "pending_reason" not in rest
    with pytest.raises(StripeRefusal, match="charge_already_refunded"):
        await stripe.dashboard_refund(intent)
    since = len(await stripe.events())
    failed = await stripe.fail_refund(rest.id)
    moved = await client.balance_transactions.retrieve_async(failed["failure_balance_transaction"])
    assert (failed["status"], moved.amount, await refunded()) == ("failed", 700, (300, False))
    assert (await types(stripe, since))[:2] == ["refund.updated", "refund.failed"]
    await stripe.succeed_refund(first.id)
    # The refusal came after the work began: its key keeps it, though 701 would not fit now either way.
    with pytest.raises(sdk.InvalidRequestError):
        await client.refunds.create_async({"charge": charge, "amount": 701}, {"idempotency_key": "r"})
    assert stripe.requests[-1].replayed
    listed = await client.refunds.list_async({"payment_intent": intent})
    assert [(made.id, made.status) for made in listed.data] == [(rest.id, "failed"), (first.id, "succeeded")]
    counts = [event["data"]["object"]["amount_refunded"] for event in await stripe.events("charge.refunded")]
    assert counts == [300, 1000]  # cumulative
    assert (await client.balance.retrieve_async()).available[0].amount == 1000 - 59 - 300


async def test_a_dispute_goes_step_by_step_and_blocks_refunds(stripe: FakeStripe, client: Any) -> None:
    intent = await bought(stripe, client)
    inquiry = await stripe.dispute(intent, status="warning_needs_response")
    with pytest.raises(StripeRefusal):
        await stripe.withdraw_funds(inquiry["id"])
    await client.refunds.create_async({"payment_intent": intent, "amount": 100})  # an inquiry blocks none
    assert (await stripe.close_dispute(inquiry["id"], "warning_closed"))["status"] == "warning_closed"
    part = await stripe.dispute(intent, 600)
    await stripe.withdraw_funds(part["id"])
    with pytest.raises(StripeRefusal, match="amount_too_large"):
        await stripe.dashboard_refund(intent, 301)
    await stripe.dashboard_refund(intent, 300)
    with pytest.raises(sdk.InvalidRequestError) as refused:
        await client.refunds.create_async({"payment_intent": intent})
    assert refused.value.code == "charge_disputed"
    with pytest.raises(StripeRefusal):
        await stripe.close_dispute(part["id"], "warning_closed")
    await stripe.update_dispute(part["id"], "under_review")
    await stripe.close_dispute(part["id"], "won")
    await stripe.reinstate_funds(part["id"])
    with pytest.raises(StripeRefusal):
        await stripe.reinstate_funds(part["id"])
    seen = await client.disputes.retrieve_async(part["id"])
    assert [(moved.amount, moved.fee) for moved in seen.balance_transactions] == [(-600, 1500), (600, 0)]
    assert [event["type"].split(".")[-1] for event in await stripe.events(about=part["id"])] == [
        "created",
        "funds_withdrawn",
        "updated",
        "closed",
        "funds_reinstated",
    ]
    assert (await client.refunds.create_async({"payment_intent": intent})).amount == 600
    lost = await stripe.dispute(other := await bought(stripe, client), 1100)  # more than was paid
    assert (await stripe.close_dispute(lost["id"], "lost"))["is_charge_refundable"] is False
    with pytest.raises(StripeRefusal, match="charge_disputed"):
        await stripe.dashboard_refund(other)


# -- Checkout


async def test_a_session_can_complete_unpaid_and_makes_its_intent_late(
    stripe: FakeStripe, client: Any
) -> None:
    made = await client.checkout.sessions.create_async(
        {**SESSION, "payment_intent_data": {"metadata": {"order_id": "o-2"}}}
    )
    assert (made.payment_intent, made.amount_total, made.payment_status) == (None, 1000, "unpaid")
    await stripe.complete_session(made.id, card="4000000000000002")
    assert (await stripe.find(made.id))["status"] == "open"
    done = await stripe.complete_session(made.id, paid=False, presentment=(920, "eur"))
    assert (done["status"], done["payment_status"]) == ("complete", "unpaid")
    assert (done["amount_total"], done["currency"]) == (1000, "usd")
    assert done["presentment_details"] == {"presentment_amount": 920, "presentment_currency": "eur"}
    assert (await stripe.events("checkout.session.completed"))[0]["data"]["object"][
        "payment_status"
    ] == "unpaid"
    await stripe.finish_session(made.id)
    assert (await types(stripe))[-1] == "checkout.session.async_payment_succeeded"
    seen = await client.checkout.sessions.retrieve_async(
        made.id, {"expand": ["payment_intent", "line_items"]}
    )
    assert (seen.payment_status, seen.payment_intent.status) == ("paid", "succeeded")
    assert (seen.payment_intent.metadata["order_id"], seen.line_items.data[0].quantity) == ("o-2", 2)
    found = await client.checkout.sessions.list_async({"payment_intent": seen.payment_intent.id})
    assert [session.id for session in found.data] == [made.id]
    other = await client.checkout.sessions.create_async(SESSION)
    third = await client.checkout.sessions.create_async(SESSION)
    await client.checkout.sessions.expire_async(other.id)
    with pytest.raises(StripeRefusal):
        await stripe.complete_session(other.id)
    await stripe.advance(24 * 3600 + 1)
    assert (await stripe.find(third.id))["status"] == "expired"
    assert len(await stripe.events("checkout.session.expired")) == 2


# -- lists


async def test_lists_page_filter_and_search(stripe: FakeStripe, client: Any) -> None:
    customer = await client.customers.create_async({"email": "a@example.com"})
    made = [
        (await client.payment_intents.create_async({**USD_10, "metadata": {"order_id": f"o-{number}"}})).id
        for number in range(5)
    ]
    await client.payment_intents.create_async({**USD_10, "customer": customer.id})
    await stripe.pay(made[0])
    pages = await client.payment_intents.list_async({"limit": 2})
    assert [intent.id async for intent in pages.auto_paging_iter()][1:] == made[::-1]
    back = await client.payment_intents.list_async({"limit": 2, "ending_before": made[0]})
    assert ([intent.id for intent in back.data], back.has_more) == ([made[2], made[1]], True)
    assert len((await client.payment_intents.list_async({"customer": customer.id})).data) == 1
    assert len((await client.customers.list_async({"email": "b@example.com"})).data) == 0
    later = await stripe.advance(100)
    assert (await client.payment_intents.list_async({"created": {"gte": later}})).data == []
    query = {"query": "metadata['order_id']:'o-0' AND status:\"succeeded\""}
    assert [intent.id for intent in (await client.payment_intents.search_async(query)).data] == made[:1]
    await stripe.pause_search_index()
    new = await client.payment_intents.create_async({**USD_10, "metadata": {"order_id": "late"}})
    query = {"query": "metadata['order_id']:'late'"}
    assert (await client.payment_intents.search_async(query)).data == []
    await stripe.pause_search_index(False)
    assert (await client.payment_intents.search_async(query)).data[0].id == new.id
    for types in (["payment_intent.succeeded", "customer.created"], ["payment_intent.succ*", "customer.*"]):
        events = await client.events.list_async({"types": types, "delivery_success": True})
        assert [event.type for event in events.data] == ["payment_intent.succeeded", "customer.created"]
    with pytest.raises(sdk.InvalidRequestError):
        await client.payment_intents.list_async({"limit": 101})


async def test_lies_strangers_and_who_was_deleted(stripe: FakeStripe, client: Any) -> None:
    customer = await client.customers.create_async({})
    intent = await bought(stripe, client, customer=customer.id)
    await stripe.delete_customer(customer.id)
    assert (await client.customers.retrieve_async(customer.id)).deleted
    with pytest.raises(sdk.InvalidRequestError) as refused:
        await client.payment_intents.create_async({**USD_10, "customer": customer.id})
    assert (refused.value.code, refused.value.http_status) == ("resource_missing", 400)
    await stripe.tamper(intent, amount_received=1, currency="eur")
    seen = await client.payment_intents.retrieve_async(intent)
    assert (seen.amount_received, seen.currency) == (1, "eur")
    stranger = await stripe.pay_elsewhere(700, "usd", {"order_id": "not ours"})
    assert (await client.payment_intents.retrieve_async(stranger["id"])).amount_received == 700
