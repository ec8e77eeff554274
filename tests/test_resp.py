"""Commands as bytes: what is written here is what hiredis packs, whole or filled in."""

from __future__ import annotations

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rabbitgw.resp import Argument, Open, bulk, command, template

texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["", "%", "%%d", "ü€\U0001f407", "\r\n$1"]
)
whole: st.SearchStrategy[Argument] = st.binary() | texts | st.integers()
opened = st.tuples(st.binary() | st.just(b"%b%%"), st.binary())  # what it begins with, and what is filled in


def packed(*args: Argument) -> bytes:
    return b"".join([hiredis.pack_command(tuple(args))])  # type: ignore[arg-type]  # its stub says: a tuple of one


@given(st.lists(whole, min_size=1))
def test_a_command_is_packed_as_hiredis_does(args: list[Argument]) -> None:
    assert command(args) == packed(*args)


@given(whole)
def test_an_argument_stands_as_in_a_command(argument: Argument) -> None:
    assert b"*1\r\n" + bulk(argument) == packed(argument)


@given(st.lists(whole | opened, min_size=1))
def test_a_template_filled_in_is_the_command(args: list[Argument | tuple[bytes, bytes]]) -> None:
    whole = packed(*(b"".join(one) if isinstance(one, tuple) else one for one in args))
    made = template([Open(one[0]) if isinstance(one, tuple) else one for one in args])
    filled: list[int | bytes] = []
    for one in args:
        if isinstance(one, tuple):
            filled += (len(one[0]) + len(one[1]), one[1])
    assert made % tuple(filled) == whole
    sized = template([Open(one[0], len(one[1])) if isinstance(one, tuple) else one for one in args])
    assert sized % tuple(one[1] for one in args if isinstance(one, tuple)) == whole


def test_what_resp_cannot_carry_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        command(("SET", "k", None))  # type: ignore[arg-type]
