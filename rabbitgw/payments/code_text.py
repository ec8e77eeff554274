"""The text of a code: made at random, written in groups, read as people type it, kept as a hash.

Pure but for the randomness. Crockford's base 32: twenty characters are a hundred bits; four of them are shown for
people to tell codes apart, and eighty stay secret. A hash without salt is enough for what nobody can guess.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CHARS: Final = 20
GROUP_CHARS: Final = 4
TEXT_CHARS_MAX: Final = 64  # as it is typed, with whatever between the groups

_LETTERS: Final = frozenset(ALPHABET)
_MEANT: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": "", " ": ""})


def new_code() -> str:
    """Like 7Q2M-RX0V-3KTN-8WPC-51HZ."""
    return grouped("".join(secrets.choice(ALPHABET) for _ in range(CHARS)))


def grouped(code: str) -> str:
    return "-".join(code[start : start + GROUP_CHARS] for start in range(0, CHARS, GROUP_CHARS))


def read_code(text: str) -> str | None:
    """As it was made, without its groups; small letters, and O, I and L for digits, are understood. None: no code."""
    code = text.upper().translate(_MEANT)
    return code if len(code) == CHARS and _LETTERS.issuperset(code) else None


def code_sha256(code: str) -> bytes:
    """Of what `read_code` returns."""
    return hashlib.sha256(code.encode()).digest()


def prefix_of(code: str) -> str:
    return code[:GROUP_CHARS]
