"""The API shapes that callers speak: which path is which dialect, and what tells one from the other.

A plain table. How a body of each is read stands in bodies/, how an answer of each is metered in meter/, how an error
looks in each in error_shapes.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

JSON_TYPES: Final = (b"application/json", b"application/problem+json")


@dataclass(frozen=True, slots=True)
class Dialect:
    """One data-plane route.

    output_limit_fields: any of these limits the output; the last is set when none is there.
    streams: it has a streamed form. has_output: the answer holds tokens that are charged as output.
    free: nothing of it is charged; it holds nothing and is released at its end.
    media: it makes or reads images or sound: its worst case is held, and it is not stopped midway.
    form: its body is multipart/form-data instead of JSON. body_bytes_max: a limit below that of the settings.
    answers: the content types, or their beginnings, of an answer that is not streamed.
    scope: what a key must be for: the name without its provider's.
    """

    name: str
    path: str
    output_limit_fields: tuple[str, ...] = ()
    anthropic: bool = False
    streams: bool = True
    has_output: bool = True
    free: bool = False
    media: bool = False
    form: bool = False
    body_bytes_max: int | None = None
    answers: tuple[bytes, ...] = JSON_TYPES
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

PROMPT_BYTES_MAX: Final = 512 * 1024  # of a body that holds a text for an image or a speech
IMAGES: Final = Dialect(
    "openai-images",
    "/v1/images/generations",
    streams=False,
    has_output=False,
    media=True,
    body_bytes_max=PROMPT_BYTES_MAX,
)
IMAGE_EDITS: Final = Dialect(
    "openai-image-edits",
    "/v1/images/edits",
    streams=False,
    has_output=False,
    media=True,
    form=True,
)
SPEECH: Final = Dialect(
    "openai-speech",
    "/v1/audio/speech",
    has_output=False,
    media=True,
    body_bytes_max=PROMPT_BYTES_MAX,
    answers=(b"audio/", b"application/octet-stream", b"binary/octet-stream"),
)
SOUND_BYTES_MAX: Final = 26 * 1024 * 1024  # OpenAI takes files of 25 MB
WORDS: Final = (*JSON_TYPES, b"text/", b"application/x-subrip")
TRANSCRIPTIONS: Final = Dialect(
    "openai-transcriptions",
    "/v1/audio/transcriptions",
    has_output=False,
    media=True,
    form=True,
    body_bytes_max=SOUND_BYTES_MAX,
    answers=WORDS,
)
TRANSLATIONS: Final = Dialect(
    "openai-translations",
    "/v1/audio/translations",
    streams=False,
    has_output=False,
    media=True,
    form=True,
    body_bytes_max=SOUND_BYTES_MAX,
    answers=WORDS,
)
MEDIA_DIALECTS: Final = (IMAGES, IMAGE_EDITS, SPEECH, TRANSCRIPTIONS, TRANSLATIONS)
ALL_DIALECTS: Final = (*DIALECTS, *MEDIA_DIALECTS)


def shape_of(path: str) -> Dialect:
    """The dialect in which a path that is not sold is refused: whoever asks there speaks it."""
    return MESSAGES if path.startswith(MESSAGES.path) else CHAT
