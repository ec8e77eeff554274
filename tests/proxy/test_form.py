"""Forms: what is written is read back as it was, and what two parsers could read in two ways is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rabbitgw.clock import new_id
from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.bodies.form import Part, form_boundary, parse_form, write_form
from rabbitgw.proxy.request_headers import Heard

NAMES = st.sampled_from(("model", "file", "include[]", "prompt"))
DATA = st.one_of(st.binary(max_size=200), st.sampled_from((b"\r\n--rabbitgw-", b"--", b"\r\n", b"\r\n--")))
PARTS = st.lists(
    st.builds(Part, NAMES, DATA, st.sampled_from((None, "a.mp3", "ä b.wav")), st.just(b"audio/x")),
    unique_by=lambda part: part.name,
)


@given(PARTS)
def test_what_is_written_is_read_back(parts: list[Part]) -> None:
    for part in parts:
        if part.filename is None:
            part.content_type = b""
    request_id = new_id()
    assert parse_form(write_form(parts, request_id), form_boundary(request_id)) == parts


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no end"),
        (b"--b", "no end"),
        (b"{}", "not the form"),
        (b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n", "no end"),
        (b"--b\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--b--\r\n", "no name"),
        (b"--b\r\n" + b"Content-Disposition: form-data; name=a\r\n" * 2 + b"\r\nx\r\n--b--\r\n",
         "header twice"),
        (b"--b\r\nX: " + b"y" * 5_000 + b"\r\n\r\nx\r\n--b--\r\n", "header size"),
        (b'--b\r\nContent-Disposition: form-data; name="' + b"a" * 65 + b'"\r\n\r\nx\r\n--b--\r\n', "no field has"),
        (b'--b\r\nContent-Disposition: form-data; name=a; filename=""\r\n\r\nx\r\n--b--\r\n', "file name"),
    ],
)  # fmt: skip
def test_what_is_no_whole_form_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(RequestInvalid, match=words):
        parse_form(body, b"b")


@pytest.mark.parametrize(
    ("line", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data; charset=utf-8; Boundary="a b"', b"a b"),
        (b"multipart/form-data; boundary=" + b"a" * 71, None),
        (b"multipart/form-data; boundary=a\x00", None),
        (b"multipart/mixed; boundary=abc", None),
        (b"", None),
    ],
)
def test_the_boundary_of_a_form(line: bytes, boundary: bytes | None) -> None:
    heard = Heard([(b"content-type", line)])
    if boundary is not None:
        assert heard.form_boundary() == boundary
    else:
        with pytest.raises(RequestInvalid, match="boundary"):
            heard.form_boundary()
