"""Billing's objects as the JSON that side routes and the command line show: every field of every answer.

A view is made from an object's attributes of the same names. What is not in here cannot be answered. Moments are
ISO 8601 in UTC, to the millisecond; amounts are integers of nanos; a field that was not given is left out.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from rabbitgw.billing.keys import Key

ViewT = TypeVar("ViewT", bound="View")


def moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[
    datetime,
    PlainSerializer(moment),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2027-01-31T00:00:00.000Z"]}),
]
Nanos = Annotated[int, Field(json_schema_extra={"format": "int64"})]
# A number of JSON that never was a float: 0.075 is sent as these digits, and 45.00 as 45.
Number = Annotated[
    Decimal,
    PlainSerializer(lambda number: orjson.Fragment(f"{number.normalize():f}"), return_type=Any),
    WithJsonSchema({"type": "number"}),
]


class View(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def etag(self) -> int | None:
        """The version of what is shown, where a change can be made upon it."""
        return None

    @classmethod
    def of(cls: type[ViewT], thing: Any) -> ViewT:
        """The view of an object, from its attributes."""
        return cls.model_validate(thing, from_attributes=True)


def shown(answer: BaseModel) -> dict[str, Any]:
    """As orjson is given it: pydantic's own mode for JSON knows no fragments, which a Number is."""
    fields: dict[str, Any] = answer.model_dump(by_alias=True, exclude_unset=True)
    return fields


class AccountView(View):
    id: int
    name: str
    currency: str
    created_at: Time


class KeyView(View):
    id: int
    account_id: int
    name: str
    prefix: str = Field(description="how the secret begins")
    models: list[str] | None = Field(description="patterns of the models it may call; null allows all")
    lifetime_limit_nanos: Nanos | None
    daily_limit_nanos: Nanos | None
    expires_at: Time | None
    revoked_at: Time | None
    created_at: Time
    user_id: int | None = Field(description="whose key it is; null: nobody's in particular")

    models_denied: list[str] | None = Field(description="patterns of models it may not call all the same")
    scopes: list[str] | None = Field(description="what it is for; null: all that a caller may")
    ip_allowlist: list[str] | None = Field(description="networks that it may be used from; null: any")
    rpm: int | None = Field(description="its own requests a minute, of all models; null: no such limit")
    tpm: int | None = Field(description="its own tokens a minute")
    parallel: int | None = Field(description="its own calls under way at a time")
    metadata: dict[str, str]
    tags: list[str]
    generation: int = Field(description="its version, which every change raises; the ETag")
    last_used_at: Time | None = Field(description="when its newest booked call was admitted; null: never")

    @property
    def etag(self) -> int | None:
        return self.generation


class WalletView(View):
    currency: str
    balance_nanos: Nanos
    held_nanos: Nanos = Field(description="set aside for calls that run, and for refunds under way")
    available_nanos: Nanos = Field(description="what a new call may hold: balance less held; may be negative")
    balance: str = Field(description="the balance in units of the currency", examples=["12.345678900"])


class AccountsPage(View):
    accounts: list[AccountView]
    next: int | None = Field(description="what to send as `after`; null on the last page")


class KeysPage(View):
    keys: list[KeyView]
    next: int | None = Field(description="what to send as `after`; null on the last page")


class ChangedKey(KeyView):
    in_effect: bool = Field(description="false: Redis was not reached, and a worker will push it")

    @classmethod
    def of_key(cls, key: Key, *, in_effect: bool) -> ChangedKey:
        return cls(**KeyView.of(key).model_dump(), in_effect=in_effect)


class KeySecret(View):
    id: int
    key: str = Field(description="the secret; this is the only time it is shown")
    prefix: str
    in_effect: bool = Field(description="false: Redis was not reached, and a worker will push it")


class RotatedKey(KeySecret):
    previous_ends_at: Time = Field(description="from when on the secret before is no good")


class AccountWallets(View):
    account_id: int
    wallets: list[WalletView]


class CreditView(View):
    account_id: int
    currency: str
    amount_nanos: Nanos
    seq: int = Field(description="the number of this credit in its wallet")
    balance_nanos: Nanos = Field(description="the ledger's, right after this credit")
    ledger_transaction_id: int


class Alive(View):
    status: Literal["ok"]


class About(View):
    name: str
    version: str
    docs: str


class Refusal(View):
    code: str
    message: str
    field: str | None = Field(description="the field or parameter at fault")


class Refused(View):
    error: Refusal


def next_page(rows: list[Any], limit: int) -> int | None:
    """What to send as `after`, by the ids of a page's rows; None on the last page."""
    return int(rows[-1].id) if len(rows) == limit else None
