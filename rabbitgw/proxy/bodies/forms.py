"""From a form to a Call: the fields that every form has, and which reader reads the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rabbitgw.proxy.bodies.form import Part, fields_of, parse_form
from rabbitgw.proxy.bodies.openai_audio import read_transcription, read_translation
from rabbitgw.proxy.bodies.openai_images import read_edit
from rabbitgw.proxy.bodies.parsing import checked_model
from rabbitgw.proxy.call import Call, check_size
from rabbitgw.proxy.dialects import IMAGE_EDITS, TRANSCRIPTIONS, TRANSLATIONS, Dialect

READERS: Final[dict[str, Callable[[Call, list[Part]], None]]] = {
    TRANSCRIPTIONS.name: read_transcription,
    TRANSLATIONS.name: read_translation,
    IMAGE_EDITS.name: read_edit,
}


def parse_form_call(dialect: Dialect, raw: bytes, boundary: bytes) -> Call:
    """Read and check a form. Raises: RequestInvalid naming the field, BodyTooLarge."""
    parts = parse_form(raw, boundary)
    fields: dict[str, Any] = dict(fields_of(parts))
    call = Call(dialect, fields, len(raw), checked_model(fields), form=parts)
    check_size(call)
    READERS[dialect.name](call, parts)
    return call
