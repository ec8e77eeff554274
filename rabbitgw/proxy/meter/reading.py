"""What a dialect reader is: it is shown the events of one call, or its one body, and keeps what was stated.

Owns the contract between the transports of the meter (stream.py, plain.py) and the readers, one file per
dialect. A reader never sees how bytes were cut. Events that cannot say anything are not parsed: `passes` and
`is_silent` decide that by cheap byte tests, which may err only towards parsing.
"""

from __future__ import annotations

import enum
from typing import Any, ClassVar

from rabbitgw.billing.usage import Made, Usage
from rabbitgw.proxy.meter.numbers import Object, obj, parse
from rabbitgw.proxy.sse import Event


class Kind(enum.Enum):
    """What an event is to the relay."""

    OUTPUT = enum.auto()  # carries a piece of the answer as text
    MEDIA = enum.auto()  # carries a piece of the answer as base64 of audio or an image
    BLANK = enum.auto()  # one of the answer's events without a piece of it: a role, a finish reason
    ASIDE = enum.auto()  # carries no output
    USAGE_ONLY = enum.auto()  # the chunk that include_usage asks for, and nothing else
    TERMINAL = enum.auto()  # the dialect's terminal frame
    CLOSING = enum.auto()  # terminal if nothing follows, in dialects that end with the body


class Reader:
    """Base of the dialect readers; on its own the reader of a dialect that states no usage (moderations)."""

    dialect: ClassVar[str] = "openai-moderations"
    hides_usage: ClassVar[bool] = False  # has a usage chunk of its own that can be cut out
    # What no event may hold that is taken for one like an earlier one (alike.py). None: `passes` is as cheap as that.
    unlike: ClassVar[bytes | None] = None
    body_bytes_per_token: ClassVar[int] = (
        4  # for the estimate of a body that cannot be read; 0: it has no output
    )

    # Unnamed models are looked for in the first events only.
    _NAMING_EVENTS: ClassVar[int] = 4

    # Of one call, and of the class until it is found otherwise: most of them never are, and each store costs time.
    model: str | None = None
    tier: str | None = None
    choices: int = 1  # answers asked for (`n`)
    error: Object | None = None
    finish_seen: bool = False
    delivered_any: bool = False
    input_stated: bool = True  # False: usage was stated, and no count of the input in it
    output_stated: bool = False  # the stated usage counts the whole output, not a placeholder for it
    images: int = 0
    made: Made | None = None  # what is shown of the images, of a dialect that makes any
    _named: bool = False  # the first events, which name the model, are read
    _tries: int = 0

    # What the transports ask

    @property
    def may_pass(self) -> bool:
        """Pieces of ordinary events need no look: the model is known and output has been seen."""
        return self._named and self.delivered_any

    def passes(self, piece: bytes) -> int:
        """How many events `piece` is, if it is whole text output events that say nothing else; 0 when unsure.

        `piece` begins at an event's begin.
        """
        del piece
        return 0

    def is_silent(self, name: bytes, data: bytes) -> bool:
        """Whether an event surely is text output that says nothing else."""
        del name, data
        return False

    def is_media(self, head: bytes) -> bool:
        """Whether a large event under way carries base64, by the beginning of its data."""
        del head
        return False

    def may_end(self, name: bytes, data: bytes, *, large: bool) -> bool:
        """Whether an event whose data has come, but not its blank line, may turn out terminal."""
        del name, large
        return data.startswith(b"[DONE]")

    def pending_kind(self, name: bytes, head: bytes) -> Kind:
        """What a large event under way is, by its name and the beginning of its data."""
        del name
        return Kind.MEDIA if self.is_media(head) else Kind.OUTPUT

    def read(self, event: Event) -> Kind:
        """Take one event."""
        data = event.data
        if data.startswith(b"[DONE]"):
            self.finish_seen = True
            return Kind.TERMINAL
        if self._named and self.delivered_any and not event.large and self.is_silent(event.name, data):
            return Kind.OUTPUT
        document = parse(data)
        if not isinstance(document, dict):
            if not event.large:
                return Kind.ASIDE
            kind = self.pending_kind(event.name, data)
            self.delivered_any = self.delivered_any or kind is not Kind.ASIDE
            return kind
        kind = self.take_event(event.name, document)
        if kind is Kind.BLANK:
            # the output of a large event was left out of the document, so this one may have had some
            kind = Kind.OUTPUT if event.large else Kind.ASIDE
        if event.large and kind in (Kind.OUTPUT, Kind.MEDIA):
            self.delivered_any = True  # its output was left out of the document
        if kind in (Kind.TERMINAL, Kind.CLOSING):
            self.finish_seen = True
        if not self._named:
            self._tries += 1
            self._named = self.model is not None or self._tries >= self._NAMING_EVENTS
        return kind

    # What each dialect says

    @property
    def stated_object(self) -> Object | None:
        """The usage as it was stated, of a dialect that keeps it whole."""
        stated: Object | None = getattr(self, "_stated", None)
        return stated

    def take_event(self, name: bytes, document: Object) -> Kind:
        """Take a parsed event."""
        del name
        self.take_error(document.get("error"))
        return Kind.ASIDE

    def take_body(self, document: Any) -> None:
        """Take the body of an answer that is not streamed."""
        if isinstance(document, dict):
            self.take_names(document)
            self.take_error(document.get("error"))
            self.delivered_any = self.error is None

    def usage(self) -> Usage | None:
        """As stated so far; None when nothing was."""
        return None

    def output_text(self, document: Any) -> str:
        """The output in an event or body, for estimates."""
        del document
        return ""

    # For the readers

    def take_names(self, document: Object) -> None:
        """The model that served and the tier that was served: the last that was named counts."""
        model, tier = document.get("model"), document.get("service_tier")
        if model and isinstance(model, str):
            self.model = model
        if tier and isinstance(tier, str):
            self.tier = tier

    def take_error(self, error: Any) -> None:
        """An error object or text; the first one counts, later ones only fill what it left out."""
        if not error:
            return
        said = obj(error) or {"message": str(error)}
        known = self.error or {}
        self.error = {name: known.get(name) or said.get(name) for name in ("type", "message", "code")}


def is_whole(piece: bytes) -> bool:
    """Whether a piece ends with a blank line, all its lines being ended by LF alone."""
    return piece.endswith(b"\n\n") and b"\r" not in piece


def is_null(data: bytes, key: bytes, null: bytes) -> bool:
    """Whether a member is absent or null wherever its name stands, without parsing.

    `key` is the quoted name, `null` the same with its null. Inside a JSON string the quotes of a name would
    be escaped, so text cannot look like one.
    """
    at = data.find(key)
    while at >= 0:
        if not data.startswith(null, at):
            return False
        at = data.find(key, at + len(null))
    return True
