"""Bodies of multipart/form-data: read whole, checked, and written anew.

What leaves is what was priced, here too: the parts go upstream in a body that is written here, so no two parsers can
find different parts in it. Read by python-multipart, which is also what LiteLLM reads with.
Owns what a form may be; what its fields mean is the reader's of each dialect. A name that stands twice is refused, but
for lists (`include[]`): of two models one would be priced and the other asked.
Source: RFC 7578; WHATWG HTML, "multipart/form-data encoding algorithm".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from rabbitgw.errors import RequestInvalid

PARTS_MAX: Final = 64
TEXT_BYTES_MAX: Final = 256 * 1024  # of a field that is no file
NAME_CHARS_MAX: Final = 64
FILENAME_CHARS_MAX: Final = 255
LIST_MARK: Final = "[]"
BOUNDARY: Final = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_TYPE: Final = re.compile(rb"[\x21-\x7e]{1,64}/[\x20-\x7e]{1,192}")
_PLAIN_CODINGS: Final = (b"", b"7bit", b"8bit", b"binary")
_ESCAPES: Final = {'"': "%22", "\r": "%0D", "\n": "%0A"}


@dataclass(slots=True)
class Part:
    """One field of a form. filename: None for a text."""

    name: str
    data: bytes
    filename: str | None = None
    content_type: bytes = b""


@dataclass(slots=True)
class _Reading:
    """The part that is read now, as the parser calls."""

    parts: list[Part] = field(default_factory=list)
    ended: bool = False
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    name: bytes = b""
    value: bytes = b""
    pieces: list[bytes] = field(default_factory=list)

    def part_begin(self) -> None:
        if len(self.parts) >= PARTS_MAX:
            raise RequestInvalid(f"the form has more than {PARTS_MAX} parts")
        self.headers, self.pieces = [], []

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self.name += data[start:end]  # the parser has a limit

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def header_end(self) -> None:
        self.headers.append((self.name.strip().lower(), self.value.strip()))
        self.name = self.value = b""

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self.pieces.append(data[start:end])

    def part_end(self) -> None:
        self.parts.append(_part(self.headers, b"".join(self.pieces)))

    def end(self) -> None:
        self.ended = True


def parse_form(raw: bytes, boundary: bytes) -> list[Part]:
    """The parts of a body, in their order.

    Raises: RequestInvalid for what is no whole form, or one with a name twice; it names the field where there is one.
    """
    reading = _Reading()
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": reading.part_begin,
            "on_header_field": reading.header_field,
            "on_header_value": reading.header_value,
            "on_header_end": reading.header_end,
            "on_part_data": reading.part_data,
            "on_part_end": reading.part_end,
            "on_end": reading.end,
        },
    )
    try:
        parser.write(raw)
        parser.finalize()
    except FormParserError as error:
        raise RequestInvalid(f"the body is not the form that its boundary says: {error}") from None
    if not reading.ended:
        raise RequestInvalid("the form has no end: its last boundary is missing")
    names = [part.name for part in reading.parts]
    for name in names:
        if names.count(name) > 1 and not name.endswith(LIST_MARK):
            raise RequestInvalid(f"{name}: stands more than once in the form", field=name)
    return reading.parts


def fields_of(parts: list[Part]) -> dict[str, str | list[str]]:
    """The texts of a form by name; those of lists as lists. Raises: RequestInvalid naming the field."""
    fields: dict[str, str | list[str]] = {}
    for part in parts:
        if part.filename is not None:
            continue
        if len(part.data) > TEXT_BYTES_MAX:
            raise RequestInvalid(f"{part.name}: longer than {TEXT_BYTES_MAX} bytes", field=part.name)
        try:
            text = part.data.decode()
        except UnicodeDecodeError:
            raise RequestInvalid(f"{part.name}: is not UTF-8", field=part.name) from None
        known = fields.setdefault(part.name, [] if part.name.endswith(LIST_MARK) else text)
        if isinstance(known, list):
            known.append(text)
    return fields


def files_of(parts: list[Part], *names: str) -> list[Part]:
    """The files of a form. Raises: RequestInvalid for one under another name, or a text under one of these."""
    for part in parts:
        if (part.filename is not None) != (part.name in names):
            wanted = "a file with its name" if part.name in names else "a text and no file"
            raise RequestInvalid(f"{part.name}: must be {wanted}", field=part.name)
    return [part for part in parts if part.filename is not None]


def form_boundary(request_id: str) -> bytes:
    """Nobody who sends a file knows it beforehand."""
    return b"rabbitgw-" + request_id.encode()


def form_type(request_id: str) -> bytes:
    """The header line that belongs to `write_form`."""
    return b"content-type: multipart/form-data; boundary=%b\r\n" % form_boundary(request_id)


def write_form(parts: list[Part], request_id: str) -> bytes:
    boundary = form_boundary(request_id)
    pieces = []
    for part in parts:
        pieces.append(b'--%b\r\ncontent-disposition: form-data; name="%b"' % (boundary, _quoted(part.name)))
        if part.filename is not None:
            pieces.append(
                b'; filename="%b"\r\ncontent-type: %b' % (_quoted(part.filename), part.content_type)
            )
        pieces += [b"\r\n\r\n", part.data, b"\r\n"]
    pieces.append(b"--%b--\r\n" % boundary)
    return b"".join(pieces)


def _part(headers: list[tuple[bytes, bytes]], data: bytes) -> Part:
    stated: dict[bytes, bytes] = {}
    for header, value in headers:
        if header in stated:
            raise RequestInvalid("a part of the form has a header twice")
        stated[header] = value
    if stated.get(b"content-transfer-encoding", b"").lower() not in _PLAIN_CODINGS:
        raise RequestInvalid("content-transfer-encoding: send the parts of a form as they are")
    kind, options = parse_options_header(stated.get(b"content-disposition", b""))
    raw_name = options.get(b"name")
    if kind != b"form-data" or not raw_name:
        raise RequestInvalid("a part of the form has no name")
    name = raw_name.decode("utf-8", "replace")
    if len(name) > NAME_CHARS_MAX or not name.isprintable():
        raise RequestInvalid("a part of the form has a name that no field has")
    raw_filename = options.get(b"filename")
    if raw_filename is None:
        return Part(name, data)
    filename = raw_filename.decode("utf-8", "replace")
    if not 0 < len(filename) <= FILENAME_CHARS_MAX:
        raise RequestInvalid(f"{name}: a file name has 1 to {FILENAME_CHARS_MAX} characters", field=name)
    stated_type = stated.get(b"content-type", b"")
    return Part(
        name, data, filename, stated_type if _TYPE.fullmatch(stated_type) else b"application/octet-stream"
    )


def _quoted(text: str) -> bytes:
    return "".join(_ESCAPES.get(letter, letter) for letter in text).encode("utf-8", "replace")
