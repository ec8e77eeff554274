"""A running house for a flow test; `house_with` opens one with settings of the test's own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from rabbitgw.app import Gateway
from tests.fakes.openai_upstream import FakeUpstream
from tests.flows.house import House, house_settings, open_house


@pytest.fixture
def house_with(
    dsn: str, redis_url: str, upstream: FakeUpstream, tmp_path: Path
) -> Callable[..., AbstractAsyncContextManager[House]]:
    @contextlib.asynccontextmanager
    async def opened(
        *, credit_nanos: int = 10_000_000_000, upstream_url: str = "", **changes: Any
    ) -> AsyncIterator[House]:
        settings = house_settings(dsn, redis_url, upstream_url or upstream.base_url, tmp_path, **changes)
        async with open_house(settings, credit_nanos=credit_nanos) as house:
            yield house

    return opened


@pytest.fixture
async def house(house_with: Callable[..., AbstractAsyncContextManager[House]]) -> AsyncIterator[House]:
    async with house_with() as opened:
        yield opened


@pytest.fixture
async def second(house: House) -> AsyncIterator[Gateway]:
    """Another gateway on the same stores."""
    gateway = Gateway(house.settings, house.stores)
    await gateway.start()
    yield gateway
    await gateway.stop()
