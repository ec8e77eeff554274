"""What is wrong with the size or the fields of a request: refused before its body is looked at, and nothing is held.

How requests are framed is the subject of test_bad_framing.py.
"""

from __future__ import annotations

import gzip
import tracemalloc
from typing import Any

import pytest
from aiohttp.compression_utils import ZLibDecompressor

from rabbitgw.proxy.dialects import CHAT, DIALECTS
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import FakeUpstream
from tests.flows.house import House
from tests.flows.raw_client import CHUNKED, LAST_CHUNK, chunk, read_answer
from tests.flows.refusing import Desk, asking, refusing, request, settled_calls

MIB = 1024 * 1024


# Sizes


async def test_a_length_beyond_the_limit_is_refused_before_the_body_comes(
    house: House, upstream: FakeUpstream
) -> None:
    async with refusing(house, upstream) as desk:
        for dialect in DIALECTS:
            for length in (32 * MIB + 1, 33 * MIB, 2**63 - 1):
                head = desk.request(dialect.path, b"", f"content-length: {length}")
                async with desk.connect() as client:
                    client.writer.write(head)
                    received = await client.until(b'"request_id"')
                    desk.judge(
                        dialect.name, dialect, received, 413, "request_too_large", says="33554432 bytes"
                    )


async def test_a_stream_without_a_length_is_refused_at_the_limit_and_kept_nowhere(
    house: House, upstream: FakeUpstream
) -> None:
    """33 MiB come; what is kept of them is never more than the limit and what the sockets hold."""
    piece = chunk(b"x" * 65536)
    async with refusing(house, upstream) as desk, desk.connect() as client:
        tracemalloc.start()
        try:
            client.writer.write(desk.request(CHAT.path, b"", CHUNKED.decode().strip()))
            for _ in range(33 * MIB // 65536):
                client.writer.write(piece)
                await client.writer.drain()
            received = await client.until(b'"request_id"')
            kept_bytes, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        desk.judge("33 MiB", CHAT, received, 413, "request_too_large", says="33554432 bytes")
        assert peak_bytes < 36 * MIB
        assert kept_bytes < 4 * MIB


async def test_the_limit_is_exact_in_every_dialect_however_the_body_comes(
    house_with: Any, upstream: FakeUpstream
) -> None:
    limit = 4096
    async with house_with(body_bytes_max=limit) as house:
        async with refusing(house, upstream) as desk:
            for dialect in DIALECTS:
                over = asking(dialect).ljust(limit + 1)
                for sent in (
                    desk.request(dialect.path, over),
                    desk.request(dialect.path, chunk(over) + LAST_CHUNK, "transfer-encoding: chunked"),
                ):
                    await desk.refused("over", dialect, sent, 413, "request_too_large", says="4096 bytes")
        for dialect in DIALECTS:
            assert (await house.post(asking(dialect).ljust(limit), path=dialect.path)).status == 200
        await settled_calls(house, len(DIALECTS))
        await assert_books_balance(house)


async def test_a_compressed_body_is_refused_and_never_inflated(
    house: House, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not while it is read on and dropped, which is what would cost: anybody may send one."""
    inflated: list[int] = []
    monkeypatch.setattr(ZLibDecompressor, "decompress_sync", lambda *_: inflated.append(1))
    bomb = gzip.compress(b"x" * 64 * MIB)
    async with refusing(house, upstream) as desk:
        for dialect in DIALECTS:
            for encoding in ("gzip", "deflate", "br", "zstd", "gzip, gzip", "x-unknown"):
                lines = (f"content-encoding: {encoding}",)
                sent = desk.request(dialect.path, bomb, *lines)
                field = "content-encoding"
                await desk.refused(encoding, dialect, sent, 400, "invalid_request", field=field)
                stranger = request(dialect.path, bomb, *lines)
                await desk.refused(encoding, dialect, stranger, 401, "invalid_api_key")
    assert inflated == []


# Fields


async def test_a_field_that_is_wrong_is_named(house: House, upstream: FakeUpstream) -> None:
    key = f"authorization: Bearer {house.secret}"
    named = "invalid_request"
    async with refusing(house, upstream) as desk:
        for dialect in DIALECTS:
            for lines, field in (
                (["content-type: text/plain"], "content-type"),
                (["content-type: multipart/form-data; boundary=x"], "content-type"),
                (["content-type: application/x-www-form-urlencoded"], "content-type"),
                (["content-type: application/jsonl"], "content-type"),
                (["content-type: application/json, text/plain"], "content-type"),
                (["x-request-id: a", "X-Request-ID: a"], "x-request-id"),
                (["anthropic-version: 2023-06-01", "Anthropic-Version: 2023-06-01"], "anthropic-version"),
                (["x-litellm-tags: a"], "x-litellm-tags"),
                (["X-LiteLLM-Customer-Id: 7"], "x-litellm-customer-id"),
                (["x-litellm-made-up-tomorrow: 1"], "x-litellm-made-up-tomorrow"),
                ([key, "x-api-key: rk-another"], "authorization"),
                ([key, "Authorization: Bearer rk-another"], "authorization"),
                ([f"x-api-key: {house.secret}", "x-api-key: rk-another"], "authorization"),
            ):
                sent = desk.request(dialect.path, asking(dialect), *lines)
                await desk.refused(lines, dialect, sent, 400, named, field=field)
            for lines in (
                ["authorization:"],
                ["authorization: Bearer"],
                ["authorization: Basic eDp5"],
                ["authorization: Bearer \xe9\xff"],
                ["authorization: Bearer " + "x" * 8000],
                [f"authorization: {house.secret}"],
                ["authorization: Basic eDp5", f"x-api-key: {house.secret}"],
            ):
                sent = desk.request(dialect.path, asking(dialect), *lines)
                await desk.refused(lines, dialect, sent, 401, "invalid_api_key")


async def test_a_request_id_that_is_not_sane_is_ours_instead(house: House, upstream: FakeUpstream) -> None:
    desk = Desk(house, upstream)
    sane = ["x" * 128, "a b  c", "~!@#$%^&*()", "0"]
    for value in [*sane, "x" * 129, "", "   ", "a\tb", "a\xe9", "\xff"]:
        received = await desk.exchange(desk.request(CHAT.path, b"{}", f"x-request-id: {value}"))
        answer, _ = read_answer(received)
        expected = value if value in sane else answer.request_id
        assert answer.field(b"x-request-id").decode() == answer.field(b"request-id").decode() == expected


async def test_many_and_long_fields_that_say_nothing_to_us_are_no_fault(
    house: House, upstream: FakeUpstream
) -> None:
    desk = Desk(house, upstream)
    for lines in (
        ["x-long: " + "y" * 8000],
        [f"x-{number}: y" for number in range(90)],
        ["x-latin: \xe9\xff"],
        ["x-litell: a", "xx-litellm-tags: a", "x_litellm_tags: a"],
        ["content-encoding: identity", "content-type: application/vnd.api+json; charset=utf-8"],
        ["expect: 100-continue"],
    ):
        received = await desk.exchange(desk.request(CHAT.path, asking(CHAT), *lines))
        assert received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").startswith(b"HTTP/1.1 200 "), lines
        shown = str(upstream.requests[-1].headers)
        assert "x-l" not in shown.replace("x-litellm-call-id", "")
        assert "x-1" not in shown
    await settled_calls(house, 6)
    await assert_books_balance(house)
