"""The secret of a key: its form, its checksum and its hash. Pure; knows no store.

`rk-` + 32 random base62 characters (190 bits) + 6 of CRC-32. The checksum is no secret: it lets a mistyped or
random key be refused without asking a store, and lets scanners of leaked secrets recognise ours.
Only the SHA-256 is ever stored: with 190 random bits there is nothing for a slow hash to protect.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
MARK = "rk-"
BODY_CHARS = 32
CHECKSUM_CHARS = 6  # 62**6 > 2**32
PREFIX_CHARS = 10  # of the whole secret: enough to tell keys apart, far too little to guess one

_FORM = re.compile(rf"{MARK}([0-9A-Za-z]{{{BODY_CHARS}}})([0-9A-Za-z]{{{CHECKSUM_CHARS}}})")


def new_secret() -> str:
    """A new secret, to be shown once."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(BODY_CHARS))
    return MARK + body + checksum(body)


def checksum(body: str) -> str:
    """CRC-32 of the body in base62, most significant digit first."""
    rest = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_CHARS):
        rest, digit = divmod(rest, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def well_formed(secret: str) -> bool:
    """Could this be a secret of ours? Asks no store."""
    match = _FORM.fullmatch(secret)
    return match is not None and checksum(match[1]) == match[2]


def secret_sha256(secret: str) -> bytes:
    """What is stored and looked up. Any text is taken: a header may hold bytes that are no UTF-8."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def visible_prefix(secret: str) -> str:
    """The part that people see in lists."""
    return secret[:PREFIX_CHARS]
