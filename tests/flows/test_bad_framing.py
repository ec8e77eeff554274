"""What is wrong with how a request is framed: refused, the connection ended where it cannot go on, and nothing is held.

What is no request at all stands in a table here, and what it is told in docs/API.md.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from rabbitgw.proxy.dialects import CHAT, DIALECTS, MESSAGES, Dialect
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import FakeUpstream
from tests.flows.house import House, until
from tests.flows.raw_client import chunk, read_answer
from tests.flows.refusing import Desk, asking, assert_refusal, refusing, request, settled_calls

API = (Path(__file__).parents[2] / "docs" / "API.md").read_text("utf-8")
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
