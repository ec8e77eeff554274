"""Usage events as rows: read one from the stream, fold a batch to one row per call. No I/O.

Owns what an event must say to be charged, and what becomes of one that does not say it. Knows neither how rows
are stored nor what a call costs.
An event whose id, account, currency and charge can be read is charged even where nothing else in it can: Redis has
taken the money. Every field of a row fits its column, so that no event can stop the line behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, NamedTuple

import orjson

from rabbitgw.money import AMOUNT_NANOS_MAX

RELEASED: Final = "released"
EXPIRED: Final = "expired"
LATE: Final = "late"
SETTLED: Final = "settled"
PARTIAL: Final = "partial"
_ENDS: Final = frozenset({SETTLED, PARTIAL, RELEASED, EXPIRED, LATE})

SEQUENCE_BITS: Final = 20
_SEQUENCE_MAX: Final = (1 << SEQUENCE_BITS) - 1
_INT8_MAX: Final = 2**63 - 1
_INT4_MAX: Final = 2**31 - 1
_MS_MAX: Final = 253_402_300_799_999  # the end of the year 9999
_TEXT_CHARS_MAX: Final = 256  # ids and names; anything longer is no name, and would not fit an index
_JSON_CHARS_MAX: Final = 16_384
_UUID: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_CURRENCY: Final = re.compile(rb"[A-Z]{3}")


class StreamId(NamedTuple):
    """An id of a Redis stream; ordered as Redis orders it."""

    ms: int
    seq: int

    @classmethod
    def parse(cls, text: bytes | str) -> StreamId:
        ms, _, seq = (text.decode() if isinstance(text, bytes) else text).partition("-")
        return cls(int(ms), int(seq))

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    def following(self) -> str:
        """The lowest id above this one."""
        return f"{self.ms}-{self.seq + 1}"

    @property
    def position(self) -> int:
        """As one integer. A sequence past a million (a clock set back for minutes under full load) stays at its end."""
        return self.ms << SEQUENCE_BITS | min(self.seq, _SEQUENCE_MAX)


@dataclass(slots=True)
class UsageRow:
    """A call that ended: the type usage_event of the schema, field by field."""

    id: str
    account_id: int
    currency: str
    status: str
    late: bool
    charge_nanos: int  # in all; of a late end without its expiry in the batch: what expiry charged included
    expired_nanos: int
    expired_position: int | None
    ledger_transaction_id: int | None
    partition: int
    position: int | None  # None: it did not come by a stream
    windows: str
    key_id: int | None
    caller_request_id: str | None
    model: str | None
    dialect: str | None
    price_version: int | None
    usage_source: str | None
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    output_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int
    attempts: int
    admitted_ms: int | None
    first_byte_ms: int | None
    finished_ms: int | None
    upstream_model: str | None
    service_tier: str | None
    error_code: str | None
    tools: str | None
    per_model: str | None
    streamed: bool
    shortfall_nanos: int
    held_input_tokens: int
    user_id: int | None
    excess_nanos: int
    team_id: int | None
    included_nanos: int  # that a plan bore; of a late end alone: the change
    overflow: str | None
    model_asked: str | None
    images: int
    image_kind: str | None
    audio_ms: int
    characters: int
    image_input_tokens: int
    image_output_tokens: int
    upstream_cost_nanos: int | None


_AS_TUPLE: Final = attrgetter(*(column.name for column in fields(UsageRow)))


def as_records(rows: Iterable[UsageRow]) -> list[tuple[Any, ...]]:
    """Rows as sql/usage/book.sql takes them."""
    return [_AS_TUPLE(row) for row in rows]


@dataclass(frozen=True, slots=True)
class DeadEvent:
    """An event that could not be read whole. `fields` is JSON."""

    partition: int
    stream_id: StreamId
    reason: str
    charged: bool
    fields: str


@dataclass(slots=True)
class Fold:
    """A batch, one row per call, in the order of the streams. `events` counts what came in."""

    rows: dict[str, UsageRow] = field(default_factory=dict)
    dead: list[DeadEvent] = field(default_factory=list)
    events: int = 0

    def add(self, partition: int, stream_id: StreamId, flat: Sequence[bytes]) -> None:
        """Take the next event of a partition, as XRANGE gives it: field, value, field, value..."""
        self.events += 1
        values = dict(zip(flat[::2], flat[1::2], strict=False))
        try:
            row, problem = read_event(partition, stream_id, values)
        except (ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            self.dead.append(DeadEvent(partition, stream_id, reason, False, shown(flat)))
            return
        before = self.rows.get(row.id)
        conflict = None if before is None else _merge(before, row)
        if conflict is None:
            self.rows[row.id] = row
        told = conflict or problem
        if told is not None:
            self.dead.append(DeadEvent(partition, stream_id, told, conflict is None, shown(flat)))


def _merge(before: UsageRow, row: UsageRow) -> str | None:
    """Fold the expiry of a call into the late end that follows it. Returns why it cannot be, or None."""
    if before.status != EXPIRED or row.status == EXPIRED:
        return f"a second end of the call: {row.status} after {before.status}"
    if row.account_id != before.account_id or row.currency != before.currency:
        return f"its expiry was of account {before.account_id} in {before.currency}"
    row.expired_nanos = before.charge_nanos
    row.expired_position = before.position
    row.late = True
    row.included_nanos += before.included_nanos
    if "=" in row.windows:
        row.windows = f"{before.windows};{row.windows}"
    return None


def read_event(
    partition: int, stream_id: StreamId, values: Mapping[bytes, bytes]
) -> tuple[UsageRow, str | None]:
    """The row of one event, and what in it could not be read although the charge could (or None).

    Raises: ValueError, KeyError, TypeError when the charge itself cannot be read.
    """
    problems: list[str] = []
    hold_id, account_id, currency = _identity(values)
    status = values.get(b"s", b"").decode("ascii", "replace")
    late = status == LATE
    charge_nanos = _charge(values, late)
    if status not in _ENDS:
        problems.append(f"status {status[:32]!r}")
        status = SETTLED
    said = _payload(values.get(b"p", b""), problems)
    if late:
        status = PARTIAL if said.get("us") == PARTIAL else SETTLED
    position = stream_id.position
    expired = status == EXPIRED
    row = UsageRow(
        hold_id,
        account_id,
        currency,
        status,
        late,
        charge_nanos,
        charge_nanos if expired else 0,
        position if expired else None,
        None,
        partition,
        position,
        _windows(values.get(b"w", b""), problems),
        _number(said, "k", problems),
        _text(said, "r", problems),
        _text(said, "m", problems),
        _text(said, "d", problems),
        _number(said, "v", problems),
        _text(said, "us", problems),
        _number(said, "in", problems) or 0,
        _number(said, "ci", problems) or 0,
        _number(said, "cw", problems) or 0,
        _number(said, "cw1h", problems) or 0,
        _number(said, "out", problems) or 0,
        _number(said, "rt", problems) or 0,
        _number(said, "ai", problems) or 0,
        _number(said, "ao", problems) or 0,
        _number(said, "at", problems, _INT4_MAX) or 0,
        _number(said, "t0", problems, _MS_MAX),
        _number(said, "t1", problems, _MS_MAX),
        _number(said, "t2", problems, _MS_MAX),
        _text(said, "um", problems),
        _text(said, "tier", problems),
        _text(said, "e", problems),
        _json(said, "tools", problems),
        _json(said, "pm", problems),
        said.get("st") == 1,
        _number(said, "sh", problems, AMOUNT_NANOS_MAX) or 0,
        _number(said, "hi", problems) or 0,
        _number(said, "u", problems),
        _number(said, "ov", problems, AMOUNT_NANOS_MAX) or 0,
        _number(said, "tm", problems),
        _included(values.get(b"i", b"0"), problems),
        _text(said, "of", problems),
        _text(said, "ma", problems),
        *_pieces(said, problems),
        _number(said, "uc", problems, AMOUNT_NANOS_MAX),
    )
    return row, ("; ".join(problems) if problems else None)


def _pieces(said: dict[str, Any], problems: list[str]) -> tuple[int, str | None, int, int, int, int]:
    """Images, their kind, sound, characters, tokens of images in and out."""
    return (
        _number(said, "im", problems) or 0,
        _text(said, "ik", problems),
        _number(said, "ms", problems) or 0,
        _number(said, "ch", problems) or 0,
        _number(said, "ii", problems) or 0,
        _number(said, "io", problems) or 0,
    )


def _identity(values: Mapping[bytes, bytes]) -> tuple[str, int, str]:
    """The hold's id, the account, the currency: whom a charge is for, and by what it is known again."""
    hold_id, account_id, currency = values[b"id"], int(values[b"a"]), values[b"c"]
    if not _UUID.fullmatch(hold_id):
        raise ValueError("the id is no UUID")
    if not 0 < account_id <= _INT8_MAX:
        raise ValueError("no account id")
    if not _CURRENCY.fullmatch(currency):
        raise ValueError("no currency")
    return hold_id.decode(), account_id, currency.decode()


