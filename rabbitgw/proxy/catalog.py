"""The names of the models that upstream serves, read at most once a minute.

Needed to tell a model that exists but has no price (403) from one that does not exist (404), and for /v1/models.
Upstream being away is no reason to answer differently: the last known names serve on.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson

from rabbitgw import clock, metrics, telemetry
from rabbitgw.errors import UpstreamError
from rabbitgw.proxy.dialects import Dialect
from rabbitgw.proxy.relay import Headers
from rabbitgw.proxy.upstream import Upstream

FRESH_S: Final = 60.0
RETRY_S: Final = 5.0  # after a failure: not at every request for an unknown model
ANSWER_WAIT_S: Final = 10.0
BODY_BYTES_MAX: Final = 8 * 1024 * 1024


class Collected:
    """A ResponseSink that gathers one small answer."""

    __slots__ = ("body", "done", "status")

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_head(self, status: int, headers: Headers) -> None:
        self.status = status

    def on_body(self, piece: bytes) -> None:
        self.body += piece[: BODY_BYTES_MAX - len(self.body)]

    def on_end(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def on_fail(self, error: UpstreamError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Catalog:
    def __init__(self, upstream: Upstream, master_key: str) -> None:
        self._upstream = upstream
        self._master_key = master_key
        self._names: frozenset[str] = frozenset()
        self._read_again_s = 0.0
        self._lock = asyncio.Lock()

    async def names(self) -> frozenset[str]:
        """The models that upstream lists; the last known ones while it cannot be asked."""
        if clock.monotonic_s() < self._read_again_s:
            return self._names
        async with self._lock:  # one reader; the others get what it read
            if clock.monotonic_s() >= self._read_again_s:
                try:
                    self._names = await asyncio.wait_for(self._read(), ANSWER_WAIT_S)
                    self._read_again_s = clock.monotonic_s() + FRESH_S
                except (UpstreamError, TimeoutError, ValueError) as error:
                    metrics.CATALOG_ERRORS.add()
                    telemetry.warn("catalog_unread", reason=str(error) or type(error).__name__)
                    self._read_again_s = clock.monotonic_s() + RETRY_S
        return self._names

    async def _read(self) -> frozenset[str]:
        headers = [(b"accept", b"application/json")]
        if self._master_key:
            headers.append((b"authorization", b"Bearer " + self._master_key.encode()))
        answer = Collected()
        exchange = await self._upstream.request(b"GET", b"/v1/models", headers, b"", answer)
        try:
            await answer.done
        finally:
            if not answer.done.done() or answer.done.cancelled():
                exchange.abort()
        if answer.status != 200:
            raise ValueError(f"/v1/models answered {answer.status}")
        return listed_names(bytes(answer.body))


def listed_names(body: bytes) -> frozenset[str]:
    """The models of an answer of /v1/models. Raises: ValueError."""
    listed: Any = orjson.loads(body)
    entries = listed.get("data") if isinstance(listed, dict) else None
    if not isinstance(entries, list):
        raise ValueError("/v1/models answered without a list")
    return frozenset(str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry)


def model_list(dialect: Dialect, names: list[str]) -> dict[str, Any]:
    """The list of models as an official client of the dialect reads it."""
    data = [model_entry(dialect, name) for name in names]
    if not dialect.anthropic:
        return {"object": "list", "data": data}
    ends = {"first_id": names[0], "last_id": names[-1]} if names else {"first_id": None, "last_id": None}
    return {"data": data, "has_more": False, **ends}


def model_entry(dialect: Dialect, name: str) -> dict[str, Any]:
    """One model. When it was made is not known here; both clients require a moment."""
    if dialect.anthropic:
        return {
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": "1970-01-01T00:00:00Z",
            "lifecycle": "active",
        }
    return {"id": name, "object": "model", "created": 0, "owned_by": "rabbitgw"}
