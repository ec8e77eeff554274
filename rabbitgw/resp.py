"""RESP, the way out: commands as bytes, whole or with arguments that are left open.

The one place that writes RESP. Knows no command, no key and no connection; hiredis reads what comes back.
A command that is sent often is written once, as a template: filling in five arguments costs 0.5 us where packing 35
costs 7. A template is filled with `%`, two values for each open argument: its length in bytes, and its bytes;
of one with a known size only its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import hiredis

Argument = bytes | str | int


class Open(NamedTuple):
    """An argument that is filled in later, after what it always begins with. Its length counts both.

    size: the bytes of what is filled in, where that never varies: the length is written then, and not filled in.
    """

    prefix: bytes = b""
    size: int | None = None


def command(args: Sequence[Argument]) -> bytes:
    """One command. Raises: TypeError for an argument that RESP cannot carry."""
    packed: bytes = hiredis.pack_command(tuple(args))  # type: ignore[arg-type]  # its stub says: a tuple of one
    return packed


def bulk(argument: Argument) -> bytes:
    """One argument as it stands in a command."""
    text = argument if isinstance(argument, bytes) else str(argument).encode()
    return b"$%d\r\n%b\r\n" % (len(text), text)


def template(args: Sequence[Argument | Open]) -> bytes:
    """One command with open arguments, to be filled in by `%`, in their order."""
    parts = [b"*%d\r\n" % len(args)]
    for argument in args:
        if isinstance(argument, Open):
            prefix, size = argument
            length = b"%d" if size is None else b"%d" % (len(prefix) + size)
            parts.append(b"$%b\r\n%b%%b\r\n" % (length, prefix.replace(b"%", b"%%")))
        else:
            parts.append(bulk(argument).replace(b"%", b"%%"))
    return b"".join(parts)
