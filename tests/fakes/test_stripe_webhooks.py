"""Webhooks of the fake Stripe, checked by Stripe's own library, and the fake in a process of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest
import stripe as sdk

from tests.fakes.conftest import USD_10, Inbox, bought
from tests.fakes.stripe import FakeStripe, StripeRefusal, open_stripe_process, signed


async def test_webhooks_come_signed_in_any_order_again_and_until_they_are_taken(
    stripe: FakeStripe, client: Any, inbox: Inbox
) -> None:
    inbox.secrets = ["whsec_new", "whsec_old"]
    await stripe.add_endpoint(
        inbox.url, inbox.secrets, ["payment_intent.created", "payment_intent.succeeded"]
    )
    intent = await bought(stripe, client)
    created, succeeded = [event["id"] for event in await stripe.undelivered()]
    inbox.statuses = [500]
    await stripe.deliver()
    assert [delivery.status for delivery in stripe.deliveries] == [500, 200]
    undelivered = await client.events.list_async({"delivery_success": False})
    assert [(event.id, event.pending_webhooks) for event in undelivered.data] == [(created, 1)]
    await stripe.deliver(twice=True, parallel=2)
    assert inbox.ids == [created, succeeded, created, created]
    assert (stripe.pending_webhooks, await stripe.deliver()) == (0, [])
    await stripe.redeliver(succeeded)
    assert inbox.events[-1].data.object.id == intent
    body, headers = stripe.deliveries[-1].body, stripe.deliveries[-1].headers
    assert json.loads(body)["api_version"] == "2026-10-28.endive"
    forged = signed(body, "whsec_other")["Stripe-Signature"]
    old = stripe.signed(body, "whsec_new", at=1_600_000_000)["Stripe-Signature"]
    for payload, signature in ((body, forged), (body, old), (body + b" ", headers["Stripe-Signature"])):
        with pytest.raises(sdk.SignatureVerificationError):
            sdk.Webhook.construct_event(payload, signature, "whsec_new")


async def test_deliveries_follow_order_and_seed_and_what_is_dropped_never_comes(
    stripe: FakeStripe, client: Any, inbox: Inbox
) -> None:
    await stripe.add_endpoint(inbox.url, inbox.secrets)
    orders = []
    for order, seed in (("created", 0), ("reversed", 0), ("shuffled", 1), ("shuffled", 1), ("shuffled", 2)):
        for _ in range(3):
            await bought(stripe, client)
        waiting = [event["id"] for event in await stripe.undelivered()]
        inbox.events.clear()
        await stripe.deliver(order=order, seed=seed)
        orders.append([waiting.index(id) for id in inbox.ids])
    assert orders[0] == list(range(9))
    assert orders[1] == orders[0][::-1]
    assert orders[2] == orders[3] != orders[4] != orders[0]
    await bought(stripe, client)
    lost = [event["id"] for event in await stripe.undelivered()]
    await stripe.drop(lost[:2])
    inbox.events.clear()
    await stripe.deliver()
    assert inbox.ids == lost[2:]
    missing = await client.events.list_async({"delivery_success": False})
    assert {event.id for event in missing.data} == set(lost[:2])
    await stripe.redeliver(lost[0])
    assert len((await client.events.list_async({"delivery_success": False})).data) == 1


async def test_automatic_deliveries_are_retried_and_a_dead_endpoint_keeps_them(
    stripe: FakeStripe, client: Any, inbox: Inbox
) -> None:
    inbox.statuses = [503, 500]
    await stripe.add_endpoint(inbox.url, inbox.secrets, auto=True)
    await bought(stripe, client)
    await stripe.idle()
    assert stripe.pending_webhooks == 0
    assert len(stripe.deliveries) == 5  # three events, two refusals
    await stripe.remove_endpoints()
    await stripe.add_endpoint("http://127.0.0.1:1/hook", inbox.secrets)
    await bought(stripe, client)
    failed = await stripe.deliver()
    assert [(delivery.status, delivery.error) for delivery in failed] == [(None, "ClientConnectorError")] * 3
    assert stripe.pending_webhooks == 3
    inbox.secrets = ["whsec_rolled"]
    await stripe.change_endpoints(inbox.url, inbox.secrets)
    assert [delivery.status for delivery in await stripe.deliver()] == [200] * 3


async def test_a_process_of_its_own_takes_the_same_calls(inbox: Inbox) -> None:
    http = sdk.AIOHTTPClient()
    async with open_stripe_process("--secret-key", "sk_live_x", "--livemode") as stripe:
        client = sdk.StripeClient("sk_live_x", http_client=http, base_addresses={"api": stripe.url}).v1
        await stripe.add_endpoint(url=inbox.url, secrets=inbox.secrets, events=["payment_intent.succeeded"])
        intent = await client.payment_intents.create_async(USD_10)
        assert (await stripe.pay(intent.id))["livemode"] is True
        with pytest.raises(StripeRefusal, match="payment_intent_unexpected_state"):
            await stripe.pay(pi_id=intent.id)
        with pytest.raises(ValueError, match="no such control"):
            await stripe.explode()
        await stripe.deliver()
        assert [event.data.object.id for event in inbox.events] == [intent.id]
        assert [delivery["status"] for delivery in await stripe.look("deliveries")] == [200]
        assert [asked["path"] for asked in await stripe.look("requests")] == ["/v1/payment_intents"]
        await stripe.reset()
        assert (await stripe.events(), await stripe.look("requests")) == ([], [])
    await http.close_async()
