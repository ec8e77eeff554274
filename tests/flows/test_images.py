"""Images by the official SDK: what is held, what is charged, and what of it the bill says. Costs are literals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp

from rabbitgw.billing import plan_assignments, plan_pricing, plans
from rabbitgw.billing.key_push import push_keys_below
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import Drop, FakeUpstream, Raw, Refuse
from tests.flows.house import House, until
from tests.flows.media import charged, received, sdk_of, settled

PATH = "/v1/images/generations"
EDITS = "/v1/images/edits"
PNG = b"\x89PNG" + bytes(300)


def answer(images: int = 1, *, size_bytes: int = 4, **members: Any) -> Raw:
    data = [{"b64_json": "A" * size_bytes} for _ in range(images)]
    body = json.dumps({"created": 1, "data": data, **members}).encode()
    return Raw.split(body, len(body) // 2, content_type="application/json", framing="length")


async def test_images_cost_what_their_size_and_quality_costs(house: House, upstream: FakeUpstream) -> None:
    # two of the three that were asked for came, larger than what is read in one go
    upstream.script(PATH, answer(2, size_bytes=400_000))
    async with sdk_of(house) as sdk:
        raw = await sdk.images.with_raw_response.generate(
            model="dall-e-3", prompt="a cat", n=3, size="1024x1024", quality="hd"
        )
    assert len(raw.parse().data or []) == 2
    bill = await house.bill(raw.headers["x-rabbitgw-request-id"])
    assert (bill["status"], bill["usage_source"], bill["dialect"]) == ("settled", "request", "openai-images")
    assert (bill["images"], bill["image_kind"], bill["cost_nanos"]) == (2, "1024x1024:hd", 160_000_000)
    assert (bill["input_tokens"], bill["output_tokens"]) == (0, 0)
    sent = upstream.requests[-1].json
    assert (sent["n"], sent["user"], "metadata" in sent) == (3, str(house.account.id), False)
    assert upstream.requests[-1].header("x-litellm-call-id") == bill["id"]
    await charged(house, 160_000_000)


GPT_IMAGE: dict[str, Any] = {
    "usage": {
        "input_tokens": 50,
        "input_tokens_details": {"text_tokens": 40, "image_tokens": 10},
        "output_tokens": 4160,
        "output_tokens_details": {"image_tokens": 4160, "text_tokens": 0},
        "total_tokens": 4210,
    },
    "size": "1024x1024",
    "quality": "high",
}
STATED: list[tuple[dict[str, Any], dict[str, Any], str, int, str]] = [
    # 40 text tokens at 5 000, 10 image tokens at 10 000, 4 160 made at 40 000
    ({"model": "gpt-image-1"}, GPT_IMAGE, "1024x1024:high", 166_700_000, "provider"),
    # the usual size and quality where the request leaves them out, the answer's where it names them
    ({}, {}, "1024x1024:standard", 40_000_000, "request"),
    (
        {"size": "auto"},
        {"size": "1024x1792", "quality": "standard"},
        "1024x1792:standard",
        80_000_000,
        "request",
    ),
    ({"size": "1024x1024"}, {"size": "9x9"}, "1024x1024:standard", 40_000_000, "request"),
    # by token, and none stated: the usual number of them for a quality, and one for the prompt
    ({"model": "gpt-image-1", "quality": "low"}, {}, "auto:low", 10_885_000, "estimated"),
]


async def test_what_is_stated_comes_before_what_was_asked(house: House, upstream: FakeUpstream) -> None:
    total_nanos = 0
    for asked, answered, kind, nanos, source in STATED:
        upstream.script(PATH, answer(**answered))
        reply = await house.post({"model": "dall-e-3", "prompt": "x", **asked}, path=PATH)
        bill = await house.bill(reply.request_id)
        said = (reply.status, bill["cost_nanos"], bill["usage_source"], bill["images"], bill["image_kind"])
        assert said == (200, nanos, source, 1, kind), asked
        total_nanos += nanos
    assert bill["output_tokens"] == 272
    await charged(house, total_nanos)


REFUSED: list[tuple[dict[str, Any], int, str, str | None]] = [
    ({"size": "512x512"}, 403, "images:512x512", "size"),
    ({"size": "1024x1792", "quality": "hd"}, 403, "images:1024x1792:hd", "quality"),
    ({"model": "tts-1"}, 403, "images", "model"),
    ({"model": "no-such"}, 404, "does not exist", "model"),
    ({"n": 11}, 400, "1 to 10", "n"),
    ({"n": 0}, 400, "1 to 10", "n"),
    ({"size": "1024X1024"}, 400, "lower case", "size"),
    ({"prompt": ""}, 400, "32000", "prompt"),
    ({"prompt": "x" * 32_001}, 400, "32000", "prompt"),
    ({"stream": True}, 400, "not streamed", "stream"),
    ({"num_images": 4}, 400, "not a field", "num_images"),
    ({"api_base": "http://x"}, 400, "routing", "api_base"),
    ({"N": 4}, 400, "did you mean", "N"),
    ({"prompt": "x" * 530_000}, 413, "524288", None),
]


async def test_what_cannot_be_priced_is_not_forwarded(house: House, upstream: FakeUpstream) -> None:
    for body, status, words, field in REFUSED:
        reply = await house.post({"model": "dall-e-3", "prompt": "x", **body}, path=PATH)
        error = reply.json()["error"]
        assert (reply.status, error["param"]) == (status, field), error
        assert words in error["message"]
        assert (error["code"] == "model_not_priced") == (status == 403)
    assert [request for request in upstream.requests if request.method == "POST"] == []
    assert (await house.wallet())["held_nanos"] == 0


async def test_a_wallet_and_a_window_that_the_worst_case_does_not_fit_refuse_it(
    house_with: Callable[..., AbstractAsyncContextManager[House]], upstream: FakeUpstream
) -> None:
    async with house_with(credit_nanos=150_000_000, balance_status=402) as house:
        body = {"model": "dall-e-3", "prompt": "x", "size": "1024x1024", "quality": "hd"}
        short = await house.post({**body, "n": 2}, path=PATH)
        assert (short.status, short.json()["error"]["code"]) == (402, "insufficient_quota")
        limited = await house.new_key(daily_limit_nanos=79_999_999)
        full = await house.post(body, path=PATH, authorization=f"Bearer {limited}")
        assert (full.status, full.json()["error"]["code"]) == (429, "budget_exceeded")
        assert [request for request in upstream.requests if request.method == "POST"] == []
        upstream.script(PATH, answer())
        assert (await house.post(body, path=PATH)).status == 200
        await assert_books_balance(house)
        assert (await house.wallet())["balance_nanos"] == 70_000_000


FAILED: list[tuple[Any, int, int]] = [
    (Refuse(500), 502, 0),
    (Refuse(400), 400, 0),
    (Drop(), 502, 0),
    (Raw([b"<html>"], content_type="text/html"), 502, 0),
    (answer(0), 200, 0),
    # upstream has made them: what was asked for is charged
    (
        Raw([b'{"created":1,"data":[{"b64_json":"AA'], content_type="application/json", cut=True),
        0,
        80_000_000,
    ),
]


async def test_an_upstream_that_fails(house: House, upstream: FakeUpstream) -> None:
    body = {"model": "dall-e-3", "prompt": "x", "n": 2, "size": "1024x1024", "quality": "standard"}
    for script, status, _ in FAILED:
        upstream.script(PATH, script)
        try:
            answered = (await house.post(body, path=PATH)).status
        except aiohttp.ClientPayloadError:
            answered = 0  # cut
        assert answered == status
    await until(lambda: settled(house, len(FAILED)))
    lines = (await house.get("/v1/usage")).json()["usage"]
    assert [line["status"] for line in lines] == ["partial", *["released"] * 5]
    await charged(house, sum(nanos for _, _, nanos in FAILED))


async def test_a_caller_who_leaves_pays_for_what_is_made(house: House, upstream: FakeUpstream) -> None:
    piece = b'{"created":1,"data":[{"url":"x"}'
    upstream.script(PATH, Raw([piece, b"]", b"}"], content_type="application/json", delay_s=0.2))
    asking = asyncio.create_task(house.post({"model": "fake-image", "prompt": "x"}, path=PATH))
    await until(lambda: upstream.requests)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await until(lambda: settled(house))
    await charged(house, 20_000_000)


async def test_a_key_without_the_scope_or_the_model_may_not(house: House, upstream: FakeUpstream) -> None:
    upstream.script(PATH, answer())
    body = {"model": "fake-image", "prompt": "x"}
    for fields, status in (
        ({"scopes": ["chat"]}, 403),
        ({"models": ["gpt-*"]}, 403),
        ({"scopes": ["images"]}, 200),
    ):
        secret = await house.new_key(**fields)
        assert (await house.post(body, path=PATH, authorization=f"Bearer {secret}")).status == status
    assert len(upstream.requests) - sum(r.method == "GET" for r in upstream.requests) == 1


async def test_edits_go_as_a_form_and_cost_what_is_stated(house: House, upstream: FakeUpstream) -> None:
    upstream.script(EDITS, answer(**GPT_IMAGE))
    async with sdk_of(house) as sdk:
        raw = await sdk.images.with_raw_response.edit(
            model="gpt-image-1",
            prompt="a hat",
            n=1,
            image=[("a.png", PNG, "image/png"), ("b.png", PNG, "image/png")],
        )
    bill = await house.bill(raw.headers["x-rabbitgw-request-id"])
    assert (bill["dialect"], bill["image_input_tokens"], bill["cost_nanos"]) == (
        "openai-image-edits",
        10,
        166_700_000,
    )
    fields, files = received(upstream.requests[-1])
    assert fields == {"model": "gpt-image-1", "prompt": "a hat", "n": "1", "user": str(house.account.id)}
    assert [(file.name, file.filename, file.data) for file in files] == [
        ("image[]", "a.png", PNG),
        ("image[]", "b.png", PNG),
    ]
    for fields, field in (
        ({"n": "0x1"}, "n"),
        ({"n": "11"}, "n"),
        ({"stream": "true"}, "stream"),
        ({"style": "x"}, "style"),
    ):
        form = aiohttp.FormData({"model": "gpt-image-1", "prompt": "x", **fields})
        form.add_field("image", PNG, filename="a.png", content_type="image/png")
        async with house.http.post(house.base_url + EDITS, data=form, headers=bearer(house)) as refused:
            assert (refused.status, (await refused.json())["error"]["param"]) == (400, field)
    await charged(house, 166_700_000)


def bearer(house: House) -> dict[str, str]:
    return {"authorization": f"Bearer {house.secret}"}


async def test_a_plan_sells_images_at_its_own_price(house: House, upstream: FakeUpstream) -> None:
    pg = house.stores.pg
    plan = await plans.create_plan(pg, "artists", "daily_limit", "USD")
    rule = plan_pricing.PriceRule("dall-*", "image", "0.03", price_multiplier="1.5")
    price = await plan_pricing.add_rule(pg, plan.id, rule)
    made = await plan_assignments.assign(pg, plan.id, entity_type="account", entity_id=house.account.id)
    assert await push_keys_below(pg, house.stores.scripts, made.entity)
    upstream.script(PATH, answer(2))
    nanos = 0

    async def by_the_plan() -> bool:
        nonlocal nanos
        reply = await house.post({"model": "dall-e-3", "prompt": "x", "n": 2}, path=PATH)
        bill = await house.bill(reply.request_id)
        nanos += bill["cost_nanos"]
        return bool(bill["price_version"] == price.version and bill["cost_nanos"] == 90_000_000)

    await until(by_the_plan)
    reply = await house.post({"model": "dall-e-3", "prompt": "x", "size": "512x512", "n": 2}, path=PATH)
    assert (await house.bill(reply.request_id))["cost_nanos"] == 90_000_000  # of any size
    await charged(house, nanos + 90_000_000)