def _charge(values: Mapping[bytes, bytes], late: bool) -> int:
    """What the call has cost in all; a late event itself carries the difference to what expiry charged."""
    change_nanos = int(values[b"n"])
    charge_nanos = change_nanos + int(values[b"x"]) if late else change_nanos
    if max(abs(change_nanos), abs(charge_nanos)) > AMOUNT_NANOS_MAX:
        raise ValueError("the charge is beyond what a wallet can hold")
    return charge_nanos


@lru_cache(maxsize=65_536)
def parse_windows(text: str) -> tuple[tuple[int, str], ...]:
    """The windows that a call counts in: "7:2026-11-21,9:life" -> ((7, "2026-11-21"), (9, "life")).

    Raises: ValueError.
    """
    names = []
    for name in text.split(",") if text else ():
        window_id, colon, span = name.partition(":")
        if not colon or not span or not 0 < int(window_id) <= _INT8_MAX:
            raise ValueError(f"{name!r} names no window and span")
        names.append((int(window_id), span))
    return tuple(names)


def window_moves(text: str, moved_nanos: int) -> list[tuple[tuple[int, str], int]]:
    """What an end moves in each window: all of them by what it moved in the wallet, unless each says its own amount.

    `text` as an event or the column usage.windows has it; of the latter, what was booked last. Raises: ValueError.
    """
    if "=" not in text:
        return [(span, moved_nanos) for span in parse_windows(text)]
    moves = []
    for move in text.rpartition(";;")[2].replace(";", ",").split(","):
        name, equals, amount = move.partition("=")
        if not equals or abs(int(amount)) > AMOUNT_NANOS_MAX:
            raise ValueError(f"{move!r} says no amount")
        moves += [(span, int(amount)) for span in parse_windows(name)]
    return moves


