"""Alive, and ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient

    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool


async def status_and_message(client: TestClient[Any, Any], path: str) -> tuple[int, str]:
    async with client.get(path) as answer:
        body = await answer.json()
        return answer.status, body.get("status") or body["error"]["message"]


async def test_ready_while_both_stores_answer(client: TestClient[Any, Any]) -> None:
    assert await status_and_message(client, "/healthz") == (200, "ok")
    assert await status_and_message(client, "/readyz") == (200, "ok")


async def test_not_ready_without_postgres_and_alive_all_the_same(
    client: TestClient[Any, Any], pg: Pool
) -> None:
    await pg.close()
    assert await status_and_message(client, "/readyz") == (503, "PostgreSQL does not answer")
    assert await status_and_message(client, "/healthz") == (200, "ok")


async def test_not_ready_without_redis(client: TestClient[Any, Any], link: RedisLink) -> None:
    await link.close()
    assert await status_and_message(client, "/readyz") == (503, "Redis does not answer")
