"""Upstream, and prices against what it serves."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from rabbitgw.billing import accounts
from rabbitgw.billing.price_book import append_prices, withdraw
from rabbitgw.billing.price_text import price_from_text
from rabbitgw.dev.ports import free_port
from rabbitgw.findings import State
from tests.doctor.conftest import MASTER_KEY, RATES, Deployment, litellm
from tests.fakes.litellm_proxy import LiteLLMProxy
from tests.fakes.openai_upstream import FakeUpstream, Refuse


async def test_models_that_nobody_can_buy_are_named(deployment: Deployment, upstream: FakeUpstream) -> None:
    served = [{"id": f"model-{number:02}"} for number in range(25)] + [{"id": "openai/*"}]
    upstream.script("/v1/models", Refuse(200, {"data": served}))
    found = await deployment.unusual()
    missing = found["prices.missing"]
    assert missing.state is State.WARNING
    assert missing.found.startswith("models without a price in USD: 25 of 25 (model-00, model-01, ")
    assert "model-19 and 5 more); names with a wildcard: 1" in missing.found
    assert "model-20" not in missing.found
    unserved = (await deployment.look())["prices.unserved"]
    assert unserved.state is State.OK
    assert unserved.found == "prices of models that upstream does not list: 1 (fake-gpt)"
    await append_prices(deployment.pg, [price_from_text("model-*", RATES)])
    assert (await deployment.look())["prices.missing"].state is State.OK


async def test_a_price_is_needed_in_each_billed_currency(deployment: Deployment) -> None:
    await accounts.create_account(deployment.pg, "Acme Europe", "EUR")
    missing = (await deployment.unusual())["prices.missing"]
    assert missing.state is State.WARNING
    assert missing.found == "models without a price in EUR: 1 of 1 (fake-gpt)"


async def test_an_empty_price_book(deployment: Deployment) -> None:
    await withdraw(deployment.pg, "fake-gpt", "USD")
    found = await deployment.unusual()
    assert found["prices.book"].state is State.FAILED
    assert found["prices.missing"].state is State.WARNING


@pytest.mark.parametrize("status", [400, 401, 403, 500])
async def test_an_upstream_that_does_not_take_our_key(
    deployment: Deployment, upstream: FakeUpstream, status: int
) -> None:
    upstream.script("/v1/models", Refuse(status, {"error": {"message": f"no: {MASTER_KEY}"}}))
    found = await deployment.unusual()
    assert found["upstream.key"].state is State.FAILED
    assert f"answers {status}" in found["upstream.key"].found
    assert "prices.missing" not in found
    assert MASTER_KEY not in str(found)


async def test_an_upstream_that_is_another_or_away(deployment: Deployment, upstream: FakeUpstream) -> None:
    litellm(upstream, "1.99.0")
    found = await deployment.unusual()
    assert (found["upstream.version"].state, found["upstream.version"].found) == (
        State.WARNING,
        "LiteLLM 1.99.0",
    )
    upstream.reset()  # an OpenAI-compatible server that is no LiteLLM
    found = await deployment.unusual()
    assert found["upstream.reachable"].state is State.WARNING
    assert found["upstream.version"].found == "upstream tells no LiteLLM version"
    assert "upstream.key" not in found
    found = await deployment.unusual(litellm_base_url=f"http://127.0.0.1:{free_port()}")
    assert found["upstream.reachable"].state is State.FAILED
    assert not [
        name for name in found if name.startswith(("upstream.", "prices.")) and name != "upstream.reachable"
    ]


async def test_an_upstream_that_falls_back_to_other_models(
    deployment: Deployment, upstream: FakeUpstream
) -> None:
    fields = [
        {"field_name": "fallbacks", "field_value": [{"a": ["b"]}]},
        {"field_name": "num_retries", "field_value": 2},
    ]
    upstream.script("/router/settings", Refuse(200, {"fields": fields}))
    found = (await deployment.unusual())["upstream.routing"]
    assert found.state is State.WARNING
    assert "fallbacks" in found.found


async def test_an_upstream_that_answers_nonsense(deployment: Deployment, upstream: FakeUpstream) -> None:
    for path in ("/v1/models", "/router/settings", "/health/readiness"):
        upstream.script(path, Refuse(200, b"<html>"))
    found = await deployment.unusual()
    assert found["upstream.key"].state is State.FAILED
    assert found["upstream.version"].state is State.WARNING


async def test_a_real_litellm_with_the_right_and_the_wrong_key(
    deployment: Deployment, litellm_proxy: LiteLLMProxy, upstream: FakeUpstream
) -> None:
    settings = {"litellm_base_url": litellm_proxy.base_url}
    right = await deployment.unusual(**settings, litellm_master_key=SecretStr(litellm_proxy.master_key))
    assert not {name for name in right if name.startswith("upstream.")}
    assert right["prices.missing"].found.startswith("models without a price in USD: 1 of 2 (claude-fake)")
    wrong = await deployment.unusual(**settings)
    assert wrong["upstream.key"].state is State.FAILED
    assert "upstream.version" not in wrong, "LiteLLM tells its version without a key too"
