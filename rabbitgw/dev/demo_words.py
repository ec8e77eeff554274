"""The demo upstream's model: the words that answer a prompt, and what they count as. Knows no API and no HTTP.

The same prompt gets the same words. One word is one token, so a bill can be checked by counting words. An answer ends
by itself after `ANSWER_TOKENS`; a lower limit cuts it, a higher one does not lengthen it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

STORY = (
    "a rabbit counts every carrot before it hops and after it lands so that the burrow knows "
    "what the clover cost who ate it and how many leaves are left for tomorrow"
)
WORDS = STORY.split()
ANSWER_TOKENS = 48
BYTES_PER_TOKEN = 4  # of a prompt, as JSON


@dataclass(frozen=True, slots=True)
class Told:
    """The answer to a body. `pieces` are its words, each a token; each of `choices` says the same."""

    body: dict[str, Any]
    id: str
    pieces: tuple[str, ...]
    input_tokens: int
    choices: int

    @property
    def cut(self) -> bool:
        return len(self.pieces) < ANSWER_TOKENS

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def tell(body: dict[str, Any], prompt: bytes, limit: int | None, choices: int) -> Told:
    digest = hashlib.sha256(prompt).digest()
    words = [
        WORDS[(digest[0] + place) % len(WORDS)] for place in range(min(limit or ANSWER_TOKENS, ANSWER_TOKENS))
    ]
    pieces = (words[0], *(f" {word}" for word in words[1:]))
    return Told(body, digest[1:9].hex(), pieces, tokens_of(prompt), choices)


def tokens_of(prompt: bytes) -> int:
    return max(1, len(prompt) // BYTES_PER_TOKEN)


def vector_of(prompt: bytes, dimensions: int) -> list[float]:
    """An embedding: numbers from -1 to 1 which a float of 32 bits holds exactly."""
    return [(byte - 128) / 128 for byte in hashlib.shake_256(prompt).digest(dimensions)]
