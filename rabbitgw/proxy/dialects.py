"""The API shapes that callers speak: which path is which dialect, and what tells one from the other.

A plain table. How a body of each is read stands in bodies/, how an answer of each is metered in meter/, how an error
looks in each in error_shapes.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Dialect:
    """One data-plane route.

    output_limit_fields: any of these limits the output; the last is set when none is there.
    streams: it has a streamed form. has_output: the answer holds tokens that are charged as output.
    free: nothing of it is charged; it holds nothing and is released at its end.
    scope: what a key must be for: the name without its provider's.
    """

    name: str
    path: str
    output_limit_fields: tuple[str, ...] = ()
    anthropic: bool = False
    streams: bool = True
    has_output: bool = True
    free: bool = False
    scope: str = field(init=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "scope", self.name.partition("-")[2].replace("-", "_"))


CHAT: Final = Dialect("openai-chat", "/v1/chat/completions", ("max_tokens", "max_completion_tokens"))
COMPLETIONS: Final = Dialect("openai-completions", "/v1/completions", ("max_tokens",))
RESPONSES: Final = Dialect("openai-responses", "/v1/responses", ("max_output_tokens",))
MESSAGES: Final = Dialect("anthropic-messages", "/v1/messages", ("max_tokens",), anthropic=True)
COUNT_TOKENS: Final = Dialect(
    "anthropic-count-tokens",
    "/v1/messages/count_tokens",
    anthropic=True,
    streams=False,
    has_output=False,
    free=True,
)
EMBEDDINGS: Final = Dialect("openai-embeddings", "/v1/embeddings", streams=False, has_output=False)

DIALECTS: Final = (CHAT, COMPLETIONS, RESPONSES, MESSAGES, COUNT_TOKENS, EMBEDDINGS)


def shape_of(path: str) -> Dialect:
    """The dialect in which a path that is not sold is refused: whoever asks there speaks it."""
    return MESSAGES if path.startswith(MESSAGES.path) else CHAT
