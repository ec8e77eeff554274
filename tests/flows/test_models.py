"""/v1/models: what upstream serves, a price allows and the key may call."""

from __future__ import annotations

from tests.fakes.openai_upstream import FakeUpstream
from tests.flows.house import House


async def test_models_are_those_served_priced_and_allowed(house: House, upstream: FakeUpstream) -> None:
    upstream.script("gpt-4o")
    everything = (await house.get("/v1/models")).json()
    assert everything["object"] == "list"
    names = {model["id"] for model in everything["data"]}
    assert names <= {"gpt-4o", "fake-gpt", "words", "free"}
    assert names
    secret = await house.new_key(models=["claude-*"])
    assert (await house.get("/v1/models", authorization=f"Bearer {secret}")).json()["data"] == []


async def test_models_need_a_key(house: House) -> None:
    reply = await house.get("/v1/models", authorization="Bearer nonsense")
    assert (reply.status, reply.json()["error"]["code"]) == (401, "invalid_api_key")
