"""Bytes between upstream and client: what goes on at once, what waits for money, and how an answer comes to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from rabbitgw.errors import UpstreamCut, UpstreamGarbled
from rabbitgw.proxy.meter.stream import StreamReader
from rabbitgw.proxy.relay import ERROR_BODY_BYTES_MAX, Headers, Outcome, Relay
from rabbitgw.proxy.upstream_exchange import Exchange
from tests.fakes.hot_path import DONE, SSE, FakeClient, Line, event, usage_event

WORD = event("word")
PLENTY = 1 << 40


class Room:
    """A Meter with so much room, that wants to be asked always; events are a token each."""

    def __init__(self, tokens: int) -> None:
        self.visible_tokens = self.calm_tokens = 0
        self.tokens = tokens
        self.used = 0
        self.on_short: Callable[[], None] = lambda: None

    def seen(self, delivered_tokens: int) -> bool:
        self.used = delivered_tokens
        if self.used >= self.tokens:
            self.on_short()
        return self.used < self.tokens

    def room_tokens(self) -> int:
        return self.tokens - self.used


class Played:
    """A relay with both of its sides in the test's hands."""

    def __init__(self, tokens: int = PLENTY, *, starts: bool = True) -> None:
        loop = asyncio.get_running_loop()
        self.client = FakeClient()
        self.line = Line()
        self.room = Room(tokens)

        self.starts = starts
        self.relay = Relay(self.client, StreamReader("openai-chat", hide_usage=False), self.room, self, loop)
        exchange = Exchange(self.relay, b"", b"", head_only=False)
        exchange.connection = self.line
        self.relay.attach(exchange)
        self.client.bind(self.relay.on_drained, lambda: self.relay.stop(Outcome.LEFT))

    def start_answer(self, relay: Relay, status: int, headers: Headers) -> bool:
        if self.starts:
            self.client.start(status, headers, length=None)
        else:
            relay.error = UpstreamGarbled("another kind")
        return self.starts

    def begin(self, status: int = 200) -> Relay:
        self.relay.on_head(status, SSE)
        return self.relay

    @property
    def outcome(self) -> Outcome | None:
        return self.relay.outcome.result() if self.relay.outcome.done() else None


async def test_pieces_go_on_at_once_and_as_they_are() -> None:
    played = Played()
    relay = played.begin()
    relay.on_body(WORD[:20])
    assert played.client.body == WORD[:20]
    relay.on_body(WORD[20:] + WORD)
    assert played.client.body == WORD + WORD
    assert played.outcome is None


async def test_what_the_hold_does_not_cover_waits_and_goes_on_when_it_does() -> None:
    played = Played(tokens=2)
    relay = played.begin()
    relay.on_body(WORD * 5)
    assert played.client.body == WORD * 2
    assert played.line.paused
    relay.on_body(WORD)  # was under way
    assert played.client.body == WORD * 2
    played.room.tokens = PLENTY
    relay.resume_for_money()
    assert played.client.body == WORD * 6
    assert not played.line.paused


async def test_money_that_ends_behind_the_finish_chunk_ends_nothing() -> None:
    played = Played()
    relay = played.begin()
    relay.on_body(WORD * 3 + event(finish="stop"))
    relay.money_ended()
    assert (played.outcome, played.line.aborted) == (None, False)
    relay.on_body(usage_event(5, 3) + DONE)
    assert played.outcome is Outcome.WHOLE
    assert relay.reader.usage is not None


async def test_money_that_ends_before_the_finish_chunk_ends_the_answer() -> None:
    played = Played(tokens=1)
    relay = played.begin()
    relay.on_body(WORD * 3 + event(finish="stop"))
    relay.money_ended()
    assert (played.outcome, played.line.aborted) == (Outcome.SPENT, True)


async def test_nothing_more_passes_while_money_is_short_even_if_nothing_was_kept() -> None:
    played = Played(tokens=1)
    relay = played.begin()
    relay.on_body(WORD)
    assert played.line.paused
    relay.on_body(WORD)
    relay.on_body(WORD)
    assert played.client.body == WORD


