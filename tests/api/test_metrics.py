"""Who may read /metrics, and in which form."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from rabbitgw.api.metrics import metrics_port
from rabbitgw.config import Settings
from rabbitgw.dev.ports import free_port
from rabbitgw.errors import SettingInvalid
from rabbitgw.scrape import Scrape
from tests.api.conftest import ADMIN_KEY

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient

OPERATOR = {"authorization": f"Bearer {ADMIN_KEY}"}
PATHS = ("/metrics", "/metrics/prometheus")


@pytest.mark.parametrize("path", PATHS)
async def test_on_the_gateways_port_it_takes_the_admin_key(client: TestClient[Any, Any], path: str) -> None:
    async with client.get(path) as answer:
        assert answer.status == 401
        assert (await answer.json())["error"]["code"] == "invalid_api_key"
    # a proxy on the same machine makes everybody a peer on loopback, and need not say for whom it asks
    async with client.get(path, headers={"authorization": "Bearer rk-of-a-caller"}) as answer:
        assert answer.status == 401
    async with client.get(path, headers=OPERATOR) as answer:
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert answer.headers["x-rabbitgw-request-id"]
        families = {family.name for family in text_string_to_metric_families(await answer.text())}
        assert {"rabbitgw_requests", "rabbitgw_settle_seconds", "process_cpu_seconds"} <= families


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", 200),
        ("text/html,*/*;q=0.1", 200),
        ("application/json", 406),
        ("text/html", 406),
    ],
)
async def test_a_client_that_takes_neither_form_is_told_so(
    client: TestClient[Any, Any], accept: str, status: int
) -> None:
    async with client.get("/metrics", headers={**OPERATOR, "accept": accept}) as answer:
        assert answer.status == status
        if status == 406:
            message = "metrics are text/plain or application/openmetrics-text"
            assert (await answer.json())["error"]["message"] == message
    async with client.get("/metrics/prometheus", headers={**OPERATOR, "accept": accept}) as answer:
        assert answer.status == 200


async def test_on_a_port_of_its_own_it_takes_none(tmp_path: Path) -> None:
    port = free_port()
    settings = Settings.load(metrics_port=port, data_dir=tmp_path)
    async with metrics_port(settings, Scrape()), aiohttp.ClientSession() as http:
        for path in PATHS:
            async with http.get(f"http://127.0.0.1:{port}{path}") as answer:
                assert answer.status == 200
                assert b"rabbitgw_requests_total" in await answer.read()
        async with http.get(f"http://127.0.0.1:{port}/v1/models") as answer:
            assert answer.status == 404  # nothing else is there
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


async def test_a_metrics_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = Settings.load(metrics_port=other.getsockname()[1], data_dir=tmp_path)
        with pytest.raises(SettingInvalid, match="RABBITGW_METRICS_PORT"):
            async with metrics_port(settings, Scrape()):
                pass
