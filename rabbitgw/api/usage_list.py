"""GET /v1/usage: the bill lines of an account, newest first, as JSON in pages or as CSV in one go.

A caller sees all lines of their account and no other; the operator sees every account's, or one's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from aiohttp import web
from pydantic import BeforeValidator, Field, SerializeAsAny, WithJsonSchema

from rabbitgw.api.bill_views import BookedLine
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import INT64_MAX, PRINTABLE, Form, Nothing, QueryId, told
from rabbitgw.api.route import Asked, Auth, Route
from rabbitgw.api.usage_csv import MEDIA, Lines, send_csv
from rabbitgw.api.views import View
from rabbitgw.billing.bill_lines import ID_CHARS_MAX
from rabbitgw.billing.key_record import ms_of
from rabbitgw.billing.usage_list import MS_MAX, Batch, UsageList, Wanted
from rabbitgw.errors import RequestInvalid

JSON_ROWS: Final = 100  # if the caller does not say
JSON_ROWS_MAX: Final = 1000
CSV_ROWS_MAX: Final = 100_000
NAME_CHARS_MAX: Final = 256  # as much as is stored of a name


def moment_ms(value: Any) -> int:
    text = str(value)
    if text.isascii() and text.isdigit():
        ms = int(text[:20])
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise ValueError(
                "must be a time with its zone like 2027-01-31T00:00:00Z (a + is written %2B), or milliseconds "
                "since 1970"
            )
        ms = ms_of(moment) or 0
    if not 0 <= ms <= MS_MAX:
        raise ValueError("must be a time since 1970")
    return ms


QueryMoment = Annotated[
    int,
    BeforeValidator(moment_ms),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time", "examples": ["2027-01-31T00:00:00Z"]},
                {"type": "string", "pattern": r"^\d{1,14}$", "examples": ["1801353600000"]},
            ]
        }
    ),
]
QueryName = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX), told(format=PRINTABLE)]


class UsageQuery(Form):
    from_: QueryMoment | None = Field(
        default=None,
        alias="from",
        description="calls that came in then or later: ISO 8601 with a zone, or milliseconds since 1970",
    )
    to: QueryMoment | None = Field(default=None, description="calls that came in before")
    model: QueryName | None = Field(
        default=None, description="a name, or a pattern: `*` any text, `?` one character"
    )
    key_id: QueryId | None = None
    user_id: QueryId | None = None
    account_id: QueryId | None = Field(
        default=None, description="the operator's only; all accounts if left out"
    )
    status: Literal["settled", "partial", "released", "expired"] | None = None
    dialect: QueryName | None = None
    request_id: (
        Annotated[str, Field(min_length=1, max_length=ID_CHARS_MAX), told(format=PRINTABLE)] | None
    ) = Field(default=None, description="the X-Request-ID that the caller sent")
    limit: Annotated[int, Field(ge=1, le=INT64_MAX), told(maximum=CSV_ROWS_MAX)] | None = Field(
        default=None,
        description=f"JSON: at most {JSON_ROWS_MAX}, {JSON_ROWS} if left out; CSV: at most {CSV_ROWS_MAX}, which it is "
        "if left out",
    )
    after: UUID | None = Field(
        default=None, description="`next` of the page before, or the `id` of its last line"
    )
    format: Literal["json", "csv"] | None = Field(default=None, description="goes before the header `Accept`")

    def wanted(self) -> Wanted:
        return Wanted(
            account_id=self.account_id,
            from_ms=self.from_,
            to_ms=self.to,
            model=self.model,
            key_id=self.key_id,
            user_id=self.user_id,
            status=self.status,
            dialect=self.dialect,
            caller_request_id=self.request_id,
        )


class UsagePage(View):
    # As they were made: to make a thousand lines anew would hold up every stream of this process.
    usage: SerializeAsAny[list[BookedLine]]
    next: UUID | None = Field(description="what to send as `after`; null when there are no more lines")


class UsageRoute:
    """Its handler, of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._deps = deps
        self._list = UsageList(deps.pg)

    def route(self) -> Route[Nothing, UsageQuery, UsagePage]:
        return Route(
            "GET",
            "/v1/usage",
            self.list_usage,
            "Bill lines of calls that ended, newest first",
            Auth.EITHER,
            UsagePage,
            query=UsageQuery,
            other=(MEDIA,),
        )

    async def list_usage(self, asked: Asked[Nothing, UsageQuery]) -> UsagePage | web.StreamResponse:
        query = asked.query
        if query.from_ is not None and query.to is not None and query.from_ > query.to:
            raise RequestInvalid("from: lies after `to`", field="from")
        if asked.key is not None:
            if query.account_id is not None:
                raise RequestInvalid(
                    "account_id: for the operator only; a key has one account", field="account_id"
                )
            query = query.model_copy(update={"account_id": asked.key.account_id})
        as_csv = query.format == "csv" if query.format else prefers_csv(asked.http.headers.get("accept", ""))
        if as_csv:
            return await self._csv(asked.http, query, _rows(query.limit, CSV_ROWS_MAX, CSV_ROWS_MAX))
        rows_max = _rows(query.limit, JSON_ROWS, JSON_ROWS_MAX)
        page = await self._list.page(query.wanted(), query.after, rows_max)
        lines = [{"request_id": line["id"], **line} for line in page.lines]
        # asyncpg's UUID is a kind of its own, which orjson does not take
        place = None if page.next is None else UUID(int=page.next.int)
        return UsagePage.model_construct(usage=lines, next=place)

    async def _csv(self, request: web.Request, query: UsageQuery, rows_max: int) -> web.StreamResponse:
        wanted = query.wanted()
        first = await self._list.batch(wanted, query.after, rows_max)  # what it raises is answered as JSON
        rest = self._rest(request, wanted, first, rows_max)
        return await send_csv(request, first.lines, rest, self._deps.settings.client_stall_timeout_s)

    async def _rest(
        self, request: web.Request, wanted: Wanted, batch: Batch, rows_max: int
    ) -> AsyncIterator[Lines]:
        """The lines after the first batch, while there is somebody to send them to."""
        rows_max -= len(batch.lines)
        while batch.next is not None and rows_max > 0 and request.transport is not None:
            batch = await self._list.batch(wanted, batch.next, rows_max)
            rows_max -= len(batch.lines)
            if batch.lines:
                yield batch.lines


def prefers_csv(accept: str) -> bool:
    """Whether an Accept header names CSV, and JSON not as dearly."""
    weights: dict[str, float] = {}
    for entry in accept.lower().split(","):
        media, *parameters = (part.strip() for part in entry.split(";"))
        weights[media] = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name == "q":
                weights[media] = float(value) if value.replace(".", "", 1).isdecimal() else 0.0
    others = max(weights.get(media, 0.0) for media in ("application/json", "application/*", "*/*"))
    return weights.get(MEDIA, weights.get("text/*", 0.0)) > others


def _rows(limit: int | None, default: int, most: int) -> int:
    if limit is not None and limit > most:
        raise RequestInvalid(f"limit: at most {most}", field="limit")
    return limit or default
