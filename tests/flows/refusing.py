"""What the flows of bad input share: the least good call of each dialect, and what one clear refusal is.

Every request is written byte by byte to a socket of its own, so that no client of ours mends it on the way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from rabbitgw.proxy.dialects import (
    CHAT,
    COMPLETIONS,
    COUNT_TOKENS,
    EMBEDDINGS,
    MESSAGES,
    RESPONSES,
    Dialect,
)
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import FakeUpstream
from tests.flows.house import House
from tests.flows.raw_client import Answer, RawClient, read_answer

ASKED: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
ASKS: dict[Dialect, dict[str, Any]] = {
    CHAT: {"messages": ASKED, "max_tokens": 10},
    COMPLETIONS: {"prompt": "hi", "max_tokens": 10},
    RESPONSES: {"input": "hi", "max_output_tokens": 16},
    MESSAGES: {"messages": ASKED, "max_tokens": 10},
    COUNT_TOKENS: {"messages": ASKED},
    EMBEDDINGS: {"input": "hi"},
}
# code -> the error's type in OpenAI's dialect and in Anthropic's
TYPES = {
    "invalid_request": ("invalid_request_error", "invalid_request_error"),
    "request_too_large": ("invalid_request_error", "request_too_large"),
    "method_not_allowed": ("invalid_request_error", "invalid_request_error"),
    "invalid_api_key": ("invalid_request_error", "authentication_error"),
    "model_not_allowed": ("invalid_request_error", "permission_error"),
    "model_not_priced": ("invalid_request_error", "permission_error"),
    "model_not_found": ("invalid_request_error", "not_found_error"),
    "endpoint_not_priced": ("invalid_request_error", "not_found_error"),
}
ANSWER_BYTES_MAX = 1_000  # a refusal does not repeat what was wrong at length
CREDIT_NANOS = 10_000_000_000


def asking(dialect: Dialect, **more: Any) -> bytes:
    """A good body of this dialect, with `more` in it."""
    return orjson.dumps({"model": "gpt-4o", **ASKS[dialect], **more})


def with_tail(dialect: Dialect, tail: bytes) -> bytes:
    """A good body with members behind its last one that no serialiser would write."""
    return asking(dialect)[:-1] + b"," + tail + b"}"


def request(
    path: str, body: bytes = b"", *lines: str, secret: str = "", method: str = "POST", version: str = "1.1"
) -> bytes:
    """A request that asks to be the last on its connection. A line replaces the field that it names."""
    fields = {
        "host": "x",
        "authorization": f"Bearer {secret}" if secret else "",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
    }
    given = {line.partition(":")[0].strip().lower() for line in lines}
    if "transfer-encoding" in given:
        del fields["content-length"]
    head = [f"{method} {path} HTTP/{version}"]
    head += [f"{name}: {value}" for name, value in fields.items() if value and name not in given]
    return "\r\n".join([*head, *lines, "", ""]).encode("latin-1") + body


@dataclass
class Desk:
    """Takes requests that are to be refused, and notes what was answered in another way."""

    house: House
    upstream: FakeUpstream
    faults: list[str] = field(default_factory=list)

    def request(self, path: str, body: bytes = b"", *lines: str, **more: str) -> bytes:
        """`request` with the house's key."""
        return request(path, body, *lines, **{"secret": self.house.secret, **more})

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[RawClient]:
        client = await RawClient.connect(self.house.gateway.port, self.house.secret)
        try:
            yield client
        finally:
            client.leave()
            with contextlib.suppress(ConnectionError):
                await client.writer.wait_closed()

    async def exchange(self, sent: bytes, *, eof: bool = False) -> bytes:
        """All that comes back until the gateway closes. `eof`: the client says that it sends no more."""
        async with self.connect() as client:
            client.writer.write(sent)
            if eof:
                client.writer.write_eof()
            return await client.rest()

    async def refused(
        self,
        name: object,
        dialect: Dialect,
        sent: bytes,
        status: int,
        code: str,
        *,
        field: str | None = None,
        says: str = "",
    ) -> None:
        """Send this; it must be answered by this error alone, whole, in the dialect, with the ids."""
        before = self.forwarded
        received = await self.exchange(sent)
        self.judge(f"{dialect.name}: {name}", dialect, received, status, code, field=field, says=says)
        if self.forwarded != before:
            self.faults.append(f"{dialect.name}: {name}: was forwarded")

    def judge(
        self,
        name: str,
        dialect: Dialect,
        received: bytes,
        status: int,
        code: str,
        *,
        field: str | None = None,
        says: str = "",
    ) -> None:
        try:
            answer, rest = read_answer(received)
            assert rest == b"", "more than one answer"
            assert answer.status == status, f"{answer.status} {answer.body[:300]!r}"
            assert_refusal(dialect, answer, code, field, says)
        except AssertionError as wrong:
            self.faults.append(f"{name}: {str(wrong)[:500]}")

    @property
    def forwarded(self) -> int:
        return sum(one.method == "POST" for one in self.upstream.requests)


def assert_refusal(
    dialect: Dialect, answer: Answer, code: str, field: str | None = None, says: str = ""
) -> None:
    assert answer.whole, "cut"
    assert answer.field(b"content-type") == b"application/json", answer.head
    ours = answer.request_id
    assert len(ours) == 36, "no id of ours"
    assert answer.field(b"x-request-id") == answer.field(b"request-id") != b"", "no ids"
    assert len(answer.body) <= ANSWER_BYTES_MAX, f"{len(answer.body)} bytes"
    document = orjson.loads(answer.body)
    openai_type, anthropic_type = TYPES[code]
    message = document["error"].pop("message")
    assert says in message, message
    if dialect.anthropic:
        assert document == {"type": "error", "error": {"type": anthropic_type}, "request_id": ours}, document
        assert (field or "") in message, f"{field} is not named: {message}"
    else:
        named = {"type": openai_type, "param": field, "code": code}
        assert document == {"error": named, "request_id": ours}, document


@contextlib.asynccontextmanager
async def refusing(house: House, upstream: FakeUpstream) -> AsyncIterator[Desk]:
    """All that is asked at this desk must be refused and leave nothing: no hold, no line on any bill, no charge."""
    desk = Desk(house, upstream)
    before = desk.forwarded
    yield desk
    assert not desk.faults, "\n".join(["", *desk.faults])
    assert desk.forwarded == before
    await assert_books_balance(house)
    assert await house.stores.pg.fetchval("SELECT count(*) FROM usage") == 0
    wallet = await house.wallet()
    assert (wallet["balance_nanos"], wallet["held_nanos"]) == (CREDIT_NANOS, 0)


async def settled_calls(house: House, count: int) -> None:
    """Wait until so many calls are on the bill."""
    async with asyncio.timeout(30):
        while await house.stores.pg.fetchval("SELECT count(*) FROM usage") < count:
            await asyncio.sleep(0.02)
