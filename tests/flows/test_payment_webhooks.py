"""What Stripe tells us over HTTP: what is believed, what is stored, and what becomes of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from rabbitgw.api.payments import WEBHOOK_BYTES_MAX
from tests.books import assert_books_balance
from tests.fakes.stripe.webhooks import event_bytes, signed
from tests.flows.house import until
from tests.flows.till import SECRETS, Opened, Till, open_till

CENT = 10_000_000  # nanos
HOUR_S = 3600


@pytest.fixture
async def till(house_with: Opened) -> AsyncIterator[Till]:
    async with open_till(house_with) as opened:
        yield opened
        await assert_books_balance(opened)


async def paid(till: Till, order_id: str = "ORD-1") -> tuple[str, dict[str, Any]]:
    """A payment of 10.00 that Stripe has not told us about: its id, and the event that says so."""
    made = await till.checkout(order_id=order_id)
    await till.stripe.pay(made["provider_txn_id"])
    (event,) = [one for one in till.stripe.account.events if one["type"] == "payment_intent.succeeded"][-1:]
    return made["provider_txn_id"], event


async def test_what_stripe_did_not_sign_is_refused_and_not_stored(till: Till) -> None:
    _, event = await paid(till)
    body = event_bytes(event)
    good = signed(body, SECRETS[0])
    now = int(time.time())
    mac = good["Stripe-Signature"].rpartition("=")[2]
    forged: list[tuple[bytes, dict[str, str]]] = [
        (body, signed(body, "whsec_of_somebody_else")),
        (body + b" ", good),
        (body.replace(b"1000", b"9000"), good),
        (b"", good),
        (body, {}),
        (body, signed(body, SECRETS[0], now - HOUR_S)),
        *((body, {"Stripe-Signature": header}) for header in (
            "", "t=,v1=", f"t={now}", f"v1={mac}", f"t={now},v0={mac}", f"t=soon,v1={mac}", f"t={now}.5,v1={mac}",
            f"t={now + 60},v1={mac}", "t" * 8000, f"v2={now},{mac}", f"t={now},v1=caf\u00e9", "=,=,=",
        )),
    ]  # fmt: skip
    for sent, headers in forged:
        error = (await till.webhook(sent, headers, status=400))["error"]
        assert (error["code"], error["field"]) == ("invalid_signature", None), headers
    # signed, and yet no event that we understand
    thin = {"id": "evt_thin", "object": "v2.core.event", "type": "v1.billing.meter.no_meter_found"}
    for strange in (
        b"no json",
        b"[]",
        b"{}",
        b'"a"',
        orjson.dumps(thin),
        orjson.dumps({**event, "data": None}),
    ):
        error = (await till.webhook(strange, signed(strange, SECRETS[0]), status=400))["error"]
        assert error["code"] == "invalid_request", strange
    assert (await till.refused("/v1/webhooks/pigeon", body, key="", status=404))[1] == "provider"
    large = b" " * (WEBHOOK_BYTES_MAX + 1)
    error = (await till.webhook(large, signed(large, SECRETS[0]), status=413))["error"]
    assert (error["code"], str(WEBHOOK_BYTES_MAX) in error["message"]) == ("request_too_large", True)
    assert await till.events() == 0
    assert await till.balance_nanos() == 0

    # as large as may be, and by the secret that is rolled in
    largest = body + b" " * (WEBHOOK_BYTES_MAX - len(body))
    await till.webhook(largest, signed(largest, SECRETS[1]))
    await till.worked_off()
    assert (await till.status("ORD-1"), await till.balance_nanos()) == ("paid", 1000 * CENT)


async def test_what_is_told_twice_or_is_nothing_to_us_moves_nothing(till: Till) -> None:
    _, event = await paid(till)
    for path, secret in (("/v1/webhooks/stripe", SECRETS[0]), ("/billing/webhook", SECRETS[1])):
        body = event_bytes(event)
        said = await till.ask(path, body, key="", **signed(body, secret))
        assert said.pop("request_id")
        assert said == {"received": True}
    await till.worked_off()
    row = await till.event(event["id"])
    assert row is not None
    assert (row["deliveries"], row["state"], bytes(row["body"])) == (2, "done", event_bytes(event))
    assert await till.balance_nanos() == 1000 * CENT

    # of a kind that we do not know; of live money; of nobody's order; of another deployment's order of the same name
    unknown = {**event, "id": "evt_unknown", "type": "climate.order.delivered"}
    live = {**event, "id": "evt_live", "livemode": True}
    theirs = {"order_id": "ORD-1", "rabbitgw_deployment": "00000000-0000-4000-8000-000000000000"}
    told = [unknown, live]
    for metadata in ({}, theirs, {"order_id": "ORD-1"}):
        await till.stripe.pay_elsewhere(1000, "usd", metadata)
        told.append(till.stripe.account.events[-1])
    for one in told:
        await till.told(one)
    await till.worked_off()
    rows = [await till.event(one["id"]) for one in told]
    assert [row and (row["state"], row["outcome"]) for row in rows] == [
        ("ignored", "nothing that we act on"),
        ("ignored", "of the other mode, test or live"),
        *[("ignored", "no order of ours")] * 3,
    ]
    assert (await till.status("ORD-1"), await till.balance_nanos()) == ("paid", 1000 * CENT)


async def test_what_we_cannot_store_comes_again(till: Till) -> None:
    """503 while PostgreSQL is away; Stripe's next try is taken."""
    await paid(till)
    waiting = till.stripe.pending_webhooks
    async with till.without_postgresql():
        tries = await till.stripe.deliver()
        assert {one.status for one in tries} == {503}
        assert all(orjson.loads(one.answer)["error"]["code"] == "service_unavailable" for one in tries)
        assert till.stripe.pending_webhooks == waiting

    async def taken() -> bool:
        return all(one.ok for one in await till.stripe.deliver())

    await until(taken)
    await until(lambda: credited(till))
    assert await till.status("ORD-1") == "paid"


async def credited(till: Till) -> bool:
    reply = await till.house.get("/v1/wallets")
    return reply.status == 200 and reply.json()["wallets"][0]["balance_nanos"] == 1000 * CENT


async def test_without_a_secret_no_webhook_is_taken(house_with: Opened) -> None:
    async with open_till(house_with, stripe_webhook_secret=SecretStr("")) as till:
        _, event = await paid(till)
        for body in (event_bytes(event), b"", b"{}"):
            error = (await till.webhook(body, signed(body, SECRETS[0]), status=503))["error"]
            assert (error["code"], "STRIPE_WEBHOOK_SECRET" in error["message"]) == ("payments_off", True)
        assert await till.events() == 0


async def test_without_a_key_stripe_is_off(house_with: Opened) -> None:
    off = {"stripe_secret_key": SecretStr(""), "stripe_publishable_key": ""}
    async with open_till(house_with, **off) as till:
        assert (await till.checkout(503))["error"]["code"] == "payments_off"
        assert (await till.refused("/v1/config/stripe", key="", status=503))[0] == "payments_off"
        package = {"credit_amount": 100}
        refusal = await till.refused(
            "/billing/create-payment-intent", package, key=till.house.secret, status=503
        )
        assert refusal[0] == "payments_off"
        assert (await till.webhook(b"{}", {}, status=503))["error"]["code"] == "payments_off"
        assert (await till.checkout(provider="manual"))["type"] == "instructions"
        await assert_books_balance(till)
