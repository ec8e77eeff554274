"""What is wrong with a request's head, framing or size: refused before its body is looked at, and nothing is held.

What is no request at all stands in a table here, and what it is told in docs/API.md.
"""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp.compression_utils import ZLibDecompressor

from rabbitgw.proxy.dialects import CHAT, DIALECTS, MESSAGES, Dialect
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import FakeUpstream
from tests.flows.house import House, until
from tests.flows.raw_client import CHUNKED, LAST_CHUNK, chunk, read_answer
from tests.flows.refusing import Desk, asking, assert_refusal, refusing, request, settled_calls

MIB = 1024 * 1024
API = (Path(__file__).parents[2] / "docs" / "API.md").read_text("utf-8")


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


# Framing

HEAD = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
# What is no request: it, the status, and how the message begins. Each is in docs/API.md.
NO_REQUESTS: dict[str, tuple[str, int, str]] = {
    "no Host": ("POST /v1/chat/completions HTTP/1.1\r\n\r\n", 400, "host: must be given, once"),
    "two Hosts": (HEAD + "host: y\r\n\r\n", 400, "host: must be given, once"),
    "both lengths": (
        HEAD + "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        400,
        "not proper HTTP/1.1: Transfer-Encoding can't be present with Content-Length",
    ),
    "two lengths": (
        HEAD + "content-length: 5\r\ncontent-length: 5\r\n\r\n",
        400,
        "not proper HTTP/1.1: Duplicate Content-Length",
    ),
    "a length that is no number": (
        HEAD + "content-length: -5\r\n\r\n",
        400,
        "not proper HTTP/1.1: Invalid character in Content-Length",
    ),
    "a length beyond 64 bits": (
        HEAD + f"content-length: {'9' * 30}\r\n\r\n",
        400,
        "not proper HTTP/1.1: Content-Length overflow",
    ),
    "an empty length": (
        HEAD + "content-length:\r\n\r\n",
        400,
        "not proper HTTP/1.1: Empty Content-Length",
    ),
    "another coding": (
        HEAD + "transfer-encoding: gzip\r\n\r\n",
        400,
        "not proper HTTP/1.1: Request has invalid `Transfer-Encoding`",
    ),
    "a coding before the chunks": (
        HEAD + "transfer-encoding: gzip, chunked\r\n\r\n",
        400,
        "transfer-encoding: only chunked is read here",
    ),
    "chunks in HTTP/1.0": (
        HEAD.replace("HTTP/1.1", "HTTP/1.0") + "transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "transfer-encoding: HTTP/1.0 has none",
    ),
    "an unknown method": (
        "FROB / HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
        "not proper HTTP/1.1: Invalid method encountered",
    ),
    "no method": ("\x00\xff garbage", 400, "not proper HTTP/1.1: no method"),
    "CONNECT": (
        "CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n",
        400,
        "this is no proxy for CONNECT",
    ),
    "another version": (
        "GET / HTTP/1.2\r\nhost: x\r\n\r\n",
        400,
        "only HTTP/1.1 and HTTP/1.0 are spoken here",
    ),
    "no version": ("GET /\r\n\r\n", 400, "only HTTP/1.1 and HTTP/1.0 are spoken here"),
    "HTTP/2": (
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        400,
        "only HTTP/1.1 and HTTP/1.0 are spoken here",
    ),
    "TLS": (
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        400,
        "this port speaks plain HTTP, not TLS",
    ),
    "a blank in the path": (
        "GET /v1/a b HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
        "not proper HTTP/1.1: a request line has two blanks",
    ),
    "a path that is no ASCII": (
        "GET /v1/\xe9 HTTP/1.1\r\nhost: x\r\n\r\n",
        400,
        "not proper HTTP/1.1: Invalid char in url path",
    ),
    "a long path": (
        f"GET /v1/{'a' * 33000} HTTP/1.1\r\nhost: x\r\n\r\n",
        431,
        "the head is longer than 32768 bytes",
    ),
    "a long field": (HEAD + f"x: {'y' * 33000}", 431, "the head is longer than 32768 bytes"),
    "200 fields": (
        HEAD + "".join(f"x-{number}: y\r\n" for number in range(200)) + "\r\n",
        431,
        "the head has more than 100 fields",
    ),
    "a name that is no token": (
        HEAD + "x-\xe9: y\r\n\r\n",
        400,
        "not proper HTTP/1.1: Invalid header token",
    ),
    "a blank before the colon": (
        HEAD + "x-a : y\r\n\r\n",
        400,
        "not proper HTTP/1.1: Invalid header token",
    ),
    "a control character": (
        HEAD + "x-a: \x01\r\n\r\n",
        400,
        "not proper HTTP/1.1: Invalid header value char",
    ),
    "a NUL": (HEAD + "x-a: \x00\r\n\r\n", 400, "not proper HTTP/1.1: Invalid header value char"),
    "a folded line": (
        HEAD + "x-a: y\r\n z\r\n\r\n",
        400,
        "not proper HTTP/1.1: Unexpected whitespace after header value",
    ),
    "a bare LF": (HEAD + "x-a: y\nx-b: z", 400, "not proper HTTP/1.1: a line ends without CR"),
    "a bare CR": (
        HEAD + "x-a: y\rx-b: z\r\n\r\n",
        400,
        "not proper HTTP/1.1: Missing expected LF after header value",
    ),
}


