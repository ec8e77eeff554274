"""One call as the caller asked for it: the record that bodies/ fills, and the checks of single fields.

What leaves is what was priced: the body sent upstream is the serialisation of the one that was read, so a duplicate
key, a number past 64 bits or a lone surrogate cannot mean one thing to us and another to the provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rabbitgw.billing.hold_bounds import NO_MEDIA, Media
from rabbitgw.billing.wanted import Wanted
from rabbitgw.errors import BodyTooLarge, RequestInvalid
from rabbitgw.proxy.dialects import Dialect

if TYPE_CHECKING:
    from rabbitgw.proxy.bodies.form import Part

OUTPUT_TOKENS_MAX: Final = 10_000_000
FIELD_CHARS_SHOWN: Final = 64


@dataclass(slots=True)
class Call:
    """`body` is the parsed body, ours to change; `body_bytes` the length as received.

    parts: what needs a price of its own, beside input and output (names of billing.prices.unpriced_parts).
    tool_uses: how often each tool on the provider's side may be used, by the name of its price.
    wanted: of a call for images or sound, what it asks for; None of every other. form: of a body that is a form, its
    parts, of which `body` has the texts.
    """

    dialect: Dialect
    body: dict[str, Any]
    body_bytes: int
    model: str
    stream: bool = False
    wants_usage: bool = True  # the caller asked for the usage chunk itself, or the dialect has none to hide
    choices: int = 1  # answers that are produced
    output_limit: int | None = None  # tokens per choice, as the caller limited them
    least_output: int = 0  # tokens per choice that no limit of ours may go below
    media: Media = NO_MEDIA  # what is bounded by kind, not by its bytes
    media_bytes: int = 0  # the bytes of it inside the body
    predicted_bytes: int = 0  # of text offered as a prediction: what of it is rejected is billed as output
    long_cache: bool = False  # it may ask for a cache kept longer, and dearer, than the usual one
    tier: str | None = None  # asked for; what is served is seen in the answer
    parts: list[str] = field(default_factory=list)
    tool_uses: Mapping[str, int] = field(default_factory=dict)
    wanted: Wanted | None = None
    form: list[Part] | None = None

    def limit_output(self, tokens: int) -> None:
        """Lower the output limit in each field that the caller used, else set it in the dialect's newest one."""
        body, fields = self.body, self.dialect.output_limit_fields
        used = False
        for name in fields:
            limit = body.get(name)
            if limit is not None:
                used = True
                if limit > tokens or not limit:
                    body[name] = tokens
        if not used and fields:
            body[fields[-1]] = tokens
        self.output_limit = tokens


def optional(body: dict[str, Any], field: str, kind: type) -> Any:
    """A field that may be absent or null, of one JSON type. Raises: RequestInvalid naming it."""
    value = body.get(field)
    if value is None or isinstance(value, kind):
        return value
    raise RequestInvalid(f"{field}: must be {json_name(kind)}, not {json_name(type(value))}", field=field)


def json_name(kind: type) -> str:
    names = {bool: "a boolean", dict: "an object", list: "an array", str: "a string"}
    return names.get(kind, "a number")


def optional_count(body: dict[str, Any], field: str, most: int) -> int | None:
    """A whole number from 1 to `most`, which may be absent or null. Raises: RequestInvalid naming it."""
    value = body.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise RequestInvalid(f"{field}: must be an integer from 1 to {most}", field=field)
    return value


def output_limit(call: Call) -> int | None:
    """The caller's limit. Where both names are used the provider may obey either, so the larger one counts."""
    body = call.body
    most: int | None = None
    for name in call.dialect.output_limit_fields:
        if name in body:
            limit = body[name]
            if limit.__class__ is not int or not 0 < limit <= OUTPUT_TOKENS_MAX:
                limit = optional_count(body, name, OUTPUT_TOKENS_MAX)
            if limit is not None and (most is None or limit > most):
                most = limit
    return most


def only_fields(body: dict[str, Any], known: frozenset[str]) -> None:
    """Of an API whose other fields might cost unseen. Raises: RequestInvalid naming one that is not known."""
    for name in body:
        if name not in known:
            shown = name[:FIELD_CHARS_SHOWN]
            raise RequestInvalid(f"{shown}: not a field of this API; leave it out", field=shown)


def check_size(call: Call) -> None:
    """Of a body that came with its head; one that comes later is measured while it comes. Raises: BodyTooLarge."""
    limit = call.dialect.body_bytes_max
    if limit is not None and call.body_bytes > limit:
        raise BodyTooLarge(f"the body is larger than the limit of {limit} bytes")


def no_stored_object(body: dict[str, Any], *names: str) -> None:
    """Refuse ids of objects stored at the provider: all callers share one account there, and it could be another's.

    Raises: RequestInvalid naming the field.
    """
    for name in names:
        if body.get(name) is not None:
            raise stored_object(name)


def stored_object(name: str) -> RequestInvalid:
    return RequestInvalid(
        f"{name}: objects stored at the provider cannot be used here; send their content instead", field=name
    )
