"""Which path is whose: a call, a list of models, a side route, or what a provider sells and we do not. Pure functions.

Matching is by the path as it was sent, without its query, once percent-codes of letters, digits and `-._~` are read:
to a URL they are no difference. No dots are resolved and no slashes are merged, for then two parties could take one
path for two.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple
from urllib.parse import unquote

from rabbitgw.proxy.dialects import ALL_DIALECTS, Dialect

Kind = Literal["call", "models", "unsold", "side"]

DATA_ROOT: Final = "/v1/"
MODELS_PATH: Final = "/v1/models"
# Below /v1 there are the providers' paths, and side routes of ours under these names.
SIDE_NAMES: Final = (
    "admin", "config", "ledger", "payments", "plans", "reports", "usage", "wallets", "webhooks",
)  # fmt: skip
SHOWN_CHARS_MAX: Final = 200

_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_CALLS: Final = {dialect.path: dialect for dialect in ALL_DIALECTS}


class Place(NamedTuple):
    """kind, and what goes with it: the dialect of a call; the one model that is asked for."""

    kind: Kind
    path: str
    dialect: Dialect | None = None
    model: str | None = None


def place_of(target: bytes) -> Place:
    """`target`: as it stands in the request line; llhttp has seen that it is ASCII without blanks and controls."""
    path = _path_of(target.decode("latin-1"))
    dialect = _CALLS.get(path)
    if dialect is not None:
        return Place("call", path, dialect)
    if path == MODELS_PATH:
        return Place("models", path)
    if not path.startswith(DATA_ROOT):
        return Place("side", path)
    first, _, rest = path.removeprefix(DATA_ROOT).partition("/")
    if first == "models" and rest:
        return Place("models", path, model=unquote(rest))
    return Place("side" if first in SIDE_NAMES else "unsold", path)


def shown(path: str) -> str:
    """For messages: readable, and not at any length."""
    text = unquote(path)
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}…"


def _path_of(target: str) -> str:
    if not target.startswith("/"):  # the absolute form, as to a proxy
        _, mark, behind = target.partition("://")
        if mark:
            target = behind[len(behind.partition("/")[0]) :] or "/"
    path = target.partition("#")[0].partition("?")[0]
    return _readable(path) if "%" in path else path


def _readable(path: str) -> str:
    first, *parts = path.split("%")
    read = [first]
    for part in parts:
        code = part[:2]
        try:
            letter = chr(int(code, 16)) if len(code) == 2 and code.isalnum() else ""
        except ValueError:
            letter = ""
        read.append(letter + part[2:] if letter in _UNRESERVED and letter else f"%{part}")
    return "".join(read)
