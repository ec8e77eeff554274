"""Upstreams whose HTTP is good and whose words are not: lines without end, bytes that are no JSON, usage that lies, an
end that is missing or said twice, and streams that the caller's money does not last for."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.books import assert_books_balance
from tests.flows.raw_client import (
    CHUNKED,
    JSON_HEAD,
    LAST_CHUNK,
    SSE_HEAD,
    Answer,
    chunk,
)
from tests.flows.rude import (
    Scene,
    ask,
    assert_nothing_left,
    in_turn,
    playing,
    rude_house,
)
from tests.flows.speeches import CHAT, INPUT_NANOS, OUTPUT_NANOS, SPEECHES, STATED_NANOS, Speech, sse

speeches = pytest.mark.parametrize("speech", SPEECHES, ids=lambda speech: speech.dialect)
HEAD = SSE_HEAD + CHUNKED


def streamed(*events: bytes) -> tuple[bytes, ...]:
    return (HEAD, *map(chunk, events), LAST_CHUNK)


async def billed(scene: Scene, answer: Answer) -> tuple[str, str, int]:
    """(status, usage source, cost) of an answer, when nothing of it is left and the books balance."""
    bill = await scene.house.bill(answer.request_id)
    await assert_nothing_left(scene.house)
    await assert_books_balance(scene.house)
    return bill["status"], bill["usage_source"], bill["cost_nanos"]


# The end of a stream


@speeches
async def test_a_body_that_ends_without_the_terminal_frame_is_whole(house_with: Any, speech: Speech) -> None:
    """The rule of the body's end; only where the terminal frame alone states the usage it is estimated."""
    events = (speech.opening, speech.delta * 3, speech.finish, speech.hidden)
    play = playing(*streamed(*filter(None, events)))
    async with rude_house(house_with, play) as scene:
        answer = await ask(scene, speech)
        assert answer.whole
        assert answer.body == speech.opening + speech.delta * 3 + speech.finish
        stated = bool(speech.finish)
        expected = (
            ("settled", "provider", STATED_NANOS)
            if stated
            else ("settled", "estimated", speech.part_nanos(3))
        )
        assert await billed(scene, answer) == expected


@speeches
async def test_a_terminal_frame_that_comes_twice_is_charged_once(house_with: Any, speech: Speech) -> None:
    async with rude_house(house_with, playing(*streamed(speech.stream(), speech.terminal))) as scene:
        answer = await ask(scene, speech)
        assert answer.whole
        assert answer.body in (speech.shown(), speech.shown() + speech.terminal)
        assert await billed(scene, answer) == ("settled", "provider", STATED_NANOS)


# What is no JSON

NOISE = {
    "nul in a string": b'data: {"choices": [{"delta": {"content": "a\x00b"}}]}\n\n',
    "nul": b"data: \x00\x00\x00\n\n",
    "broken": b"data: {not json at all\n\n",
    "of a wrong type": b'data: {"choices": 7}\n\n',
    "no object": b"data: [1, 2, 3]\n\n",
    "no utf-8": b"data: \xff\xfe\n\n",
    "deep": b"data: " + b"[" * 10_000 + b"\n\n",
    "in other fields": b"event: \x00\nid: \x00\nretry: -1\n: \x00\n\n",
}


async def test_noise_between_events_passes_and_changes_no_charge(house_with: Any) -> None:
    def events(noise: bytes) -> tuple[bytes, ...]:
        return (CHAT.opening, noise, CHAT.delta, noise + CHAT.delta, CHAT.finish, CHAT.hidden, CHAT.terminal)

    async with rude_house(
        house_with, in_turn(*(streamed(*events(noise)) for noise in NOISE.values()))
    ) as scene:
        for name, noise in NOISE.items():
            answer = await ask(scene, CHAT)
            shown = b"".join(events(noise)).replace(CHAT.hidden, b"")
            assert (name, answer.body, answer.whole) == (name, shown, True)
            assert (name, *await billed(scene, answer)) == (name, "settled", "provider", STATED_NANOS)


