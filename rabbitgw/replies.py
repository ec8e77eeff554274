"""What the money scripts answer, as small typed tuples, and how a packed hold reads.

Owns the way from a Redis reply to Python. Knows no connection and no key name.
A script sends money as text, since a number of Lua loses digits from 9e15 on: nothing here is ever a float.
Words are Literal types, so a misspelt comparison is a type error. A word that its script does not have raises
InvariantBroken: the Lua on the server is not the Lua of this program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, NoReturn, TypeVar

from rabbitgw.errors import InvariantBroken
from rabbitgw.keynames import FIELD_SEPARATOR

ReserveWord = Literal[
    "OK", "HELD", "SHORT", "WINDOW", "RATE", "DONE", "STALE", "SPAN", "BACKLOG", "COLD", "FENCED"
]  # fmt: skip
RateWord = Literal["rpm", "tpm", "parallel"]
ExtendWord = Literal["OK", "SHORT", "WINDOW", "GONE", "COLD", "FENCED"]
SettleWord = Literal["OK", "LATE", "DONE", "RELEASED", "UNKNOWN", "OLD", "COLD", "FENCED"]
ReleaseWord = Literal["OK", "TOMBSTONE", "DONE", "COLD", "FENCED"]
ExpireWord = Literal["OK", "ALIVE", "GONE", "COLD", "FENCED"]
CreditWord = Literal["OK", "DONE", "GAP", "COLD", "FENCED"]
SetAsideWord = Literal["OK", "HELD", "SHORT", "GONE", "STALE", "GAP", "COLD", "FENCED"]
PutBackWord = Literal["OK", "GONE", "FENCED"]
LoadWord = Literal["OK", "LOADED", "FENCED"]
KeyPutWord = Literal["OK", "DONE", "COLD", "FENCED"]
KeyRecordWord = Literal["OK", "DONE"]
PlainWord = Literal["OK", "FENCED"]


class Standing(NamedTuple):
    """Where a caller stands with their rates: of requests and of tokens, those of the rule that has least left. A limit
    of 0: there is no rule."""

    request_limit: int = 0
    requests_left: int = 0
    requests_back_ms: int = 0  # until all of them are there again
    token_limit: int = 0
    tokens_left: int = 0
    tokens_back_ms: int = 0


class RateRefusal(NamedTuple):
    """A rate that a call does not fit in."""

    rule: int  # its place in the list that was sent
    what: RateWord
    limit: int
    wait_ms: int  # -1: the call never fits


class ReserveReply(NamedTuple):
    """billing/lua/reserve.lua. Fields that the word does not carry are 0."""

    word: ReserveWord
    offer: int = 0  # OK, HELD: which offer was taken, from 0
    granted_nanos: int = 0  # OK, HELD
    available_nanos: int = 0  # OK, HELD: after the hold; SHORT
    now_ms: int = 0  # OK, HELD, SHORT, WINDOW, RATE, SPAN: Redis' clock
    window: int = 0  # WINDOW: which window refused, from 0
    limit_nanos: int = 0  # WINDOW
    remaining_nanos: int = 0  # WINDOW: may be negative
    backlog: int = 0  # BACKLOG: events not booked yet
    span: str = ""  # WINDOW: in which span of it
    passed: int = -1  # OK: a window that only counts (from 0) and has less left than was granted
    standing: Standing | None = None  # OK and RATE of a call under rates
    refusal: RateRefusal | None = None  # RATE


class ExtendReply(NamedTuple):
    """billing/lua/extend.lua."""

    word: ExtendWord
    granted_nanos: int = 0  # OK: the hold's total
    available_nanos: int = 0  # OK, SHORT
    window: int = 0  # WINDOW: its place in the list that was sent
    limit_nanos: int = 0
    remaining_nanos: int = 0
    span: str = ""  # WINDOW: that of admission


class SettleReply(NamedTuple):
    """billing/lua/settle.lua."""

    word: SettleWord
    available_nanos: int = 0  # OK, LATE: may be negative
    now_ms: int = 0  # OK, LATE, UNKNOWN: Redis' clock


class ReleaseReply(NamedTuple):
    """billing/lua/release.lua."""

    word: ReleaseWord
    available_nanos: int = 0  # OK


class ExpireReply(NamedTuple):
    """billing/lua/expire.lua."""

    word: ExpireWord
    charged_nanos: int = 0  # OK


class CreditReply(NamedTuple):
    """billing/lua/credit.lua."""

    word: CreditWord
    balance_nanos: int = 0  # OK
    stored_seq: int = 0  # DONE, GAP: the last one applied


class SetAsideReply(NamedTuple):
    """billing/lua/set_aside.lua."""

    word: SetAsideWord
    available_nanos: int = 0  # OK, HELD, SHORT: may be negative
    stored_seq: int = 0  # STALE, GAP: the last credit applied


class PutBackReply(NamedTuple):
    """billing/lua/put_back.lua."""

    word: PutBackWord
    amount_nanos: int = 0  # OK


class LeaseReply(NamedTuple):
    """billing/lua/lease.lua."""

    word: PlainWord
    now_ms: int = 0
    previous_expiry_ms: int = 0  # 0: this worker had no lease


class HoldPart(NamedTuple):
    """What one way of taking a call holds."""

    amount_nanos: int
    borne: bool  # by a plan, not by the wallet
    windows: tuple[str, ...]  # that it counts in: "<window id>:<span>" of admission


class PackedHold(NamedTuple):
    """An open hold as billing/lua/holds.lua packs it."""

    account_id: int
    currency: str
    amount_nanos: int
    delivered_nanos: int
    worker_id: str
    admitted_ms: int
    max_at_ms: int
    parts: tuple[HoldPart, ...]  # nearly always one
    last: bool  # the account's one last-money call
    rates: str  # what an end gives back of them: "<tokens>,<rule id>:<tpm>:<parallel>,..."
    ticket: bytes  # JSON

    @property
    def wallet_nanos(self) -> int:
        """What of it the wallet holds."""
        return sum(part.amount_nanos for part in self.parts if not part.borne)


class SnapshotReply(NamedTuple):
    """billing/lua/snapshot.lua: one moment of a partition. The fields of an account: load.lua."""

    word: PlainWord
    now_ms: int = 0
    last_stream_id: str = "0-0"  # the last id ever given in the partition's stream, trimmed or not
    holds: Mapping[str, PackedHold] = {}
    accounts: tuple[Mapping[str, str], ...] = ()  # in the order asked; empty when not loaded


Word = TypeVar("Word", bound=str)


def _words(*words: Word) -> dict[bytes, Word]:
    return {word.encode(): word for word in words}


_RESERVE: Final[dict[bytes, ReserveWord]] = _words(
    "OK", "HELD", "SHORT", "WINDOW", "RATE", "DONE", "STALE", "SPAN", "BACKLOG", "COLD", "FENCED"
)
_RATE: Final[dict[bytes, RateWord]] = _words("rpm", "tpm", "parallel")
_EXTEND: Final[dict[bytes, ExtendWord]] = _words("OK", "SHORT", "WINDOW", "GONE", "COLD", "FENCED")
_SETTLE: Final[dict[bytes, SettleWord]] = _words(
    "OK", "LATE", "DONE", "RELEASED", "UNKNOWN", "OLD", "COLD", "FENCED"
)
_RELEASE: Final[dict[bytes, ReleaseWord]] = _words("OK", "TOMBSTONE", "DONE", "COLD", "FENCED")
_EXPIRE: Final[dict[bytes, ExpireWord]] = _words("OK", "ALIVE", "GONE", "COLD", "FENCED")
_CREDIT: Final[dict[bytes, CreditWord]] = _words("OK", "DONE", "GAP", "COLD", "FENCED")
_SET_ASIDE: Final[dict[bytes, SetAsideWord]] = _words(
    "OK", "HELD", "SHORT", "GONE", "STALE", "GAP", "COLD", "FENCED"
)
_PUT_BACK: Final[dict[bytes, PutBackWord]] = _words("OK", "GONE", "FENCED")
_LOAD: Final[dict[bytes, LoadWord]] = _words("OK", "LOADED", "FENCED")
_KEY_PUT: Final[dict[bytes, KeyPutWord]] = _words("OK", "DONE", "COLD", "FENCED")
_KEY_RECORD: Final[dict[bytes, KeyRecordWord]] = _words("OK", "DONE")
_PLAIN: Final[dict[bytes, PlainWord]] = _words("OK", "FENCED")


def _foreign(script: str, reply: Any) -> NoReturn:
    raise InvariantBroken(f"{script}: the script answered what it cannot answer: {reply!r}")


# The replies of every request are made by this: __new__ of a NamedTuple is a Python function, three times as dear.
_tuple: Final = tuple.__new__


def reserve_reply(reply: list[Any]) -> ReserveReply:
    word = _RESERVE.get(reply[0])
    if word == "OK" or word == "HELD":  # noqa: PLR1714 (a set would lose the type)
        standing = Standing(*reply[5]) if len(reply) > 5 and reply[5] else None
        passed = reply[6] if len(reply) > 6 else -1
        fields = (
            word,
            reply[1],
            int(reply[2]),
            int(reply[3]),
            reply[4],
            0,
            0,
            0,
            0,
            "",
            passed,
            standing,
            None,
        )
        return _tuple(ReserveReply, fields)
    if word == "SHORT":
        return ReserveReply(word, available_nanos=int(reply[1]), now_ms=reply[2])
    if word == "WINDOW":
        return ReserveReply(
            word,
            window=reply[1],
            limit_nanos=int(reply[2]),
            remaining_nanos=int(reply[3]),
            now_ms=reply[4],
            span=reply[5].decode(),
        )
    if word == "RATE":
        refusal = RateRefusal(reply[1], _RATE[reply[2]], reply[3], reply[4])
        return ReserveReply(word, now_ms=reply[5], standing=Standing(*reply[6]), refusal=refusal)
    if word == "SPAN":
        return ReserveReply(word, now_ms=reply[1])
    if word == "BACKLOG":
        return ReserveReply(word, backlog=reply[1])
    return ReserveReply(word) if word else _foreign("reserve", reply)


def extend_reply(reply: list[Any]) -> ExtendReply:
    word = _EXTEND.get(reply[0])
    if word == "OK":
        return ExtendReply(word, int(reply[1]), int(reply[2]))
    if word == "SHORT":
        return ExtendReply(word, available_nanos=int(reply[1]))
    if word == "WINDOW":
        return ExtendReply(
            word,
            window=reply[1],
            limit_nanos=int(reply[2]),
            remaining_nanos=int(reply[3]),
            span=reply[4].decode(),
        )
    return ExtendReply(word) if word else _foreign("extend", reply)


def settle_reply(reply: list[Any]) -> SettleReply:
    word = _SETTLE.get(reply[0])
    if word == "OK" or word == "LATE":  # noqa: PLR1714 (a set would lose the type)
        return _tuple(SettleReply, (word, int(reply[1]), reply[2]))
    if word == "UNKNOWN":
        return SettleReply(word, now_ms=reply[1])
    return SettleReply(word) if word else _foreign("settle", reply)


def release_reply(reply: list[Any]) -> ReleaseReply:
    word = _RELEASE.get(reply[0])
    if word == "OK":
        return ReleaseReply(word, int(reply[1]))
    return ReleaseReply(word) if word else _foreign("release", reply)


def expire_reply(reply: list[Any]) -> ExpireReply:
    word = _EXPIRE.get(reply[0])
    if word == "OK":
        return ExpireReply(word, int(reply[1]))
    return ExpireReply(word) if word else _foreign("expire", reply)


def credit_reply(reply: list[Any]) -> CreditReply:
    word = _CREDIT.get(reply[0])
    if word == "OK":
        return CreditReply(word, balance_nanos=int(reply[1]))
    if word == "DONE" or word == "GAP":  # noqa: PLR1714 (a set would lose the type)
        return CreditReply(word, stored_seq=reply[1])
    return CreditReply(word) if word else _foreign("credit", reply)


def set_aside_reply(reply: list[Any]) -> SetAsideReply:
    word = _SET_ASIDE.get(reply[0])
    if word in ("OK", "HELD", "SHORT"):
        return SetAsideReply(word, available_nanos=int(reply[1]))
    if word in ("STALE", "GAP"):
        return SetAsideReply(word, stored_seq=reply[1])
    return SetAsideReply(word) if word else _foreign("set_aside", reply)


def put_back_reply(reply: list[Any]) -> PutBackReply:
    word = _PUT_BACK.get(reply[0])
    if word == "OK":
        return PutBackReply(word, int(reply[1]))
    return PutBackReply(word) if word else _foreign("put_back", reply)


def load_word(reply: list[Any]) -> LoadWord:
    return _LOAD.get(reply[0]) or _foreign("load", reply)


def key_put_word(reply: list[Any]) -> KeyPutWord:
    return _KEY_PUT.get(reply[0]) or _foreign("key_put", reply)


def key_record_word(reply: list[Any]) -> KeyRecordWord:
    return _KEY_RECORD.get(reply[0]) or _foreign("key_record_put", reply)


def lease_reply(reply: list[Any]) -> LeaseReply:
    word = _PLAIN.get(reply[0])
    if word == "OK":
        return LeaseReply(word, reply[1], reply[2])
    return LeaseReply(word) if word else _foreign("lease", reply)


def snapshot_reply(reply: list[Any]) -> SnapshotReply:
    word = _PLAIN.get(reply[0])
    if word == "OK":
        holds = {hold_id.decode(): unpack_hold(packed) for hold_id, packed in _pairs(reply[3])}
        accounts = tuple(
            {field.decode(): value.decode() for field, value in _pairs(flat)} for flat in reply[4:]
        )  # fmt: skip
        return SnapshotReply(word, reply[1], reply[2].decode(), holds, accounts)
    return SnapshotReply(word) if word else _foreign("snapshot", reply)


def _pairs(flat: list[bytes]) -> zip[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


_SEPARATOR: Final = FIELD_SEPARATOR.encode()
_PARTS: Final = len(PackedHold._fields)


def unpack_hold(packed: bytes) -> PackedHold:
    """Read a value of the holds hash. Raises: InvariantBroken when it is none."""
    parts = packed.split(_SEPARATOR, _PARTS - 1)
    if len(parts) != _PARTS:
        raise InvariantBroken(f"a hold that is none: {packed!r}")
    (
        account_id, currency, amount, delivered, worker_id, admitted_ms, max_at_ms, windows, last, rates, ticket
    ) = parts  # fmt: skip
    return PackedHold(
        account_id=int(account_id),
        currency=currency.decode(),
        amount_nanos=int(amount),
        delivered_nanos=int(delivered),
        worker_id=worker_id.decode(),
        admitted_ms=int(admitted_ms),
        max_at_ms=int(max_at_ms),
        parts=_hold_parts(windows.decode(), int(amount)),
        last=last == b"1",
        rates=rates.decode(),
        ticket=ticket,
    )


def _hold_parts(windows: str, amount_nanos: int) -> tuple[HoldPart, ...]:
    parts = []
    for text in windows.split(";"):
        closed, slash, names = text.lstrip("~").rpartition("/")
        held_nanos = int(closed) if slash else amount_nanos
        amount_nanos -= held_nanos
        parts.append(HoldPart(held_nanos, text.startswith("~"), tuple(names.split(",")) if names else ()))
    return tuple(parts)
