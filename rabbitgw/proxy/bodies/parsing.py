"""From bytes to a Call, and from a Call to the body that goes upstream: what every dialect has in common.

Owns JSON and its limits, and the model's name; which names are refused is names.py's, the rest the dialect's reader's.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Any, Final

import orjson

from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.bodies.anthropic_messages import COUNT_TOKENS_BODY, MESSAGES_BODY
from rabbitgw.proxy.bodies.form import write_form
from rabbitgw.proxy.bodies.names import check_members, check_metadata, check_names
from rabbitgw.proxy.bodies.openai_chat import CHAT_BODY
from rabbitgw.proxy.bodies.openai_completions import COMPLETIONS_BODY
from rabbitgw.proxy.bodies.openai_embeddings import EMBEDDINGS_BODY
from rabbitgw.proxy.bodies.openai_images import IMAGES_BODY, name_account
from rabbitgw.proxy.bodies.openai_responses import RESPONSES_BODY
from rabbitgw.proxy.bodies.openai_speech import SPEECH_BODY
from rabbitgw.proxy.bodies.shape import Shape
from rabbitgw.proxy.call import Call, optional
from rabbitgw.proxy.dialects import (
    CHAT,
    COMPLETIONS,
    COUNT_TOKENS,
    EMBEDDINGS,
    IMAGE_EDITS,
    IMAGES,
    MESSAGES,
    RESPONSES,
    SPEECH,
    Dialect,
)

MODEL_CHARS_MAX: Final = 256
# 32 MiB can hold ten million values: seconds of the loop's time, and a gigabyte. The longest prompts of token ids have
# some hundred thousand.
VALUES_MAX: Final = 500_000
DEPTH_MAX: Final = 254  # levels that orjson writes
# From a value to the comma or bracket before the next one, over whole strings; never tries a byte twice.
_TO_NEXT_VALUE: Final = re.compile(
    rb'(?:"[^"\\]*+(?:\\.?[^"\\]*+)*+(?:"|\Z)|[^",\[{]++)*+(?:([,\[{])|\Z)', re.DOTALL
)
LONG_CACHE: Final = re.compile(rb'"(?:t|\\u0074){2}(?:l|\\u006[cC])"')  # a member named ttl, escaped or not
# Every digit becomes a 0: a run of them is then found by a plain search, fifteen times as fast as by a pattern.
_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_MANY_DIGITS: Final = b"0" * 19
# So many digits hold three of each sixth byte, one behind the other: a sixth of the bytes tells of most bodies.
_STRIDE: Final = 6
_STRIDE_DIGITS: Final = b"0" * (len(_MANY_DIGITS) // _STRIDE)
INT64_MAX: Final = 2**63 - 1
SHAPES: Final[dict[str, Shape]] = {
    CHAT.name: CHAT_BODY,
    COMPLETIONS.name: COMPLETIONS_BODY,
    RESPONSES.name: RESPONSES_BODY,
    MESSAGES.name: MESSAGES_BODY,
    COUNT_TOKENS.name: COUNT_TOKENS_BODY,
    EMBEDDINGS.name: EMBEDDINGS_BODY,
    IMAGES.name: IMAGES_BODY,
    SPEECH.name: SPEECH_BODY,
}


def parse_call(dialect: Dialect, raw: bytes) -> Call:
    """Read and check a body.

    Raises: RequestInvalid naming the field.
    """
    shape = SHAPES[dialect.name]
    body = parse_object(raw)
    if not body.keys() <= shape.unchecked:
        check_names(body, shape.priced_fields)
        check_members(body)
    model = checked_model(body)
    if "metadata" in body:
        metadata = optional(body, "metadata", dict)
        if metadata:
            check_metadata(metadata, anthropic=dialect.anthropic)
    call = Call(dialect, body, len(raw), model)
    shape.read(call)
    if not call.long_cache and (b'"ttl"' in raw or (b"\\" in raw and b"\\u00" in raw)):
        call.long_cache = LONG_CACHE.search(raw) is not None
    return call


def checked_model(body: dict[str, Any]) -> str:
    """Raises: RequestInvalid."""
    model = body.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= MODEL_CHARS_MAX:
        raise RequestInvalid(
            f"model: a string of 1 to {MODEL_CHARS_MAX} characters is required", field="model"
        )
    return model


def upstream_body(call: Call, *, user: str, request_id: str) -> bytes:
    """The body that goes upstream: usage asked for, the account as the user, our request id in the metadata."""
    if call.form is not None:
        if call.dialect is IMAGE_EDITS:
            name_account(call, user)
        return write_form(call.form, request_id)
    SHAPES[call.dialect.name].mark(call, user, request_id)
    return orjson.dumps(call.body)


def parse_object(raw: bytes) -> dict[str, Any]:
    """Raises: RequestInvalid for what is no JSON object, or one that cannot be handled in bounded time and memory."""
    size = len(raw)  # of what each of the limits needs some bytes: most bodies are too small to pass any
    opened = raw.count(b"[") + raw.count(b"{") if size > 2 * DEPTH_MAX else 0
    if size > VALUES_MAX and opened + raw.count(b",") > VALUES_MAX and is_crowded(raw):
        raise RequestInvalid(f"the body holds more than {VALUES_MAX} values and brackets")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestInvalid(f"the body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise RequestInvalid("the body must be a JSON object")
    if opened > DEPTH_MAX and is_too_deep(body):
        raise RequestInvalid(f"the body is nested more than {DEPTH_MAX} levels deep")
    # orjson reads an integer past 64 bits as a float; refuse it rather than send another number on
    if (
        _STRIDE_DIGITS in raw[::_STRIDE].translate(_DIGITS)
        and _MANY_DIGITS in raw.translate(_DIGITS)
        and has_huge_number(body)
    ):
        raise RequestInvalid("the body holds an integer past 64 bits")
    return body


def is_crowded(raw: bytes) -> bool:
    """More than VALUES_MAX commas and opening brackets; a text may be full of them, so strings are passed over."""
    beyond = next(islice(_TO_NEXT_VALUE.finditer(raw), VALUES_MAX, None), None)
    return beyond is not None and beyond[1] is not None  # else it is the end of the body


def is_too_deep(body: dict[str, Any]) -> bool:
    """orjson reads deeper than it writes, and what was read is to be sent on."""
    try:
        orjson.dumps(body)
    except orjson.JSONEncodeError:
        return True
    return False


def has_huge_number(body: dict[str, Any]) -> bool:
    pending: list[dict[str, Any] | list[Any]] = [body]
    while pending:
        holder = pending.pop()
        for item in holder.values() if isinstance(holder, dict) else holder:
            kind = type(item)
            if kind is dict or kind is list:
                pending.append(item)
            elif (kind is int or kind is float) and abs(item) > INT64_MAX:
                return True
    return False