async def test_a_plain_body_that_is_no_json_passes_and_is_charged_by_its_bytes(house_with: Any) -> None:
    body = b'{"choices": [' + b"\x00" * 387
    play = playing(JSON_HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
    async with rude_house(house_with, play) as scene:
        answer = await ask(scene, CHAT, CHAT.body(stream=False))
        assert (answer.status, answer.body, answer.whole) == (200, body, True)
        # 11 tokens in; 400 bytes out at four a token
        assert await billed(scene, answer) == ("settled", "estimated", 11 * INPUT_NANOS + 100 * OUTPUT_NANOS)


# Usage that lies

ESTIMATED = ("settled", "estimated", CHAT.part_nanos(3))
PROVIDER = ("settled", "provider", STATED_NANOS)


def stating(usage: Any) -> tuple[bytes, ...]:
    """A stream of three deltas, 30 tokens, with this for its usage."""
    said = sse({"id": "c", "model": "gpt-4o", "choices": [], "usage": usage})
    return streamed(CHAT.opening, CHAT.delta * 3, CHAT.finish, said, CHAT.terminal)


async def test_usage_that_lies(house_with: Any) -> None:
    """Stated numbers are the provider's word, also where more was delivered; what is no count was not stated."""
    cases: tuple[tuple[Any, Any, tuple[str, str, int]], ...] = (
        (19, 100.0, PROVIDER),
        (19, 1, ("settled", "provider", 57_500)),
        (0, 0, ESTIMATED),
        (-19, -100, ESTIMATED),
        ("19", "100", ESTIMATED),
        (1e30, 1e30, ESTIMATED),
        (10**30, 10**30, ESTIMATED),
        (None, [100], ESTIMATED),
        (True, False, ESTIMATED),
    )
    words: tuple[Any, ...] = ([19, 100], "a lot", 100, {}, None)
    said = [({"prompt_tokens": into, "completion_tokens": out}, due) for into, out, due in cases]
    said += [(usage, ESTIMATED) for usage in words]
    async with rude_house(house_with, in_turn(*(stating(usage) for usage, _ in said))) as scene:
        for usage, due in said:
            answer = await ask(scene, CHAT)
            shown = CHAT.shown() if isinstance(usage, dict) else answer.body  # else it is no usage chunk
            assert (usage, answer.body, answer.whole) == (usage, shown, True)
            assert (usage, *await billed(scene, answer)) == (usage, *due)


NO_COUNTS = (b"-100", b'"100"', b"1e30", b"null", b"[100]")
GUESSED_INPUT = {"openai-chat": 11, "anthropic-messages": 11, "openai-responses": 3}  # tokens of the request


def misstating(speech: Speech, tokens: bytes, said: bytes) -> tuple[bytes, ...]:
    """A stream of three deltas, 30 tokens, that says this for its count of output (100) or input (19)."""
    stream = speech.stream().replace(b'_tokens":' + tokens, b'_tokens":' + said)
    return streamed(stream.replace(b'"total_tokens":119', b'"total_tokens":null'))


@speeches
async def test_output_of_which_no_count_was_stated_is_not_free(house_with: Any, speech: Speech) -> None:
    async with rude_house(
        house_with, in_turn(*(misstating(speech, b"100", said) for said in NO_COUNTS))
    ) as scene:
        for said in NO_COUNTS:
            nanos = (await billed(scene, await ask(scene, speech)))[2]
            assert (said, nanos) == (said, 19 * INPUT_NANOS + 30 * OUTPUT_NANOS)


@speeches
async def test_input_of_which_no_count_was_stated_is_not_free(house_with: Any, speech: Speech) -> None:
    due_nanos = GUESSED_INPUT[speech.dialect] * INPUT_NANOS + 100 * OUTPUT_NANOS
    async with rude_house(
        house_with, in_turn(*(misstating(speech, b"19", said) for said in NO_COUNTS))
    ) as scene:
        for said in NO_COUNTS:
            nanos = (await billed(scene, await ask(scene, speech)))[2]
            assert (said, nanos) == (said, due_nanos)


async def test_a_plain_answer_of_whose_output_no_count_was_stated_is_not_free(house_with: Any) -> None:
    body = orjson.dumps({**orjson.loads(CHAT.plain), "usage": {"prompt_tokens": 19, "completion_tokens": -1}})
    play = playing(JSON_HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
    async with rude_house(house_with, play) as scene:
        answer = await ask(scene, CHAT, CHAT.body(stream=False))
        assert answer.body == body
        assert (await billed(scene, answer))[2] == 19 * INPUT_NANOS + 10 * OUTPUT_NANOS
