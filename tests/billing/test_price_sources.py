"""Where maps come from: files, a LiteLLM proxy, the litellm package; and what an import leaves behind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from rabbitgw.billing import price_sources
from rabbitgw.billing.price_book import load_book, set_price
from rabbitgw.billing.price_sources import import_prices, proxy_names, read_price_map
from rabbitgw.billing.prices import cost_nanos
from rabbitgw.billing.usage import Usage
from rabbitgw.errors import RequestInvalid, UpstreamError
from tests.billing.price_cases import price_of

GPT = {
    "mode": "chat",
    "litellm_provider": "openai",
    "input_cost_per_token": 2.5e-06,
    "output_cost_per_token": 1e-05,
}
MAP = {"sample_spec": {}, "gpt-4o": GPT, "no-price": {"mode": "chat"}}


@dataclass
class Proxy:
    """What a LiteLLM proxy answers at its two price routes."""

    base_url: str = ""
    status: int = 200
    catalogue: Any = field(default_factory=lambda: dict(MAP))
    deployments: Any = field(default_factory=lambda: {"data": []})
    seen: list[tuple[str, str | None]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append((request.path_qs, request.headers.get("Authorization")))
        body = self.catalogue if request.path.startswith("/public") else self.deployments
        return web.Response(status=self.status, text=json.dumps(body), content_type="application/json")


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    app = web.Application()
    app.router.add_get("/{path:.*}", proxy.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    proxy.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield proxy
    await runner.cleanup()


@pytest.fixture
def map_file(tmp_path: Path) -> Path:
    path = tmp_path / "map.json"
    path.write_text(json.dumps(MAP))
    return path


async def test_a_file_is_imported_once_and_then_unchanged(pg: asyncpg.Pool, map_file: Path) -> None:
    report = await import_prices(pg, str(map_file))
    assert [price.pattern for price in report.appended.added] == ["gpt-4o"]
    assert report.refused == {"no-price": "no price"}
    price = (await load_book(pg)).match("gpt-4o")
    assert price is not None
    assert price.origin == "import"
    assert cost_nanos(price, Usage(input_tokens=1_000, output_tokens=100)) == 3_500_000
    again = await import_prices(pg, str(map_file))
    assert (len(again.appended.added), len(again.appended.unchanged)) == (0, 1)


async def test_an_import_names_the_prices_set_by_hand_that_it_replaces(
    pg: asyncpg.Pool, map_file: Path
) -> None:
    await set_price(pg, price_of("gpt-4o", input=1, output=1))
    report = await import_prices(pg, str(map_file))
    assert report.replaced == ("gpt-4o",)


@pytest.mark.parametrize("content", [None, "[]", "{", "\x00"])
async def test_a_file_that_is_no_map_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "map.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RequestInvalid) as refused:
        await read_price_map(str(path))
    assert refused.value.field == "source"


async def test_a_file_beyond_the_limit_is_refused(map_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(price_sources, "MAP_BYTES_MAX", 10)
    with pytest.raises(RequestInvalid, match="larger"):
        await read_price_map(str(map_file))


async def test_the_proxy_is_asked_for_its_catalogue_and_its_names(proxy: Proxy) -> None:
    proxy.deployments = {
        "data": [{"model_name": "smart", "litellm_params": {"model": "gpt-4o"}, "model_info": {}}]
    }
    origin, price_map = await read_price_map("litellm", base_url=proxy.base_url, api_key="sk-1")
    assert origin == proxy.base_url
    assert price_map["smart"]["input_cost_per_token"] == Decimal("0.0000025")
    assert proxy.seen == [
        ("/public/litellm_model_cost_map?catalog_only=true", "Bearer sk-1"),
        ("/model/info", "Bearer sk-1"),
    ]


@pytest.mark.parametrize("status", [401, 404, 500, 302])
async def test_a_proxy_that_refuses_is_an_upstream_error(proxy: Proxy, status: int) -> None:
    proxy.status = status
    with pytest.raises(UpstreamError, match=str(status)):
        await read_price_map("litellm", base_url=proxy.base_url)


async def test_a_proxy_that_is_not_there_is_an_upstream_error(proxy: Proxy, unused_tcp_port: int) -> None:
    with pytest.raises(UpstreamError):
        await read_price_map("litellm", base_url=f"http://127.0.0.1:{unused_tcp_port}")
    proxy.deployments = {"detail": "no"}
    with pytest.raises(UpstreamError, match="data"):
        await read_price_map("litellm", base_url=proxy.base_url)


async def test_an_answer_beyond_the_limit_is_an_upstream_error(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(price_sources, "MAP_BYTES_MAX", 10)
    with pytest.raises(UpstreamError, match="larger"):
        await read_price_map("litellm", base_url=proxy.base_url)


async def test_without_a_proxy_the_installed_package_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "litellm"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    (package / "model_prices_and_context_window_backup.json").write_text(json.dumps(MAP))
    monkeypatch.syspath_prepend(str(tmp_path))
    origin, price_map = await read_price_map("litellm")
    assert origin.startswith(str(package))
    assert "gpt-4o" in price_map


async def test_with_neither_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(price_sources, "_package_map", lambda: None)
    with pytest.raises(RequestInvalid, match="LITELLM_BASE_URL"):
        await read_price_map("litellm")


def deployment(name: str, model: str, **info: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": model}, "model_info": {"id": "0f3a", **info}}


CATALOGUE = {
    "gpt-4o": {"mode": "chat", "input_cost_per_token": Decimal("0.0000025"), "max_output_tokens": 16_384},
    "azure/gpt-4o": {
        "mode": "chat",
        "input_cost_per_token": Decimal("0.000003"),
        "cache_read_input_token_cost": 1,
    },
}


def test_a_name_of_the_proxy_takes_the_price_of_the_model_behind_it() -> None:
    names = proxy_names(
        CATALOGUE, [deployment("smart", "openai/gpt-4o", key="gpt-4o", input_cost_per_token=0)]
    )
    assert names == {"smart": CATALOGUE["gpt-4o"]}


def test_a_price_set_in_the_proxy_stands_above_the_catalogue() -> None:
    own = deployment("smart", "gpt-4o", input_cost_per_token=Decimal("0.00009"), output_cost_per_token=None)
    assert proxy_names(CATALOGUE, [own])["smart"]["input_cost_per_token"] == Decimal("0.00009")


def test_tiers_of_a_price_that_the_proxy_replaced_are_dropped() -> None:
    catalogue = {
        "m": {"input_cost_per_token": 1, "input_cost_per_token_priority": 2, "output_cost_per_token": 3}
    }
    info = {**catalogue["m"], "input_cost_per_token": 9, "pricing_overrides": ["input_cost_per_token"]}
    assert proxy_names(catalogue, [deployment("mine", "m", **info)]) == {
        "mine": {"input_cost_per_token": 9, "output_cost_per_token": 3}
    }


def test_deployments_that_differ_are_sold_at_the_dearest_and_without_a_discount_that_one_lacks() -> None:
    both = [deployment("smart", "gpt-4o"), deployment("smart", "azure/gpt-4o")]
    for order in (both, both[::-1]):
        entry = proxy_names(CATALOGUE, order)["smart"]
        assert entry["input_cost_per_token"] == Decimal("0.000003")
        assert "cache_read_input_token_cost" not in entry


def test_wildcards_and_nonsense_are_no_models() -> None:
    assert proxy_names(CATALOGUE, [deployment("openai/*", "openai/*"), "x", {"model_name": 5}]) == {}


def test_an_unknown_model_behind_a_name_has_no_price() -> None:
    assert proxy_names(CATALOGUE, [deployment("fake-gpt", "openai/fake-gpt")]) == {"fake-gpt": {}}
