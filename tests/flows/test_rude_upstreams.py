"""Upstreams that stop at every place, by an end, a reset or silence, and those that break the rules of HTTP: what the
client sees, what is charged, and what becomes of the connection."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from rabbitgw.proxy import forward
from tests.books import assert_books_balance
from tests.fakes.raw_http import Connection
from tests.flows.raw_client import (
    CHUNKED,
    JSON_HEAD,
    LAST_CHUNK,
    SSE_HEAD,
    Answer,
    chunk,
)
from tests.flows.rude import (
    CREDIT_NANOS,
    Scene,
    ask,
    assert_nothing_left,
    rude_house,
)
from tests.flows.speeches import CHAT, SPEECHES, STATED_NANOS, Speech

speeches = pytest.mark.parametrize("speech", SPEECHES, ids=lambda speech: speech.dialect)
# How Anthropic's clients are told what OpenAI's read as a code.
ANTHROPIC_TYPES = {"upstream_error": "api_error", "upstream_timeout": "timeout_error"}


def code_in(speech: Speech, code: str) -> str:
    return ANTHROPIC_TYPES[code] if speech.dialect.startswith("anthropic") else code


@dataclass(frozen=True)
class Place:
    """Where an upstream stops. sent: the bytes by then; shown: what a client has of them at last.

    whole: the client may take it for whole. event: it is told by an error event; else, if it has anything, by a cut.
    """

    sent: Callable[[Speech], bytes]
    shown: Callable[[Speech], bytes] | None = None
    nanos: Callable[[Speech], int] = lambda speech: 0
    whole: bool = False
    event: bool = True


HEAD = SSE_HEAD + CHUNKED


def deltas(speech: Speech) -> bytes:
    return speech.opening + 2 * speech.delta


PLACES = {
    "before the head": Place(lambda speech: b""),
    "in the head": Place(lambda speech: SSE_HEAD[:-9]),
    "after the head": Place(lambda speech: HEAD, lambda speech: b""),
    "before any output": Place(
        lambda s: HEAD + chunk(s.opening), lambda s: s.opening, lambda s: s.part_nanos(0)
    ),
    "between two events": Place(lambda s: HEAD + chunk(deltas(s)), deltas, lambda s: s.part_nanos(2)),
    "in the middle of an event": Place(
        lambda s: HEAD + chunk(deltas(s) + s.delta[:-20]),
        lambda s: deltas(s) + s.delta[:-20],
        lambda s: s.part_nanos(2),
        event=False,
    ),
    "in the middle of a chunk": Place(
        lambda s: HEAD + chunk(deltas(s) + s.delta)[:-30],
        lambda s: deltas(s) + s.delta[:-28],
        lambda s: s.part_nanos(2),
        event=False,
    ),
    "after the finish chunk": Place(
        lambda s: HEAD + chunk(deltas(s) + s.finish),
        lambda s: deltas(s) + s.finish,
        lambda s: STATED_NANOS if s.finish and not s.hidden else s.part_nanos(2),
    ),
    "after the usage": Place(
        lambda s: HEAD + chunk(deltas(s) + s.finish + s.hidden),
        lambda s: deltas(s) + s.finish,
        lambda s: STATED_NANOS if s.finish else s.part_nanos(2),
    ),
    "before the end of the body": Place(
        lambda s: HEAD + chunk(s.stream(2)), lambda s: s.shown(2), lambda s: STATED_NANOS, whole=True
    ),
}


@pytest.mark.parametrize("how", ["end", "reset", "silence"])
@speeches
async def test_an_upstream_that_stops(
    house_with: Any, monkeypatch: pytest.MonkeyPatch, speech: Speech, how: str
) -> None:
    """At each place, by ending or resetting the connection, or by saying no more."""
    monkeypatch.setattr(forward, "UPSTREAM_END_WAIT_S", 0.2)
    code = code_in(speech, "upstream_timeout" if how == "silence" else "upstream_error")
    timeouts = {"upstream_first_byte_timeout_s": 0.3, "upstream_silence_timeout_s": 0.3}
    places = iter(PLACES.values())

    async def play(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(next(places).sent(speech))
        await asyncio.sleep(0.05)  # it is read by then, so that a reset takes nothing back
        await connection.wait_gone() if how == "silence" else getattr(connection, how)()

    async with rude_house(house_with, play, **timeouts) as scene:
        charged_nanos = 0
        for name, place in PLACES.items():
            answer = await ask(scene, speech)
            if place.shown is None:
                refused = (504 if how == "silence" else 502, code)
                assert (name, answer.status, answer.error_code()) == (name, *refused)
            else:
                check_shown(name, answer, speech, code)
            bill = await scene.house.bill(answer.request_id)
            nanos = place.nanos(speech)
            status = "settled" if place.whole else "partial" if nanos else "released"
            assert (name, bill["status"], bill["cost_nanos"]) == (name, status, nanos)
            charged_nanos += nanos
            await assert_nothing_left(scene.house)
            assert not scene.house.gateway._upstream._open, name
        assert (await scene.house.wallet())["balance_nanos"] == CREDIT_NANOS - charged_nanos
        await assert_books_balance(scene.house)


def check_shown(name: str, answer: Answer, speech: Speech, code: str) -> None:
    """What the client has of an answer that began."""
    place = PLACES[name]
    assert place.shown is not None
    shown = place.shown(speech)
    assert (name, answer.status, answer.body[: len(shown)]) == (name, 200, shown)
    told = answer.body[len(shown) :]
    if place.whole:
        assert (name, told, answer.whole) == (name, b"", True)
    elif place.event:
        assert (name, answer.error_code(), answer.whole) == (name, code, True)
        assert told.startswith(b"data: " if speech is CHAT else b"event: error\n")
    else:
        assert (name, told, answer.whole) == (name, b"", False)


# Heads and framing


@dataclass(frozen=True)
class Lie:
    """An answer that breaks a rule. `body`: what the client sees of it, None where it is refused with 502."""

    sent: bytes
    body: bytes | None
    nanos: int = 0
    status: str = "settled"
    stream: bool = True
    whole: bool = True
    pooled: bool = False
    then: str = ""


STREAM, SHOWN, PLAIN = CHAT.stream(), CHAT.shown(), CHAT.plain
PLAIN_LENGTH = b"content-length: %d\r\n" % len(PLAIN)
PLAIN_WHOLE = JSON_HEAD + PLAIN_LENGTH + b"\r\n" + PLAIN
STREAM_WHOLE = SSE_HEAD + CHUNKED + chunk(STREAM) + LAST_CHUNK
HTML = b"<html><h1>502 Bad Gateway</h1></html>"
HTML_FIELDS = b"content-type: text/html\r\ncontent-length: %d\r\n\r\n" % len(HTML) + HTML
EARLY = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\nx-secret: upstreams\r\n\r\n"
FEW = CHAT.opening + 2 * CHAT.delta
STOLEN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


def flushed_gzip(*pieces: bytes) -> bytes:
    """Each piece in a chunk of its own, as a server sends that compresses a stream as it goes."""
    pack = zlib.compressobj(wbits=31)
    packed = [pack.compress(piece) + pack.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    return b"".join(map(chunk, [*packed, pack.flush()])) + LAST_CHUNK


GZIP = b"content-encoding: gzip\r\n"
PACKED = gzip.compress(PLAIN)
LIES = {
    "a length beyond the body, then the end": Lie(
        SSE_HEAD + b"content-length: 99999\r\n\r\n" + STREAM, SHOWN, STATED_NANOS, then="end"
    ),
    "a length short of the body": Lie(
        SSE_HEAD + b"content-length: %d\r\n\r\n" % len(FEW) + STREAM, FEW, CHAT.part_nanos(2)
    ),
    "a plain length beyond the body, then the end": Lie(
        JSON_HEAD + b"content-length: 99999\r\n\r\n" + PLAIN,
        PLAIN[:-1],
        STATED_NANOS,  # it was there to be read
        "partial",
        stream=False,
        whole=False,
        then="end",
    ),
    "both a length and chunks": Lie(SSE_HEAD + b"content-length: 5\r\n" + CHUNKED + chunk(STREAM), None),
    "two lengths": Lie(JSON_HEAD + PLAIN_LENGTH + b"content-length: 3\r\n\r\n" + PLAIN, None, stream=False),
    "html with 200": Lie(b"HTTP/1.1 200 OK\r\n" + HTML_FIELDS, None),
    "html with 200 for a plain call": Lie(b"HTTP/1.1 200 OK\r\n" + HTML_FIELDS, None, stream=False),
    "html with 502": Lie(b"HTTP/1.1 502 Bad Gateway\r\n" + HTML_FIELDS, None, pooled=True),
    "html with 502 for a plain call": Lie(
        b"HTTP/1.1 502 Bad Gateway\r\n" + HTML_FIELDS, None, stream=False, pooled=True
    ),
    "interim heads": Lie(
        b"HTTP/1.1 100 Continue\r\n\r\n" + EARLY + STREAM_WHOLE, SHOWN, STATED_NANOS, pooled=True
    ),
    "a plain answer behind interim heads": Lie(
        EARLY + EARLY + PLAIN_WHOLE, PLAIN, STATED_NANOS, stream=False, pooled=True
    ),
    "another protocol": Lie(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n", None),
    "a head without end": Lie(SSE_HEAD + b"x-filler: " + b"x" * 100_000, None),
    "fields without end": Lie(SSE_HEAD + b"x-filler: x\r\n" * 5_000, None),
    "a gzip stream": Lie(
        SSE_HEAD + GZIP + CHUNKED
        + flushed_gzip(CHAT.opening, *[CHAT.delta] * 3, CHAT.finish, CHAT.hidden, CHAT.terminal),
        SHOWN, STATED_NANOS, pooled=True,
    ),
    "a gzip body": Lie(
        JSON_HEAD + GZIP + b"content-length: %d\r\n\r\n" % len(PACKED) + PACKED,
        PLAIN, STATED_NANOS, stream=False, pooled=True,
    ),
    "a brotli stream": Lie(SSE_HEAD + b"content-encoding: br\r\n" + CHUNKED + chunk(b"\x0b\x02\x80"), None),
    "a stream that says gzip and is none": Lie(
        SSE_HEAD + GZIP + CHUNKED + chunk(STREAM), b"", status="released"
    ),
    "bytes after the end": Lie(STREAM_WHOLE + b"\x00 and more", SHOWN, STATED_NANOS),
    "bytes after the end of a body": Lie(PLAIN_WHOLE + b"}", PLAIN, STATED_NANOS, stream=False),
    "a second answer behind a stream": Lie(STREAM_WHOLE + STOLEN, SHOWN, STATED_NANOS),
    "a second answer behind a body": Lie(PLAIN_WHOLE + STOLEN, PLAIN, STATED_NANOS, stream=False),
    "a stream for a plain call": Lie(STREAM_WHOLE, None, stream=False),
    "a body for a stream": Lie(PLAIN_WHOLE, None),
    "a stream until the end of the connection": Lie(
        SSE_HEAD + b"connection: close\r\n\r\n" + STREAM, SHOWN, STATED_NANOS, then="end"
    ),
}  # fmt: skip


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_an_upstream_that_lies(house_with: Any, stream: bool) -> None:
    """After each lie the next call gets its own answer, by a connection that has nothing left over."""
    cases = {name: lie for name, lie in LIES.items() if lie.stream is stream}
    turns = iter([turn for lie in cases.values() for turn in ((lie.sent, lie.then), (PLAIN_WHOLE, ""))])

    async def play(connection: Connection) -> None:
        while True:
            await connection.read_request()
            sent, then = next(turns)
            await connection.send(sent)
            if then:
                getattr(connection, then)()
                return

    async with rude_house(house_with, play) as scene:
        for name, lie in cases.items():
            await check_lie(scene, name, lie)
            before = len(scene.raw.connections)
            after = await ask(scene, CHAT, CHAT.body(stream=False))
            assert (name, after.status, after.body, after.whole) == (name, 200, PLAIN, True)
            bill = await scene.house.bill(after.request_id)
            assert (name, bill["status"], bill["cost_nanos"]) == (name, "settled", STATED_NANOS)
            assert (name, len(scene.raw.connections) - before) == (name, 0 if lie.pooled else 1)
        due_nanos = sum(lie.nanos + STATED_NANOS for lie in cases.values())
        assert (await scene.house.wallet())["balance_nanos"] == CREDIT_NANOS - due_nanos
        await assert_nothing_left(scene.house)
        await assert_books_balance(scene.house)


async def check_lie(scene: Scene, name: str, lie: Lie) -> None:
    answer = await ask(scene, CHAT, CHAT.body(stream=lie.stream))
    status = "released" if lie.body is None else lie.status
    if lie.body is None:
        assert (name, answer.status, answer.error_code()) == (name, 502, "upstream_error")
    elif status == "released":  # it had begun
        assert (name, answer.status, answer.error_code()) == (name, 200, "upstream_error")
    else:
        seen = (answer.status, answer.body, answer.whole)
        assert (name, *seen) == (name, 200, lie.body, lie.whole)
    assert b"x-secret" not in answer.head
    assert answer.field(b"content-encoding") == b""
    bill = await scene.house.bill(answer.request_id)
    assert (name, bill["status"], bill["cost_nanos"]) == (name, status, lie.nanos)
    await assert_nothing_left(scene.house)
    assert (name, len(scene.house.gateway._upstream._idle)) == (name, lie.pooled)
