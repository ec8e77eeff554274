"""/demo/payment_element as it is served: when it is there, and what a browser is allowed to do with it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from rabbitgw.api.demo_page import API_CHARS_MAX, PATH
from rabbitgw.api.routes import SideDeps
from tests.api.described import Described
from tests.flows.house import house_settings, open_house

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient

FILES = {"": "text/html", ".css": "text/css", ".js": "text/javascript"}
DEV_KEY = "dev-secret-of-the-tests"
ORIGINS = {
    "http://localhost:8080": "http://localhost:8080",
    "https://Gateway.example/base/": "https://Gateway.example",
    "http://[::1]:8080/": "http://[::1]:8080",
    "http://127.0.0.1": "http://127.0.0.1",
}
NO_BASE_URLS = (
    "http://a.example; script-src *",
    "http://a.example https://b.example",
    "http://*",
    "http://user@a.example",
    "javascript:alert(1)",
    "//a.example",
    "http://",
    "http://a.example?x=1",
    "http://a.example:123456",
    "http://a.example/" + "x" * API_CHARS_MAX,
    "http://a.example\n",
)


@pytest.fixture
def dev_key() -> str:
    return DEV_KEY


@pytest.fixture
def deps(deps: SideDeps, dev_key: str) -> SideDeps:
    return replace(deps, settings=deps.settings.model_copy(update={"dev_api_key": SecretStr(dev_key)}))


async def policy_of(client: TestClient[Any, Any], **query: str) -> dict[str, list[str]]:
    async with client.get(PATH, params=query) as answer:
        assert answer.status == 200
        parts = [part.split() for part in answer.headers["content-security-policy"].split(";")]
        return {name: sources for name, *sources in parts}


async def test_the_three_files_are_served_and_kept_nowhere(
    client: TestClient[Any, Any], described: Described
) -> None:
    for suffix, media in FILES.items():
        query = {"key": DEV_KEY, "order_id": "o", "redirect_status": "succeeded", "v": "7"}
        async with client.get(PATH + suffix, params=query) as answer:
            assert answer.status == 200
            assert answer.headers["content-type"] == f"{media}; charset=utf-8"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert DEV_KEY not in await answer.text()
    names = ("payment_element", "payment_element_style", "payment_element_script")
    assert described.seen >= {(name, "200") for name in names}


async def test_the_page_has_no_script_and_no_style_of_its_own(client: TestClient[Any, Any]) -> None:
    async with client.get(PATH) as answer:
        html = await answer.text()
    assert re.findall(r"<script[^>]*>(?!</script>)", html) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", html) == []
    assert re.findall(r'(?:src|href)="([^"]+)"', html) == [
        "data:,",
        "payment_element.css",
        "payment_element.js",
    ]


async def test_only_stripe_and_the_gateway_are_let_in(client: TestClient[Any, Any]) -> None:
    stripe = ["https://js.stripe.com", "https://*.js.stripe.com"]
    assert await policy_of(client) == {
        "default-src": ["'none'"],
        "script-src": ["'self'", *stripe],
        "style-src": ["'self'"],
        "img-src": ["data:"],
        "connect-src": ["'self'", "https://api.stripe.com"],
        "frame-src": [*stripe, "https://hooks.stripe.com"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }


async def test_the_origin_that_is_asked_for_is_let_in_and_nothing_else(client: TestClient[Any, Any]) -> None:
    for api, origin in ORIGINS.items():
        asked = (await policy_of(client, api=api))["connect-src"]
        assert asked == ["'self'", "https://api.stripe.com", origin], api
    for api in NO_BASE_URLS:
        async with client.get(PATH, params={"api": api}) as answer:
            assert answer.status == 400, api
            assert (await answer.json())["error"]["field"] == "api"
    async with client.get(PATH, params=[("api", "http://a.example"), ("api", "http://b.example")]) as answer:
        assert answer.status == 400


async def test_what_is_asked_of_the_page_stands_in_no_log(
    dsn: str,
    redis_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    settings = house_settings(dsn, redis_url, "http://127.0.0.1:9", tmp_path, dev_api_key=SecretStr(DEV_KEY))
    async with open_house(settings) as house:
        for query, status in (
            (f"?key={DEV_KEY}&payment_intent_client_secret=pi_1_secret_{DEV_KEY}", 200),
            (f"?api=http://{DEV_KEY}@a.example", 400),
            (f".css?key={DEV_KEY}", 200),
            (f".nothing?key={DEV_KEY}", 404),
        ):
            assert (await house.get(PATH + query)).status == status
    told = caplog.text + "".join(capsys.readouterr()) + str([record.__dict__ for record in caplog.records])
    assert "side_route_refused" in told
    assert DEV_KEY not in told


@pytest.mark.parametrize("dev_key", [""])
async def test_without_a_dev_key_there_is_no_page(client: TestClient[Any, Any]) -> None:
    for suffix in FILES:
        async with client.get(PATH + suffix, params={"key": "guessed", "api": "nonsense"}) as answer:
            assert answer.status == 404
            error = (await answer.json())["error"]
            assert (error["code"], error["message"]) == (
                "not_found",
                "the demo page is off: DEV_API_KEY is not set",
            )
