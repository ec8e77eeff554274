"""localstripe answers stripe-python as the tests that lean on it need, and what it cannot do stands here too.

So that another version of it, or of stripe-python, that does otherwise is noticed.
"""

from __future__ import annotations

import asyncio
import socket
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import stripe
from aiohttp import web

from tests.fakes.localstripe_process import LocalStripe

SECRET = "whsec_of_the_tests"
USD_10 = {"amount": 1000, "currency": "usd"}
REFUSED: dict[str, Any] = {
    "automatic_payment_methods": {"enabled": True},
    "allowed_payment_method_types": ["card"],
    "description": "credit",
    "receipt_email": "ann@example.com",
    "setup_future_usage": "off_session",
    "return_url": "https://shop.example/",
    "statement_descriptor_suffix": "CREDIT",
}


@pytest.fixture
async def client(localstripe: LocalStripe) -> AsyncIterator[Any]:
    http = stripe.AIOHTTPClient(timeout=30)
    made = stripe.StripeClient(
        localstripe.api_key,
        base_addresses={"api": localstripe.base_url},
        http_client=http,
        max_network_retries=0,
    )
    yield made.v1
    await http.close_async()


@pytest.fixture
async def delivered(localstripe: LocalStripe) -> AsyncIterator[asyncio.Queue[tuple[bytes, str]]]:
    """Bodies and signatures, as they come."""
    queue: asyncio.Queue[tuple[bytes, str]] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        queue.put_nowait((await request.read(), request.headers["stripe-signature"]))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listening).start()
    await asyncio.to_thread(
        localstripe.deliver_to, f"http://127.0.0.1:{listening.getsockname()[1]}/hook", SECRET
    )
    yield queue
    await runner.cleanup()


async def card(client: Any, number: str) -> str:
    about = {"number": number, "exp_month": 12, "exp_year": 2040, "cvc": "123"}
    return str((await client.payment_methods.create_async({"type": "card", "card": about})).id)


async def test_a_payment_of_a_customer_with_its_refunds(client: Any) -> None:
    customer = await client.customers.create_async({"metadata": {"account_id": "7"}})
    assert (await client.customers.retrieve_async(customer.id)).metadata["account_id"] == "7"
    intent = await client.payment_intents.create_async(
        {**USD_10, "customer": customer.id, "metadata": {"order_id": "o-1"}}
    )
    assert intent.status == "requires_payment_method"
    assert intent.client_secret.startswith(f"{intent.id}_secret_")
    await client.payment_intents.update_async(
        intent.id, {"payment_method": await card(client, "4242424242424242")}
    )
    paid = await client.payment_intents.confirm_async(intent.id)
    assert (paid.status, paid.amount, paid.metadata["order_id"]) == ("succeeded", 1000, "o-1")
    for amount in (300, 200):
        refund = await client.refunds.create_async(
            {"payment_intent": intent.id, "amount": amount, "metadata": {"refund_id": "r"}}
        )
        assert (refund.status, refund.amount, refund.currency) == ("succeeded", amount, "usd")
    listed = await client.refunds.list_async({"payment_intent": intent.id})
    assert sorted(one.amount for one in listed.data) == [200, 300]
    charge = await client.charges.retrieve_async(paid.latest_charge.id)
    assert (charge.amount_refunded, charge.refunded) == (500, False)


async def test_a_card_that_cannot_be_charged(client: Any) -> None:
    declined = await card(client, "4000000000000341")
    with pytest.raises(stripe.CardError) as refusal:
        await client.payment_intents.create_async({**USD_10, "payment_method": declined, "confirm": True})
    assert (refusal.value.http_status, refusal.value.code) == (402, "card_declined")


async def test_a_webhook_that_it_signs_is_believed_and_a_changed_one_is_not(
    client: Any, delivered: asyncio.Queue[tuple[bytes, str]]
) -> None:
    method = await card(client, "4242424242424242")
    intent = await client.payment_intents.create_async({**USD_10, "payment_method": method, "confirm": True})
    found = None
    async with asyncio.timeout(60):
        while found is None or found["id"] != intent.id:  # those of earlier tests may come first
            body, signature = await delivered.get()
            event = stripe.Webhook.construct_event(body, signature, SECRET)
            found = event.data.object if event.type == "payment_intent.succeeded" else None
    assert (found["status"], found["amount"], event.livemode) == ("succeeded", 1000, False)
    forged = body.replace(b"1000", b"9000")
    assert forged != body
    for payload, secret in ((forged, SECRET), (body, "whsec_another")):
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(payload, signature, secret)


@pytest.mark.parametrize("name", REFUSED)
async def test_parameters_of_a_payment_that_it_does_not_know(client: Any, name: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        await client.payment_intents.create_async({**USD_10, name: REFUSED[name]})
    assert (refusal.value.http_status, refusal.value.user_message) == (400, f"Unexpected {name}")


async def test_what_else_it_cannot_do(client: Any) -> None:
    """It is no witness for these."""
    again = [(await client.customers.create_async({}, {"idempotency_key": "the-same"})).id for _ in range(2)]
    assert again[0] != again[1]
    method = await card(client, "4000000000000002")
    paid = await client.payment_intents.create_async({**USD_10, "payment_method": method, "confirm": True})
    assert (paid.status, "amount_received" in paid) == ("succeeded", False)
    assert (await client.refunds.create_async({"payment_intent": paid.id, "amount": 5000})).amount == 5000
    for asked in (
        client.refunds.create_async({"payment_intent": paid.id, "reason": "requested_by_customer"}),
        client.payment_intents.search_async({"query": "metadata['order_id']:'o'"}),
        client.events.list_async({"types": ["payment_intent.succeeded"]}),
        client.disputes.list_async(),
        client.checkout.sessions.create_async({"mode": "payment", "success_url": "https://shop.example/"}),
    ):
        with pytest.raises(stripe.StripeError) as refusal:
            await asked
        assert refusal.value.http_status in (400, 404)


def test_it_listens_on_loopback_only(localstripe: LocalStripe) -> None:
    port = urllib.parse.urlsplit(localstripe.base_url).port
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (address,) = (one[1] for one in sockets if one[3] == "0A" and one[1].endswith(f":{port:04X}"))
    assert address.startswith("0100007F:")


async def test_what_it_was_told_can_be_forgotten(client: Any, localstripe: LocalStripe) -> None:
    customer = await client.customers.create_async({})
    await asyncio.to_thread(localstripe.forget)
    with pytest.raises(stripe.InvalidRequestError):
        await client.customers.retrieve_async(customer.id)
