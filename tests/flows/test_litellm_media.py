"""Images and sound through a real LiteLLM proxy, by the official SDK: literal costs, balanced books."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from pydantic import SecretStr

from tests.fakes.litellm_proxy import LiteLLMProxy
from tests.fakes.openai_upstream import FakeUpstream, Raw
from tests.flows.house import House
from tests.flows.media import CREDIT_NANOS, charged, received, sdk_of

pytestmark = pytest.mark.timeout(400)  # the first test waits for LiteLLM to start


async def test_media_through_litellm(
    house_with: Callable[..., AbstractAsyncContextManager[House]],
    litellm_proxy: LiteLLMProxy,
    upstream: FakeUpstream,
) -> None:
    drawn = json.dumps({"created": 1, "data": [{"url": "http://x/a"}, {"url": "http://x/b"}]}).encode()
    sound = bytes(range(256)) * 40
    heard = json.dumps(
        {"text": "Hello", "usage": {"type": "duration", "seconds": 9}, "duration": 9.0}
    ).encode()
    upstream.script("/v1/images/generations", Raw([drawn], content_type="application/json"))
    upstream.script("/v1/images/edits", Raw([drawn], content_type="application/json"))
    upstream.script("/v1/audio/speech", Raw([sound[:5_000], sound[5_000:]], content_type="audio/mpeg"))
    upstream.script("/v1/audio/transcriptions", Raw([heard], content_type="application/json"))
    async with (
        house_with(
            upstream_url=litellm_proxy.base_url,
            credit_nanos=CREDIT_NANOS,
            litellm_master_key=SecretStr(litellm_proxy.master_key),
        ) as house,
        sdk_of(house) as sdk,
    ):
        images = await sdk.images.with_raw_response.generate(model="fake-image", prompt="a cat", n=2)
        assert len(images.parse().data or []) == 2
        edits = await sdk.images.with_raw_response.edit(
            model="fake-image", prompt="a hat", n=2, image=("a.png", b"PNG")
        )
        assert len(edits.parse().data or []) == 2
        speech = await sdk.audio.speech.with_raw_response.create(
            model="fake-speech", input="Hello", voice="alloy"
        )
        assert speech.content == sound
        words = await sdk.audio.transcriptions.with_raw_response.create(
            model="fake-ears", file=("a.mp3", b"ID3" * 99)
        )
        assert words.parse().text == "Hello"
        bills = [
            await house.bill(answer.headers["x-rabbitgw-request-id"])
            for answer in (images, edits, speech, words)
        ]
        # 2 images at 20 000 000, twice; 5 characters at 15 000; 9 s at 100 000
        assert [bill["cost_nanos"] for bill in bills] == [40_000_000, 40_000_000, 75_000, 900_000]
        assert [bill["status"] for bill in bills] == ["settled"] * 4
        fields, (file,) = received(upstream.requests[-1])
        assert (fields["model"], file.data) == ("fake-ears", b"ID3" * 99)
        await charged(house, 80_975_000)