def shown(flat: Sequence[bytes]) -> str:
    """An event as JSON for people, whatever bytes are in it."""
    texts = [value.decode("utf-8", "backslashreplace").replace("\x00", "�") for value in flat]
    return orjson.dumps(dict(zip(texts[::2], texts[1::2], strict=False))).decode()


def _payload(text: bytes, problems: list[str]) -> dict[str, Any]:
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        problems.append("the payload is no JSON")
        return {}
    if type(said) is not dict:
        problems.append("the payload is no object")
        return {}
    return said


def _windows(raw: bytes, problems: list[str]) -> str:
    try:
        text = raw.decode("ascii")
        window_moves(text, 0)
    except ValueError:
        problems.append("the windows cannot be read")
        return ""
    if "\x00" in text:
        problems.append("the windows cannot be read")
        return ""
    return text


def _included(raw: bytes, problems: list[str]) -> int:
    try:
        nanos = int(raw)
    except ValueError:
        nanos = AMOUNT_NANOS_MAX + 1
    if abs(nanos) <= AMOUNT_NANOS_MAX:
        return nanos
    problems.append("what a plan bore cannot be read")
    return 0


def _number(said: dict[str, Any], name: str, problems: list[str], at_most: int = _INT8_MAX) -> int | None:
    value = said.get(name)
    if value is None or (type(value) is int and 0 <= value <= at_most):
        return value
    problems.append(f"{name} is no count")
    return None


def _text(said: dict[str, Any], name: str, problems: list[str]) -> str | None:
    value = said.get(name)
    if value is None:
        return None
    if type(value) is not str:
        problems.append(f"{name} is no text")
        return None
    if len(value) > _TEXT_CHARS_MAX or "\x00" in value:
        return value[:_TEXT_CHARS_MAX].replace("\x00", "�")
    return value


def _json(said: dict[str, Any], name: str, problems: list[str]) -> str | None:
    value = said.get(name)
    if value is None:
        return None
    text = orjson.dumps(value).decode()
    if len(text) > _JSON_CHARS_MAX or "\\u0000" in text:
        problems.append(f"{name} cannot be stored")
        return None
    return text