async def test_what_is_no_request_is_refused_and_ends_the_connection(
    house: House, upstream: FakeUpstream
) -> None:
    async with refusing(house, upstream) as desk:
        for name, (sent, status, says) in NO_REQUESTS.items():
            received = await desk.exchange(sent.replace("{key}", house.secret).encode("latin-1"))
            answer, rest = read_answer(received)
            assert (name, answer.status, answer.whole, rest) == (name, status, True, b"")
            assert (name, answer.field(b"connection")) == (name, b"close")
            error = orjson.loads(answer.body)["error"]
            assert (name, error["message"][: len(says)]) == (name, says)
            code = {400: "invalid_request", 431: "head_too_large"}[status]
            assert (name, error["code"]) == (name, code)
            assert house.secret.encode() not in received
            assert says.removeprefix("not proper HTTP/1.1: ") in API, f"{says!r} is not in docs/API.md"


async def test_what_is_no_request_is_refused_in_the_dialect_of_its_path(
    house: House, upstream: FakeUpstream
) -> None:
    fields = ("content-length: 5", "transfer-encoding: chunked")
    async with refusing(house, upstream) as desk:
        for dialect in DIALECTS:
            sent = desk.request(dialect.path, b"", *fields)
            await desk.refused(fields, dialect, sent, 400, "invalid_request", says="Transfer-Encoding")


async def test_an_unknown_expectation_is_refused_in_the_shape_of_its_path(
    house: House, upstream: FakeUpstream
) -> None:
    async with refusing(house, upstream) as desk:
        for path in (*(dialect.path for dialect in DIALECTS), "/v1/wallets", "/v1/files"):
            answer, _ = read_answer(await desk.exchange(desk.request(path, b"{}", "expect: x")))
            assert (answer.status, answer.whole) == (417, True)
            assert b"expect: only 100-continue is understood" in answer.body


async def test_a_body_longer_than_its_length_is_the_beginning_of_another_request(
    house: House, upstream: FakeUpstream
) -> None:
    async with refusing(house, upstream) as desk:
        sent = desk.request(CHAT.path, b'{}{"model"', "content-length: 2", "connection: keep-alive")
        first, rest = read_answer(await desk.exchange(sent))
        assert (first.status, first.error_code(), first.field(b"connection")) == (400, "invalid_request", b"")
        second, rest = read_answer(rest)
        assert (second.status, second.field(b"connection"), rest) == (400, b"close", b"")


async def test_a_damaged_chunk_is_refused_in_the_dialect(house: House, upstream: FakeUpstream) -> None:
    async with refusing(house, upstream) as desk:
        for dialect in DIALECTS:
            for body in (b"zz\r\n", b"5\r\nabcdefg\r\n", b"5\nabcde\n0\n\n\r\n", b"0x5\r\nabcde\r\n"):
                sent = desk.request(dialect.path, body, "transfer-encoding: chunked")
                await desk.refused(
                    body, dialect, sent, 400, "invalid_request", says="the body cannot be read"
                )


async def test_a_body_longer_than_what_comes_is_never_begun(house: House, upstream: FakeUpstream) -> None:
    async with refusing(house, upstream) as desk:
        for dialect in DIALECTS:
            body = asking(dialect)
            for sent in (
                desk.request(dialect.path, body, f"content-length: {len(body) + 1}"),
                desk.request(dialect.path, chunk(body), "transfer-encoding: chunked"),
            ):
                assert await desk.exchange(sent, eof=True) == b""


async def test_an_old_client_is_refused_in_its_dialect_and_let_go(
    house: House, upstream: FakeUpstream
) -> None:
    async with refusing(house, upstream) as desk:
        for dialect in DIALECTS:
            sent = desk.request(dialect.path, b"[]", "connection: keep-alive", version="1.0")
            await desk.refused("HTTP/1.0", dialect, sent, 400, "invalid_request")


@pytest.mark.parametrize("dialect", [CHAT, MESSAGES], ids=lambda dialect: dialect.name)
async def test_behind_each_refusal_the_connection_carries_the_next_request(
    house: House, upstream: FakeUpstream, dialect: Dialect
) -> None:
    """Also where the body of the one before was not read."""
    alive = "connection: keep-alive"
    unread = b"x" * 300_000
    refusals = [
        (request(dialect.path, unread, alive), 401, "invalid_api_key"),
        (
            request(dialect.path, unread, alive, "x-litellm-tags: a", secret=house.secret),
            400,
            "invalid_request",
        ),
        (request(dialect.path, unread, alive, secret=house.secret), 400, "invalid_request"),
        (request(dialect.path, unread, alive, method="PUT"), 405, "method_not_allowed"),
        (request(f"{dialect.path}/x", unread, alive), 404, "endpoint_not_priced"),
    ]
    desk = Desk(house, upstream)
    async with desk.connect() as client:
        for number, (sent, status, code) in enumerate(refusals):
            client.received = b""
            client.writer.write(sent)
            answer, rest = read_answer(await client.until(b'"request_id"'))
            assert (number, answer.status, rest) == (number, status, b"")
            field = "x-litellm-tags" if number == 1 else None
            assert_refusal(dialect, answer, code, field)
        client.received = b""
        client.writer.write(request(dialect.path, asking(dialect), secret=house.secret))
        assert (await client.answer()).status == 200
    await settled_calls(house, 1)
    await assert_books_balance(house)


async def test_a_head_that_never_ends_holds_nothing(house: House, upstream: FakeUpstream) -> None:
    async with refusing(house, upstream) as desk:
        for sent in (b"", b"POST /v1/chat/comp", desk.request(CHAT.path)[:-2]):
            async with desk.connect() as client:
                client.writer.write(sent)
                await asyncio.sleep(0.05)
                assert not house.gateway._front.running
        await until(lambda: not house.gateway._front.running)
