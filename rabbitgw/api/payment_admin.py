"""/v1/admin/payments: orders, those that need a person, and how selling goes; for the operator."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Form, Nothing, QueryId, told
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.api.usage_list import QueryMoment
from rabbitgw.api.views import Number, Time, View
from rabbitgw.billing.accounts import CURRENCY_DEFAULT
from rabbitgw.clock import now_ms
from rabbitgw.errors import Conflict, NotFound, RequestInvalid
from rabbitgw.payments import review
from rabbitgw.payments.figures import figures

PATH: Final = "/v1/admin/payments"
MONTH_MS: Final = 30 * 86_400_000

Status = Literal[
    "created", "awaiting_payment", "processing", "paid", "needs_review", "failed", "canceled", "partially_refunded",
    "refunded", "disputed",
]  # fmt: skip


class OrdersQuery(Form):
    status: Status | None = None
    account_id: QueryId | None = None
    limit: Annotated[int, Field(ge=1, le=review.ROWS_MAX)] = 100
    before: QueryId | None = Field(default=None, description="`next` of the page before")


class OrderView(View):
    id: int
    order_id: str
    account_id: int
    user_id: int | None
    provider: str
    mode: str
    status: Status
    amount_cents: int
    currency: str
    package_credits: int | None
    provider_txn_id: str | None
    failure_code: str | None = Field(description="of the last try to pay")
    review_reason: str | None = Field(description="why it needs, or needed, a person")
    created_at: Time
    paid_at: Time | None


class OrdersPage(View):
    orders: list[OrderView]
    next: int | None


class AcceptedView(View):
    order_id: str
    status: Status


class FiguresQuery(Form):
    currency: Annotated[str, told(pattern="^[A-Z]{3}$")] = CURRENCY_DEFAULT
    from_: QueryMoment | None = Field(
        default=None, alias="from", description="30 days before `to` if left out"
    )
    to: QueryMoment | None = Field(default=None, description="now if left out")


class PackageShare(View):
    credits: int | None = Field(description="null: credit in any amount")
    orders: int
    share: Number | None


class WebhooksView(View):
    provider: str
    delivered: int
    repeated: int = Field(description="deliveries of events that had come before")
    never_came: int = Field(description="events that only a back-fill brought")
    waiting: int
    given_up: int
    success_rate: Number | None


class FiguresView(View):
    currency: str
    orders: dict[str, int] = Field(description="made in the span, by what became of them")
    payment_success_rate: Number | None = Field(description="paid orders of those paid, failed or canceled")
    payments: int
    paid: Number
    average_order_value: Number | None
    refunds: int
    refunded: Number
    refund_rate: Number | None = Field(description="money that went back, of the money that came in")
    disputes: int
    packages: list[PackageShare] = Field(description="most bought first")
    webhooks: list[WebhooksView]


class PaymentAdminRoutes:
    """Handlers of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._pg = deps.pg
        self._payments = deps.payments

    def routes(self) -> list[AnyRoute]:
        admin = Auth.ADMIN
        return [
            Route(
                "GET", f"{PATH}/orders", self.list_orders, "Orders, newest first", admin, OrdersPage, query=OrdersQuery
            ),
            Route(
                "POST", f"{PATH}/orders/{{order_id}}/accept", self.accept_payment,
                "Credit the wallet with money that did not fit its order", admin, AcceptedView,
                refusals=(NotFound, Conflict),
            ),
            Route(
                "GET", f"{PATH}/figures", self.payment_figures, "How selling goes", admin, FiguresView,
                query=FiguresQuery,
            ),
        ]  # fmt: skip

    async def list_orders(self, asked: Asked[Nothing, OrdersQuery]) -> OrdersPage:
        query = asked.query
        rows = await review.list_orders(
            self._pg,
            status=query.status,
            account_id=query.account_id,
            before=query.before,
            rows_max=query.limit,
        )
        views = [
            OrderView(
                amount_cents=row["amount_minor"],
                **{name: row[name] for name in OrderView.model_fields if name != "amount_cents"},
            )
            for row in rows
        ]
        return OrdersPage(orders=views, next=views[-1].id if len(views) == query.limit else None)

    async def accept_payment(self, asked: Asked[Nothing, Nothing]) -> AcceptedView:
        order_id = asked.part("order_id")
        status = await review.accept(self._pg, self._payments.sync, order_id)
        return AcceptedView.model_validate({"order_id": order_id, "status": status})

    async def payment_figures(self, asked: Asked[Nothing, FiguresQuery]) -> FiguresView:
        query = asked.query
        to_ms = now_ms() if query.to is None else query.to
        from_ms = max(0, to_ms - MONTH_MS) if query.from_ is None else query.from_
        if from_ms > to_ms:
            raise RequestInvalid("from: lies after `to`", field="from")
        found = await figures(self._pg, query.currency, _moment(from_ms), _moment(to_ms))
        return FiguresView.of(found)


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