async def test_a_piece_that_was_dearer_than_its_size_told_holds_upstream_up() -> None:
    played = Played(tokens=1000)
    relay = played.begin()
    played.room.seen = lambda delivered_tokens: False  # type: ignore[method-assign]
    relay.on_body(WORD)
    assert played.client.body == WORD
    assert played.line.paused


async def test_an_answer_that_ended_while_money_was_short_is_whole_after_it_came() -> None:
    played = Played(tokens=1)
    relay = played.begin()
    relay.on_body(WORD * 3 + event(finish="stop") + usage_event(5, 3) + DONE)
    relay.on_end()
    assert played.outcome is None
    played.room.tokens = PLENTY
    relay.resume_for_money()
    assert played.outcome is Outcome.WHOLE
    assert relay.reader.usage is not None
    assert relay.reader.usage.output_tokens == 3


async def test_an_answer_that_broke_while_money_was_short_is_passed_on_before_it_is_called_broken() -> None:
    played = Played(tokens=1)
    relay = played.begin()
    relay.on_body(WORD * 3)
    relay.on_fail(UpstreamCut("gone"))
    assert played.outcome is None
    played.room.tokens = PLENTY
    relay.resume_for_money()
    assert played.client.body == WORD * 3
    assert played.outcome is Outcome.BROKE


async def test_a_terminal_frame_that_waited_for_money_makes_a_broken_connection_harmless() -> None:
    played = Played(tokens=1)
    relay = played.begin()
    relay.on_body(WORD * 2 + event(finish="stop") + usage_event(5, 2) + DONE)
    relay.on_fail(UpstreamCut("reset after the last frame"))
    played.room.tokens = PLENTY
    relay.resume_for_money()
    assert played.outcome is Outcome.WHOLE


async def test_money_that_comes_after_the_end_was_decided_lets_nothing_out() -> None:
    played = Played(tokens=1)
    relay = played.begin()
    relay.on_body(WORD * 3)
    relay.stop(Outcome.SPENT)
    played.room.tokens = PLENTY
    relay.resume_for_money()
    assert played.client.body == WORD
    assert played.outcome is Outcome.SPENT
    assert played.line.aborted


async def test_a_slow_client_and_short_money_both_pause_and_both_must_pass() -> None:
    played = Played(tokens=1)
    relay = played.begin()
    played.client.full = True
    relay.on_body(WORD * 2)
    assert played.line.paused
    played.client.drain()
    assert played.line.paused
    played.room.tokens = PLENTY
    relay.resume_for_money()
    assert not played.line.paused
    assert not relay.paused


async def test_a_client_that_left_in_the_middle_of_a_piece_ends_the_call_once() -> None:
    played = Played()
    relay = played.begin()
    played.client.on_write = played.client.leave
    relay.on_body(WORD)
    assert played.outcome is Outcome.LEFT
    relay.on_end()
    played.client.drain()
    assert played.outcome is Outcome.LEFT


async def test_another_kind_of_answer_is_given_up_at_once() -> None:
    played = Played(starts=False)
    played.begin()
    assert played.outcome is Outcome.REFUSED
    assert played.line.aborted


async def test_an_error_body_without_end_is_given_up() -> None:
    played = Played()
    relay = played.begin(500)
    relay.on_body(b"x" * ERROR_BODY_BYTES_MAX)
    assert played.outcome is Outcome.REFUSED
    assert played.line.aborted
    assert len(relay.error_body) == ERROR_BODY_BYTES_MAX


@pytest.mark.parametrize("ends", [True, False])
async def test_a_reader_that_fails_at_the_end_does_not_leave_the_call_open(
    monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    played = Played()
    relay = played.begin()
    relay.on_body(WORD)

    def broken(self: StreamReader) -> bytes:
        raise RecursionError("too deep")

    monkeypatch.setattr(StreamReader, "end", broken)
    if ends:
        relay.on_end()
    else:
        relay.on_fail(UpstreamCut("gone"))
    assert played.outcome is Outcome.BROKE
    assert relay.error is not None
