"""Every recorded stream through the whole gateway, however its bytes were cut: the client's bytes, and the bill.

A sidecar says what a stream states. The readers' own tests cut each stream at every place; here a few cuts go through
sockets, relay, settle and books, each piece in a read of its own.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from rabbitgw.billing.bill_lines import booked_line
from rabbitgw.clock import new_id
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import FakeUpstream, Raw
from tests.flows.house import PRICES, House
from tests.flows.priced import sell
from tests.proxy.streams import NAMES, SEED, raw, sidecar

MESSAGES = [{"role": "user", "content": "Say hello."}]
SHOW = {"stream_options": {"include_usage": True}}
# by the format that a sidecar names: the path, what is asked, and what shows the usage chunk where one is hidden
ASKS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "openai_chat": ("/v1/chat/completions", {"messages": MESSAGES}, SHOW),
    "openai_completions": ("/v1/completions", {"prompt": "Say hello."}, SHOW),
    "openai_responses": ("/v1/responses", {"input": "Say hello."}, {}),
    "anthropic_messages": ("/v1/messages", {"messages": MESSAGES, "max_tokens": 1000}, {}),
}
SOLD = {kind: [name for name in NAMES if sidecar(name)["format"] == kind] for kind in ASKS}
BYTEWISE_BYTES_MAX = 4096
RANDOM_SPLITS = 10
PIECE_DELAY_S = 0.001  # what is sent without a pause may be read as one piece
AT_ONCE = 32
INPUT_NANOS, CACHED_NANOS, OUTPUT_NANOS = 2_500, 1_250, 10_000  # gpt-4o's; a cache write is input
TEXT_BYTES_PER_TOKEN = 4  # where text must be estimated
# of the streams to be estimated whose sidecar does not tell it
UNTOLD_TEXT = {"openai_chat": "Hello 世界", "openai_responses": "Hi", "anthropic_messages": "Hi"}
EVENT = re.compile(rb"(?:[^\r\n]+(?:\r\n|\r|\n|\Z))+(?:\r\n|\r|\n|\Z)")
COUNTS = {
    "input_tokens_total": "input_tokens",
    "cached_input_tokens": "cached_input_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "output_tokens_total": "output_tokens",
    "reasoning_tokens": "reasoning_tokens",
    "audio_input_tokens": "audio_input_tokens",
    "audio_output_tokens": "audio_output_tokens",
}


@dataclass
class Replay:
    """One fixture, cut one way, and what the client got of it."""

    name: str
    cut: str
    script: Raw
    status: int = 0
    body: bytes = b""
    request_id: str = ""


def ways(name: str) -> Iterator[Replay]:
    """Whole in each framing, byte by byte if it is short, and at random places."""
    data = raw(name)
    for framing in ("chunked", "length", "close"):
        yield Replay(name, framing, Raw([data], framing=framing))
    if len(data) <= BYTEWISE_BYTES_MAX:
        every = range(1, len(data))
        yield Replay(name, "bytewise", Raw.split(data, *every, delay_s=PIECE_DELAY_S))
    boundaries = sidecar(name).get("chunk_boundaries")
    if boundaries:
        yield Replay(name, "its own", Raw.split(data, *boundaries, delay_s=PIECE_DELAY_S))
    chance = random.Random(f"{SEED} {name}")
    for _ in range(RANDOM_SPLITS):
        at = sorted(chance.sample(range(1, len(data)), chance.randint(1, 8)))
        yield Replay(name, f"at {at}", Raw.split(data, *at, delay_s=PIECE_DELAY_S))


async def play(house: House, upstream: FakeUpstream, replays: list[Replay], *, show: bool = True) -> None:
    """All of them, several at once, each with a model of its own, so that it meets its own script."""
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(replay: Replay) -> None:
        path, asks, shows = ASKS[sidecar(replay.name)["format"]]
        async with at_once:
            model = f"gpt-4o-{new_id()}"
            upstream.script(model, replay.script)
            body = {"model": model, "stream": True, **asks, **(shows if show else {})}
            reply = await house.post(body, path=path)
            replay.status, replay.body, replay.request_id = reply.status, reply.body, reply.request_id

    await asyncio.gather(*map(one, replays))
    assert {replay.status for replay in replays} == {200}


async def bills(house: House, replays: list[Replay]) -> dict[str, dict[str, Any]]:
    """The bill line of each, by its request id. The books balance."""
    await assert_books_balance(house)
    async with house.stores.pg.acquire() as db:
        rows = await db.fetch("SELECT *, NULL::bigint AS corrected_nanos FROM usage")
    lines = {str(row["id"]): booked_line(row) for row in rows}
    assert lines.keys() == {replay.request_id for replay in replays}
    return lines


@pytest.fixture
async def rich_house(house_with: Any, upstream: FakeUpstream) -> AsyncIterator[House]:
    """A house that sells every gpt-4o-… to a customer who can pay for all of this at once."""
    upstream.script("gpt-4o-listed", Raw([]))
    async with house_with(credit_nanos=1_000_000_000_000) as house:
        await sell(house, {"gpt-4o-*": PRICES["gpt-4o"]}, listed="gpt-4o-listed")
        yield house


@pytest.mark.parametrize("kind", SOLD)
async def test_every_stream_passes_unchanged_and_is_billed_as_stated(
    rich_house: House, upstream: FakeUpstream, kind: str
) -> None:
    replays = [replay for name in SOLD[kind] for replay in ways(name)]
    await play(rich_house, upstream, replays)
    changed = [(one.name, one.cut) for one in replays if one.body != raw(one.name)]
    assert not changed
    lines = await bills(rich_house, replays)
    wrong = {
        (one.name, one.cut): found for one in replays if (found := faults(one.name, lines[one.request_id]))
    }
    assert not wrong


@pytest.mark.parametrize("kind", ["openai_chat", "openai_completions"])
async def test_of_a_stream_whose_usage_nobody_asked_for_one_chunk_is_missing(
    rich_house: House, upstream: FakeUpstream, kind: str
) -> None:
    replays = [replay for name in SOLD[kind] for replay in ways(name)]
    await play(rich_house, upstream, replays, show=False)
    changed = [(one.name, one.cut) for one in replays if one.body != without_usage_chunk(raw(one.name))]
    assert not changed
    forced = {one.body for one in replays if one.name == "forced_usage_upstream"}
    assert forced <= {raw("forced_usage_client")}
    lines = await bills(rich_house, replays)
    wrong = {
        (one.name, one.cut): found for one in replays if (found := faults(one.name, lines[one.request_id]))
    }
    assert not wrong


def faults(name: str, line: dict[str, Any]) -> dict[str, Any]:
    """What of a bill line is not as the sidecar has it: (wanted, found) by the field."""
    wanted = wanted_line(sidecar(name))
    if "cost_nanos" not in wanted:
        wanted["cost_nanos"] = (
            (line["input_tokens"] - line["cached_input_tokens"]) * INPUT_NANOS
            + line["cached_input_tokens"] * CACHED_NANOS
            + line["output_tokens"] * OUTPUT_NANOS
        )
    return {field: (value, line[field]) for field, value in wanted.items() if line[field] != value}


def wanted_line(side: dict[str, Any]) -> dict[str, Any]:
    """What a sidecar says about a bill line."""
    whole = side["error"] is None
    stated = side["expected_usage"]
    estimated = side["must_estimate"] or side.get("is_client_side", False)  # nobody asked it for usage
    if stated is None and not estimated:
        return {"status": "released", "usage_source": None, "cost_nanos": 0}
    status = "settled" if whole else "partial"
    if not estimated:
        source = "provider"
    else:
        source = "estimated" if whole else "partial"
    wanted = {"status": status, "usage_source": source}
    for theirs, ours in COUNTS.items() if stated is not None else ():
        wanted[ours] = stated[theirs]
    if estimated:
        text = side.get("assembled_text") or UNTOLD_TEXT[side["format"]]
        text_tokens = -(-len(text.encode()) // TEXT_BYTES_PER_TOKEN)
        wanted["output_tokens"] = max(wanted.get("output_tokens", 0), text_tokens)
    return wanted


def without_usage_chunk(data: bytes) -> bytes:
    """What is left for a caller who did not ask for usage."""
    chunks = [event for event in EVENT.findall(data) if b'"choices":[]' in event and b'"usage":{' in event]
    assert len(chunks) <= 1
    return data.replace(chunks[0], b"") if chunks else data
