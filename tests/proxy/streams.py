"""The recorded and constructed streams, and ways to cut them. A stream's sidecar says what is in it."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rabbitgw.billing.usage import Usage
from rabbitgw.proxy.meter import StreamReader, estimate_output_tokens

STREAMS = Path(__file__).parent.parent / "fixtures" / "streams"
NAMES = sorted(path.stem for path in STREAMS.glob("*.sse"))
EVERY_SPLIT_BYTES_MAX = 4096
RANDOM_SPLITS = 500
SEED = 20261121

DIALECTS = {
    "openai_chat": "openai-chat",
    "openai_completions": "openai-completions",
    "openai_responses": "openai-responses",
    "anthropic_messages": "anthropic-messages",
    "openai_image": "openai-images",
    "gemini": "gemini",
}


def raw(name: str) -> bytes:
    return (STREAMS / f"{name}.sse").read_bytes()


def sidecar(name: str) -> dict[str, Any]:
    return json.loads((STREAMS / f"{name}.json").read_text())


def dialect_of(name: str) -> str:
    if name.startswith("openai_speech"):
        return "openai-speech"
    if name.startswith("openai_transcription"):
        return "openai-transcriptions"
    return DIALECTS[sidecar(name)["format"]]


class Seen(NamedTuple):
    """All that one reading of a stream gave."""

    client: bytes  # before the settle
    withheld: bytes
    usage: Usage | None
    output_stated: bool
    zero_usage: bool
    error: dict[str, Any] | None
    model: str | None
    terminal: bool
    finish: bool
    delivered: bool
    tokens: int
    estimate: int


def run(dialect: str, pieces: list[bytes], *, hide_usage: bool = False, choices: int = 1) -> Seen:
    reader = StreamReader(dialect, hide_usage=hide_usage, choices=choices)
    out = [reader.feed(piece) for piece in pieces]
    out.append(reader.end())
    return Seen(
        client=b"".join(out),
        withheld=reader.withheld,
        usage=reader.usage,
        output_stated=reader.output_stated,
        zero_usage=reader.zero_usage,
        error=reader.error,
        model=reader.model,
        terminal=reader.terminal_seen,
        finish=reader.finish_seen,
        delivered=reader.delivered_any,
        tokens=reader.delivered_tokens,
        estimate=estimate_output_tokens(reader.output_sample()),
    )


def cuts(data: bytes, boundaries: list[int] | None = None) -> Iterator[list[bytes]]:
    """Byte by byte, in two at every place up to 4 KiB (above: around boundaries and 500 random ones), randomly."""
    size = len(data)
    if size <= EVERY_SPLIT_BYTES_MAX:
        yield [data[i : i + 1] for i in range(size)]
        places = set(range(1, size))
    else:
        ends = [i + 1 for i in range(size) if data[i] in b"\r\n"]
        places = {end + shift for end in ends for shift in range(-3, 4)}
        chance = random.Random(SEED)
        print(f"random splits from seed {SEED}")
        places |= {chance.randrange(1, size) for _ in range(RANDOM_SPLITS)}
    for place in sorted(places):
        if 0 < place < size:
            yield [data[:place], data[place:]]
    if boundaries:
        edges = [0, *boundaries, size]
        yield [data[a:b] for a, b in itertools.pairwise(edges)]
    chance = random.Random(SEED)
    for _ in range(20):
        edges = sorted({0, size, *(chance.randrange(size) for _ in range(size // 40 + 2))})
        yield [data[a:b] for a, b in itertools.pairwise(edges)]
