"""Bodies of image generations: a prompt in, images out, never streamed.

Providers have many fields by which more is made or larger; one that is not known here is refused, as it was not priced.
Source: openai-python types/image_generate_params.py.
"""

from __future__ import annotations

from typing import Final

from rabbitgw.billing.wanted import Wanted
from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.bodies.shape import Shape
from rabbitgw.proxy.call import Call, check_size, only_fields, optional, optional_count

IMAGES_MAX: Final = 10
PROMPT_CHARS_MAX: Final = 32_000
WORD_CHARS_MAX: Final = 32
_KNOWN: Final = frozenset(
    {
        *("model", "prompt", "n", "size", "quality", "style", "response_format", "user", "stream"),
        *("background", "moderation", "output_format", "output_compression"),
    }
)


def read_images(call: Call) -> None:
    body = call.body
    check_size(call)
    only_fields(body, _KNOWN)
    if optional(body, "stream", bool):
        raise RequestInvalid("stream: images are not streamed here", field="stream")
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not 0 < len(prompt) <= PROMPT_CHARS_MAX:
        raise RequestInvalid(
            f"prompt: a text of 1 to {PROMPT_CHARS_MAX} characters is required", field="prompt"
        )
    call.wanted = Wanted(
        images=optional_count(body, "n", IMAGES_MAX) or 1,
        size=word(call, "size"),
        quality=word(call, "quality"),
        text_bytes=len(prompt.encode("utf-8", "surrogatepass")),
    )


def word(call: Call, field: str) -> str:
    """A field that chooses by name; empty where it is not there. Raises: RequestInvalid naming it."""
    value = optional(call.body, field, str) or ""
    if len(value) > WORD_CHARS_MAX or value != value.strip().lower():
        raise RequestInvalid(f"{field}: a name in lower case, such as auto, is wanted", field=field)
    return str(value)


def mark_images(call: Call, user: str, request_id: str) -> None:
    """This API has no metadata: our id goes up in a header alone."""
    del request_id
    call.body["user"] = user


IMAGES_BODY: Final = Shape(_KNOWN, read_images, mark_images)
