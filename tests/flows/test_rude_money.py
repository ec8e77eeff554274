"""Streams that the caller's money does not last for, and lines without end: each stops in time, in its dialect, with
what was delivered charged and no more overspent than the bound says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.books import assert_books_balance
from tests.fakes.raw_http import Connection
from tests.flows.raw_client import (
    CHUNKED,
    LAST_CHUNK,
    SSE_HEAD,
    chunk,
    read_answer,
)
from tests.flows.rude import (
    assert_nothing_left,
    hung_up,
    playing,
    rude_house,
)
from tests.flows.speeches import CHAT, SPEECHES, TEXT, Speech

speeches = pytest.mark.parametrize("speech", SPEECHES, ids=lambda speech: speech.dialect)
HEAD = SSE_HEAD + CHUNKED
TOKEN_NANOS = 1_000_000  # of output, at the price of "words"
CREDIT_TOKENS = 1000


def small(speech: Speech, text: str) -> bytes:
    """A delta of this text."""
    return speech.delta.replace(TEXT.encode(), text.encode())


@speeches
async def test_a_stream_ends_in_its_dialect_where_the_money_does(house_with: Any, speech: Speech) -> None:
    """An error event behind whole events, a body that is ended: the connection carries the caller's next call."""
    events = [small(speech, "tok "), small(speech, "token ")] * 2_000

    async def play(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(HEAD, chunk(speech.opening), *map(chunk, events))
        await connection.wait_gone()

    async with rude_house(house_with, play, credit_nanos=CREDIT_TOKENS * TOKEN_NANOS) as scene:
        client = await scene.connect()
        client.ask(speech, speech.body(model="words"))
        await client.until(b"\r\n0\r\n\r\n")
        answer, rest = read_answer(client.received)
        assert (answer.status, answer.whole, rest) == (200, True, b"")
        await hung_up(scene.raw.connections[0])
        assert answer.body.startswith(speech.opening + events[0])
        shape = error_shape(answer.body)
        if speech.dialect.startswith("anthropic"):
            assert shape == ("event: error", "error", "billing_error", None)
        elif speech is CHAT:
            assert shape == ("", None, "insufficient_quota", "insufficient_quota")
        else:
            assert shape == ("event: error", "error", "insufficient_quota", "insufficient_quota")
        bill = await scene.house.bill(answer.request_id)
        assert (bill["status"], bill["usage_source"]) == ("partial", "partial")
        assert CREDIT_TOKENS // 2 <= bill["output_tokens"] <= 3 * CREDIT_TOKENS
        await assert_nothing_left(scene.house)
        client.received = b""
        client.ask(speech, speech.body(model="words"))
        await client.until(b"\r\n\r\n")
        assert client.received.split()[1] == (b"402" if speech.dialect.startswith("anthropic") else b"429")
        await assert_books_balance(scene.house)


def error_shape(body: bytes) -> tuple[str, str | None, str, str | None]:
    """(the event's line, `type`, the error's type, its code) of the last event."""
    last = body.removesuffix(b"\n\n").rpartition(b"\n\n")[2]
    line, _, data = last.rpartition(b"data: ")
    document = orjson.loads(data)
    error = document["error"]
    return line.decode().strip(), document.get("type"), error["type"], error.get("code")


async def test_events_that_are_all_large_and_alike_overspend_no_more_than_the_bound(house_with: Any) -> None:
    """Ten thousand tokens are paid for; each event carries ten, and none is smaller than the others."""
    event = chunk(small(CHAT, "x" * 40)) * 100

    async def play(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(HEAD, chunk(CHAT.opening), *[event] * 200)
        await connection.wait_gone()

    async with rude_house(house_with, play, credit_nanos=10_000 * TOKEN_NANOS) as scene:
        client = await scene.connect()
        client.ask(CHAT, CHAT.body(model="words"), "connection: close")
        answer = await client.answer()
        bill = await scene.house.bill(answer.request_id)
        print(f"{bill['output_tokens']} tokens were charged of a wallet for 10 000")
        await assert_nothing_left(scene.house)
        await assert_books_balance(scene.house)  # it names an overspend beyond the bound


# Lines without end

LINE_BYTES = 64 * 1024 * 1024
PIECE = b"x" * 65_536
KEPT_BYTES_MAX = 24 * 1024 * 1024  # buffers of both sides and of the kernel, and what the machine wastes

LINES = {
    "an answer": (b'data: {"choices":[{"index":0,"delta":{"content":"', b'"},"finish_reason":null}]}\n\n'),
    "a comment": (b": ", b"\n\n"),
    "no field": (b"", b"\n\n"),
    "data": (b"data: ", b"\n\n"),
}


def rss_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


@pytest.mark.parametrize("line", LINES)
async def test_a_line_of_64_mib_passes_and_is_not_kept(house_with: Any, line: str) -> None:
    begin, end = LINES[line]

    async def play(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(HEAD, chunk(CHAT.opening + begin))
        for _ in range(LINE_BYTES // len(PIECE)):
            connection.writer.write(chunk(PIECE))
            await connection.writer.drain()
        await connection.send(chunk(end), chunk(CHAT.finish + CHAT.hidden + CHAT.terminal), LAST_CHUNK)
        await connection.wait_gone()

    async with rude_house(house_with, play) as scene:
        client = await scene.connect()
        before = most = rss_bytes()
        client.ask(CHAT, CHAT.body(model="free"), "connection: close")
        total = 0
        tail = b""
        while piece := await client.reader.read(65_536):
            total += len(piece)
            tail = (tail + piece)[-4096:]
            most = max(most, rss_bytes())
        assert total > LINE_BYTES
        assert tail.endswith(b"\n\n\r\n0\r\n\r\n")
        assert most - before < KEPT_BYTES_MAX
        await assert_nothing_left(scene.house)
        await assert_books_balance(scene.house)


@pytest.mark.parametrize("line", ["an answer", "data"])
async def test_a_line_without_end_stops_where_the_money_does(house_with: Any, line: str) -> None:
    """Where the client has some of it, it pays for that and sees a cut. What may yet be the usage chunk it did not ask
    for is held back for a while; if the money ends in that while, it was given nothing and pays nothing."""

    async def play(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(HEAD, chunk(CHAT.opening + LINES[line][0]))
        while True:
            connection.writer.write(chunk(PIECE))
            await connection.writer.drain()

    async with rude_house(house_with, play, credit_nanos=CREDIT_TOKENS * TOKEN_NANOS) as scene:
        client = await scene.connect()
        client.ask(CHAT, CHAT.body(model="words"), "connection: close")
        answer = await client.answer()
        await hung_up(scene.raw.connections[0])
        bill = await scene.house.bill(answer.request_id)
        given = 4 * answer.body.count(b"xxxx")
        if given:
            assert not answer.whole
            assert bill["status"] == "partial"
            assert given // 5 <= bill["output_tokens"] <= given // 3 + 300
        else:
            assert (answer.whole, answer.error_code()) == (True, "insufficient_quota")
            assert (bill["status"], bill["cost_nanos"]) == ("released", 0)
        assert given < 2 * len(PIECE)
        await assert_nothing_left(scene.house)
        await assert_books_balance(scene.house)  # it names an overspend beyond the bound


@pytest.mark.parametrize("who", ["the client leaves", "upstream ends"])
async def test_a_large_event_that_does_not_come_to_its_end_is_not_free(house_with: Any, who: str) -> None:
    """Its 200 000 bytes were delivered, whether or not the line was ever ended."""
    gate = asyncio.Event()
    text = b"x" * 200_000
    then = "end" if who == "upstream ends" else ""
    play = playing(HEAD, chunk(CHAT.opening + LINES["an answer"][0] + text), gate, then=then)
    async with rude_house(house_with, play, slice_output_tokens=65_536) as (house, _, connect):
        client = await connect()
        client.ask(CHAT, None, "x-request-id: large", "connection: close")
        while client.received.count(b"x") < len(text):
            client.received += await client.reader.read(65_536)
        if then:
            gate.set()
            assert not (await client.answer()).whole
        else:
            client.leave()
        bill = await house.bill("large")
        assert bill["status"] == "partial"
        assert 49_000 <= bill["output_tokens"] <= 51_000  # a quarter token a byte
        await assert_nothing_left(house)
        await assert_books_balance(house)
