"""Bodies of image generations, and forms of image edits: a prompt and images in, images out, never streamed.

Providers have many fields by which more is made or larger; one that is not known here is refused, as it was not priced.
Source: openai-python types/image_generate_params.py, types/image_edit_params.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from rabbitgw.billing.wanted import Wanted
from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.bodies.form import Part, files_of
from rabbitgw.proxy.bodies.shape import Shape
from rabbitgw.proxy.call import Call, check_size, only_fields, optional, optional_count

IMAGES_MAX: Final = 10
INPUT_IMAGES_MAX: Final = 16
PROMPT_CHARS_MAX: Final = 32_000
WORD_CHARS_MAX: Final = 32
_KNOWN: Final = frozenset(
    {
        *("model", "prompt", "n", "size", "quality", "style", "response_format", "user", "stream"),
        *("background", "moderation", "output_format", "output_compression"),
    }
)
_EDIT: Final = (_KNOWN - {"style", "moderation"}) | {"image", "image[]", "mask", "input_fidelity"}
_FILES: Final = ("image", "image[]", "mask")
_COUNTS: Final = frozenset(map(str, range(1, IMAGES_MAX + 1)))


def read_images(call: Call) -> None:
    check_size(call)
    only_fields(call.body, _KNOWN)
    if optional(call.body, "stream", bool):
        raise RequestInvalid("stream: images are not streamed here", field="stream")
    call.wanted = _wanted(call, optional_count(call.body, "n", IMAGES_MAX) or 1)


def read_edit(call: Call, parts: list[Part]) -> None:
    """Raises: RequestInvalid naming the field."""
    body = call.body
    only_fields(dict.fromkeys(part.name for part in parts), _EDIT)
    files = files_of(parts, *_FILES)
    images = [file for file in files if file.name != "mask"]
    if not 0 < len(images) <= INPUT_IMAGES_MAX:
        raise RequestInvalid(f"image: 1 to {INPUT_IMAGES_MAX} files of images are required", field="image")
    if body.get("stream", "false") != "false":
        raise RequestInvalid("stream: images are not streamed here", field="stream")
    count = body.get("n", "1")
    if count not in _COUNTS:
        raise RequestInvalid(f"n: must be an integer from 1 to {IMAGES_MAX}", field="n")
    call.media_bytes = sum(len(file.data) for file in files)
    # at high fidelity an image is read a second time, in more tokens
    readings = 1 if body.get("input_fidelity", "low") == "low" else 2
    call.wanted = replace(
        _wanted(call, int(count)), input_images=len(files) * readings, parts=("image_input",)
    )


def name_account(call: Call, user: str) -> None:
    """Let upstream count for the account."""
    assert call.form is not None
    call.form[:] = [part for part in call.form if part.name != "user"]
    call.form.append(Part("user", user.encode()))


def _wanted(call: Call, images: int) -> Wanted:
    prompt = call.body.get("prompt")
    if not isinstance(prompt, str) or not 0 < len(prompt) <= PROMPT_CHARS_MAX:
        raise RequestInvalid(
            f"prompt: a text of 1 to {PROMPT_CHARS_MAX} characters is required", field="prompt"
        )
    return Wanted(
        images=images,
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
