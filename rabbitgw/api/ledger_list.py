"""GET /v1/ledger: what moved wallets, newest first. A caller sees their own account's, the operator everyone's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Form, Nothing, QueryId
from rabbitgw.api.packages import QueryCurrency
from rabbitgw.api.route import Asked, Auth, Route
from rabbitgw.api.usage_list import QueryMoment
from rabbitgw.api.views import Nanos, Time, View
from rabbitgw.billing.accounts import get_account
from rabbitgw.billing.ledger_list import PLACE_PATTERN, LedgerList, Page, Place, Wanted
from rabbitgw.errors import NotFound, RequestInvalid

ROWS: Final = 100  # if the caller does not say
ROWS_MAX: Final = 1000
KIND_PATTERN: Final = r"^[a-z_]{1,64}$"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MS_MAX: Final = (
    253_370_764_800_000  # 9999-01-01: a query may name what no datetime can, and nothing is booked there
)


class LedgerQuery(Form):
    account_id: QueryId | None = Field(
        default=None, description="the operator's only; all accounts if left out"
    )
    kind: Annotated[str, Field(pattern=KIND_PATTERN)] | None = Field(
        default=None, description="what moved it: usage, credit, payment, refund, redeem, grant ..."
    )
    currency: QueryCurrency | None = None
    from_: QueryMoment | None = Field(
        default=None,
        alias="from",
        description="booked then or later: ISO 8601 with a zone, or milliseconds since 1970",
    )
    to: QueryMoment | None = Field(default=None, description="booked before")
    limit: Annotated[int, Field(ge=1, le=ROWS_MAX)] = ROWS
    after: Annotated[str, Field(pattern=PLACE_PATTERN)] | None = Field(
        default=None, description="`next` of the page before, or the `id` of its last line"
    )


class EntryView(View):
    id: str = Field(description="number of the ledger transaction, and of its line", examples=["1841-1"])
    account_id: int
    currency: str
    amount_nanos: Nanos = Field(description="into the wallet; negative: out of it")
    kind: str
    ref: str | None = Field(description="what caused it: an order, an idempotency key, a code ...")
    created_at: Time


class LedgerPage(View):
    entries: list[EntryView]
    next: str | None = Field(description="what to send as `after`; null when there are no more lines")


class LedgerRoute:
    """Its handler, of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._pg = deps.pg
        self._list = LedgerList(deps.pg)

    def route(self) -> Route[Nothing, LedgerQuery, LedgerPage]:
        return Route(
            "GET",
            "/v1/ledger",
            self.list_ledger,
            "What moved wallets, newest first",
            Auth.EITHER,
            LedgerPage,
            query=LedgerQuery,
            refusals=(NotFound,),
        )

    async def list_ledger(self, asked: Asked[Nothing, LedgerQuery]) -> LedgerPage:
        query = asked.query
        if query.from_ is not None and query.to is not None and query.from_ > query.to:
            raise RequestInvalid("from: lies after `to`", field="from")
        account_id, currency = query.account_id, query.currency
        own_currency = None
        if asked.key is not None:
            if account_id is not None:
                raise RequestInvalid(
                    "account_id: for the operator only; a key has one account", field="account_id"
                )
            account_id, own_currency = asked.key.account_id, asked.key.currency
        elif account_id is not None:
            own_currency = (await get_account(self._pg, account_id)).currency
        if None not in (own_currency, currency) and currency != own_currency:
            return LedgerPage(entries=[], next=None)  # an account has one currency for life
        wanted = Wanted(
            account_id, currency or own_currency, query.kind, _moment(query.from_), _moment(query.to)
        )
        after = None if query.after is None else Place.read(query.after)
        return _view(await self._list.page(wanted, after, query.limit))


def _view(page: Page) -> LedgerPage:
    entries = [EntryView.of(entry) for entry in page.entries]
    return LedgerPage(entries=entries, next=None if page.next is None else str(page.next))


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else EPOCH + timedelta(milliseconds=min(ms, MS_MAX))
