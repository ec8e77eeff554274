"""Codes: /billing/redeem for callers, /v1/admin/credit-codes for the operator. Thin.

No text of a code reaches a log: what is logged is the number of its row.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictInt, StrictStr

from rabbitgw import telemetry
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Credit, Currency, Form, Moment, Nothing, PageQuery, told, told_text
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.api.views import Nanos, Number, Time, View, next_page
from rabbitgw.billing.accounts import get_account
from rabbitgw.billing.credits import Credits
from rabbitgw.errors import Conflict, NotFound, RateLimited
from rabbitgw.money import decimal_units
from rabbitgw.payments import code_stock, codes
from rabbitgw.payments.code_stock import (
    CODES_AT_ONCE_MAX,
    NOTE_CHARS_MAX,
    PERCENT_MAX,
    USES_MAX,
    Code,
    MadeCode,
    Terms,
)
from rabbitgw.payments.code_text import TEXT_CHARS_MAX

Kind = Literal["credit", "bonus", "bonus_percent"]
Uses = Annotated[StrictInt, told(format="int32", minimum=1, maximum=USES_MAX)]


class RedeemForm(Form):
    code: Annotated[StrictStr, Field(min_length=1, max_length=TEXT_CHARS_MAX)] = Field(
        description="as it was given; small letters and other groups are understood",
        examples=["7Q2M-RX0V-3KTN-8WPC-51HZ"],
    )


class CodesForm(Form):
    kind: Kind = Field(
        description="credit: is redeemed; bonus: a purchase gets so much more; bonus_percent: so much of its price",
        examples=["credit"],
    )
    count: Annotated[StrictInt, told(format="int32", minimum=1, maximum=CODES_AT_ONCE_MAX)] = 1
    currency: Currency | None = Field(
        default=None, description="a percentage may be without: of any", examples=["USD"]
    )
    amount_nanos: Credit | None = Field(
        default=None, description="of credit and bonus", examples=[5_000_000_000]
    )
    percent: Annotated[StrictInt, told(format="int32", minimum=1, maximum=PERCENT_MAX)] | None = Field(
        default=None, description="of bonus_percent"
    )
    uses_max: Uses = Field(default=1, description="of each code, by all accounts together")
    uses_per_account_max: Uses = 1
    expires_at: Moment | None = None
    note: Annotated[StrictStr, told_text(NOTE_CHARS_MAX)] | None = None


class RedeemedView(View):
    currency: str
    credits_added_nanos: Nanos
    balance_nanos: Nanos = Field(description="the ledger's, right after it")
    balance: Number = Field(description="the same in units of the currency", examples=[12.5])
    ledger_transaction_id: int


class CodeView(View):
    id: int
    prefix: str = Field(description="how its text begins")
    kind: Kind
    currency: str | None
    amount_nanos: Nanos | None
    percent: int | None
    uses_max: int
    uses_per_account_max: int
    uses: int = Field(description="used, or reserved for an order")
    expires_at: Time | None
    note: str | None
    created_at: Time
    retired_at: Time | None


class NewCode(CodeView):
    code: str = Field(description="its text; this is the only time it is shown")

    @classmethod
    def of_made(cls, made: MadeCode) -> NewCode:
        return cls(**CodeView.of(made.code).model_dump(), code=made.text)


class NewCodes(View):
    codes: list[NewCode]


class CodesPage(View):
    codes: list[CodeView]
    next: int | None = Field(description="what to send as `after`; null on the last page")


class CodeRoutes:
    """Handlers of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._pg = deps.pg
        self._credits = Credits(deps.pg, deps.link)

    def routes(self) -> list[AnyRoute]:
        path, admin = "/v1/admin/credit-codes", Auth.ADMIN
        return [
            Route(
                "POST",
                "/billing/redeem",
                self.redeem_code,
                "Put what a code is worth into the wallet of the key's account",
                Auth.CALLER,
                RedeemedView,
                form=RedeemForm,
                refusals=(NotFound, Conflict, RateLimited),
            ),
            Route(
                "GET",
                path,
                self.list_codes,
                "Codes by id, retired ones too",
                admin,
                CodesPage,
                query=PageQuery,
            ),
            Route(
                "POST",
                path,
                self.create_codes,
                "Make codes; their texts are shown once",
                admin,
                NewCodes,
                form=CodesForm,
            ),
            Route(
                "POST",
                rf"{path}/{{id:\d+}}/retire",
                self.retire_code,
                "End a code for good",
                admin,
                CodeView,
                refusals=(NotFound,),
            ),
        ]

    async def redeem_code(self, asked: Asked[RedeemForm, Nothing]) -> RedeemedView:
        account = await get_account(self._pg, asked.caller.account_id)
        booked = await codes.redeem(self._pg, account, asked.form.code)
        telemetry.log(
            "code_redeemed",
            account_id=account.id,
            code_id=booked.code_id,
            currency=booked.currency,
            amount_nanos=booked.amount_nanos,
        )
        await self._credits.apply_if_reached(account.id, booked.currency, account.partition)
        return RedeemedView(
            currency=booked.currency,
            credits_added_nanos=booked.amount_nanos,
            balance_nanos=booked.balance_nanos,
            balance=decimal_units(booked.balance_nanos),
            ledger_transaction_id=booked.ledger_transaction_id,
        )

    async def list_codes(self, asked: Asked[Nothing, PageQuery]) -> CodesPage:
        query = asked.query
        found = await code_stock.list_codes(self._pg, after_id=query.after, rows_max=query.limit)
        return CodesPage(codes=[CodeView.of(code) for code in found], next=next_page(found, query.limit))

    async def create_codes(self, asked: Asked[CodesForm, Nothing]) -> NewCodes:
        fields = asked.form.model_dump(exclude={"count"})
        made = await code_stock.create_codes(self._pg, Terms(**fields), asked.form.count)
        telemetry.log("codes_created", kind=asked.form.kind, count=len(made), first_id=made[0].code.id)
        return NewCodes(codes=[NewCode.of_made(one) for one in made])

    async def retire_code(self, asked: Asked[Nothing, Nothing]) -> CodeView:
        code: Code = await code_stock.retire_code(self._pg, asked.id)
        telemetry.log("code_retired", code_id=code.id)
        return CodeView.of(code)
