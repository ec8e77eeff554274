"""What a call has stated so far, as the transports of the meter (stream.py, plain.py) show it to the relay.

Owns the one judgement made here: zeros that were stated for an answer with output are no statement.
"""

from __future__ import annotations

from typing import Any

from rabbitgw.billing.usage import Made, Usage
from rabbitgw.proxy.meter.numbers import Object
from rabbitgw.proxy.meter.reading import Reader


class Stated:
    """The view on a dialect's reader that a streamed and a plain answer have in common."""

    __slots__ = ("_reader",)

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def usage(self) -> Usage | None:
        """As stated so far. None when nothing was, or when zeros were stated for an answer that has output."""
        reader = self._reader
        usage = reader.usage()
        if usage is None or usage.input_tokens or usage.output_tokens:
            return usage
        return None if self._is_zero(usage) else usage

    def whole_usage(self) -> Usage | None:
        """`usage`, if input and output were stated, are not zero, and no error was: one call for five."""
        reader = self._reader
        if reader.error is None and reader.input_stated and reader.output_stated:
            usage = reader.usage()
            if usage is not None and (usage.input_tokens or usage.output_tokens):
                return usage
        return None

    @property
    def zero_usage(self) -> bool:
        """Usage was stated as zero although output came: worth an alert, to be estimated."""
        return self._is_zero(self._reader.usage())

    @property
    def input_stated(self) -> bool:
        """False where the stated usage has no count of the input."""
        return self._reader.input_stated

    @property
    def output_stated(self) -> bool:
        """The stated usage counts the output; False where it holds a placeholder (Anthropic's message_start)."""
        return self._reader.output_stated

    @property
    def error(self) -> Object | None:
        """An error that upstream sent inside the answer: type, message, code, each or None."""
        return self._reader.error

    @property
    def model(self) -> str | None:
        """The model that upstream named last; after a fallback of LiteLLM's, the one that served."""
        return self._reader.model

    @property
    def images(self) -> int:
        """Images delivered whole, for models that are sold by the image."""
        return self._reader.images

    @property
    def made(self) -> Made | None:
        """What the answer shows of the images in it."""
        return self._reader.made

    @property
    def stated_cost(self) -> Any:
        """The `cost` of the stated usage: what LiteLLM puts there if it is set to, and other routers always."""
        stated = self._reader.stated_object
        return stated.get("cost") if stated is not None else None

    @property
    def delivered_any(self) -> bool:
        """Some output came: not only comments, roles, notices or errors."""
        return self._reader.delivered_any

    def _is_zero(self, usage: Usage | None) -> bool:
        if usage is None or not self._reader.delivered_any:
            return False
        return not (usage.input_tokens or usage.output_tokens or usage.seconds_milli)
