"""Bill lines as CSV, sent while they are read: RFC 4180, a header line, as many lines as asked for in bounded memory.

Owns the columns and what a cell may look like. Texts in a bill line were made by callers and providers, and programs
take a cell that begins like a formula for one: such a cell gets an apostrophe in front. All texts are quoted, so that a
program that splits at semicolons finds no cell inside of another.
"""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import orjson
from aiohttp import web

from rabbitgw.api.answers import request_ids

MEDIA: Final = "text/csv"
COLUMNS: Final = (
    "id", "account_id", "key_id", "user_id", "caller_request_id", "model", "dialect", "status", "usage_source",
    "input_tokens", "cached_input_tokens", "cache_write_tokens", "cache_write_1h_tokens", "output_tokens",
    "reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "currency", "cost_nanos", "price_version",
    "attempts", "admitted_at", "first_byte_at", "finished_at", "upstream_model", "service_tier", "error_code",
    "tools", "per_model", "corrected_nanos", "included_nanos", "overflow", "model_asked", "images", "image_kind",
    "audio_ms", "characters", "image_input_tokens", "image_output_tokens",
)  # fmt: skip
# Also in the wide form of East Asian scripts, which some programs take for the plain one.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
# A negative amount as it is written here: a number, which no program takes for a formula.
_AMOUNT: Final = re.compile(r"-[0-9]+\.[0-9]{9}")

Lines = Sequence[dict[str, Any]]


def header_row(columns: Sequence[str] = COLUMNS) -> bytes:
    return _written([columns])


def rows(lines: Lines, columns: Sequence[str] = COLUMNS) -> bytes:
    """Lines as rows; what a line does not have is an empty cell."""
    return _written([[cell(line.get(column)) for column in columns] for line in lines])


def cell(value: Any) -> str | int | None:
    if isinstance(value, dict | list):
        value = orjson.dumps(value).decode()
    if isinstance(value, str) and value.startswith(_FORMULA) and not _AMOUNT.fullmatch(value):
        return f"'{value}"
    return value  # type: ignore[no-any-return]


def _written(table: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n", quoting=csv.QUOTE_NONNUMERIC).writerows(table)
    return text.getvalue().encode()


async def send_csv(
    request: web.Request,
    first: Lines,
    rest: AsyncIterator[Lines],
    stall_timeout_s: float,
    *,
    columns: Sequence[str] = COLUMNS,
    filename: str = "usage.csv",
) -> web.StreamResponse:
    """Answer with these lines. Once the head is sent, a failure can only cut the connection.

    Raises: what `rest` raises, after the cut.
    """
    response = web.StreamResponse(
        headers={
            "content-type": f"{MEDIA}; charset=utf-8; header=present",
            "content-disposition": f'attachment; filename="{filename}"',
        }
    )
    _, _, ids = request_ids(request)
    response.headers.update(ids)
    try:
        await response.prepare(request)
        if request.method != "HEAD":
            await _send(response, header_row(columns) + rows(first, columns), stall_timeout_s)
            async for lines in rest:
                await _send(response, rows(lines, columns), stall_timeout_s)
        await response.write_eof()
    except (ConnectionError, TimeoutError):
        _cut(request)  # the client left, or takes nothing
    except BaseException:
        _cut(request)
        raise
    return response


async def _send(response: web.StreamResponse, data: bytes, stall_timeout_s: float) -> None:
    async with asyncio.timeout(stall_timeout_s):
        await response.write(data)


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
