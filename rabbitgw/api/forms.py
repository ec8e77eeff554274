"""The bodies and queries that side routes accept. A field that is not in here is refused by name.

Shape and type only: which amounts, names and times make sense is decided in billing, for every way in. What billing
decides is told to the OpenAPI document by `told`, from billing's own bounds; the tests hold one against the other.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr

from rabbitgw.billing.accounts import CURRENCY_DEFAULT, NAME_CHARS_MAX, PAGE_MAX, checked_currency
from rabbitgw.billing.key_fields import (
    LABELS_MAX,
    METADATA_CHARS_MAX,
    MODELS_MAX,
    NETWORKS_MAX,
    TAG_CHARS_MAX,
)
from rabbitgw.billing.keys import GRACE_S_MAX
from rabbitgw.billing.model_patterns import PATTERN_CHARS_MAX
from rabbitgw.billing.rate_limits import PARALLEL_MAX, RPM_MAX, TPM_MAX
from rabbitgw.billing.scopes import SCOPES
from rabbitgw.billing.users import EMAIL_CHARS_MAX, EXTERNAL_ID_CHARS_MAX
from rabbitgw.billing.wallets import KEY_CHARS_MAX
from rabbitgw.money import AMOUNT_NANOS_MAX

INT64_MAX = 2**63 - 1
PRINTABLE = "printable"  # a format of ours; openapi.py says what it means
CURRENCY_PATTERN = "^[A-Z]{3}$"


def told(**schema: Any) -> Any:
    """What the document says of a value that is checked elsewhere."""
    return Field(json_schema_extra=schema)


def told_text(chars_max: int) -> Any:
    return told(format=PRINTABLE, minLength=1, maxLength=chars_max)


def _iso_time(value: Any) -> Any:
    """A moment is text in ISO 8601; a bare number could be seconds or milliseconds."""
    if not isinstance(value, str):
        raise ValueError("must be a time like 2027-01-31T00:00:00Z")
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a time like 2027-01-31T00:00:00Z") from None


Id = Annotated[StrictInt, Field(ge=1, le=INT64_MAX)]
Moment = Annotated[datetime, BeforeValidator(_iso_time)]
Name = Annotated[StrictStr, told_text(NAME_CHARS_MAX)]
Currency = Annotated[StrictStr, told(pattern=CURRENCY_PATTERN)]
Email = Annotated[StrictStr, told(format="email", maxLength=EMAIL_CHARS_MAX)]
ExternalId = Annotated[StrictStr, told_text(EXTERNAL_ID_CHARS_MAX)]
ModelPattern = Annotated[StrictStr, told_text(PATTERN_CHARS_MAX)]
Scope = Annotated[StrictStr, told(enum=list(SCOPES))]
ModelPatterns = Annotated[list[ModelPattern], told(minItems=1, maxItems=MODELS_MAX)]
Scopes = Annotated[list[Scope], told(minItems=1)]
Networks = Annotated[list[StrictStr], told(minItems=1, maxItems=NETWORKS_MAX)]
Metadata = Annotated[
    dict[
        Annotated[StrictStr, told_text(METADATA_CHARS_MAX)],
        Annotated[StrictStr, told(format=PRINTABLE, maxLength=METADATA_CHARS_MAX)],
    ],
    told(
        maxProperties=LABELS_MAX,
        propertyNames={"format": PRINTABLE, "minLength": 1, "maxLength": METADATA_CHARS_MAX},
    ),
]
Tags = Annotated[list[Annotated[StrictStr, told_text(TAG_CHARS_MAX)]], told(maxItems=LABELS_MAX)]
ResetTime = Annotated[StrictStr, told(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Cap = Annotated[StrictInt, told(format="int64", minimum=0, maximum=AMOUNT_NANOS_MAX)]
Credit = Annotated[StrictInt, told(format="int64", minimum=1, maximum=AMOUNT_NANOS_MAX)]
Rpm = Annotated[StrictInt, told(format="int64", minimum=1, maximum=RPM_MAX)]
Tpm = Annotated[StrictInt, told(format="int64", minimum=1, maximum=TPM_MAX)]
Parallel = Annotated[StrictInt, told(format="int64", minimum=1, maximum=PARALLEL_MAX)]
# Numbers of a query come as text.
QueryId = Annotated[int, Field(ge=0, le=INT64_MAX)]
QueryRows = Annotated[int, Field(ge=1, le=PAGE_MAX)]


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Nothing(Form):
    """A route that takes no field: one that is sent anyway is refused, not ignored."""


class Anything(BaseModel):
    """The query of a route that looks at none: a balancer's probe may carry what it likes."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class AccountForm(Form):
    name: Name
    currency: Currency = Field(default=CURRENCY_DEFAULT, description="its billing currency, for good")


class KeyForm(Form):
    account_id: Id
    name: Name
    models: ModelPatterns | None = Field(
        default=None,
        description="patterns of the models it may call; all if left out",
        examples=[["gpt-4o*"]],
    )
    lifetime_limit_nanos: Cap | None = Field(default=None, description="spend cap for its whole life")
    daily_limit_nanos: Cap | None = Field(default=None, description="spend cap per calendar day in UTC+8")
    expires_at: Moment | None = None
    user_id: Id | None = Field(default=None, description="whose key it is: a user of the same account")

    models_denied: ModelPatterns | None = Field(
        default=None,
        description="patterns of models it may not call, whatever `models` says",
        examples=[["*-preview"]],
    )
    scopes: Scopes | None = Field(
        default=None,
        description=f"what it is for, of: {', '.join(SCOPES)}; all but admin if left out",
        examples=[["chat", "embeddings", "models"]],
    )
    ip_allowlist: Networks | None = Field(
        default=None,
        description="networks (CIDR) that it may be used from; all if left out",
        examples=[["203.0.113.0/24", "2001:db8::/32"]],
    )
    rpm: Rpm | None = Field(default=None, description="requests a minute")
    tpm: Tpm | None = Field(default=None, description="tokens a minute, input and output")
    parallel: Parallel | None = Field(default=None, description="calls under way at a time")
    metadata: Metadata | None = Field(default=None, description="your own notes; they decide nothing")
    tags: Tags | None = None


class KeyChange(Form):
    """A field that is left out stays as it is; null means what it means for a new key: no limit, no note."""

    name: Name = Field(default_factory=str)
    models: ModelPatterns | None = None
    models_denied: ModelPatterns | None = None
    scopes: Scopes | None = None
    ip_allowlist: Networks | None = None
    metadata: Metadata | None = Field(default=None, description="replaces all entries")
    tags: Tags | None = Field(default=None, description="replaces all tags")
    expires_at: Moment | None = None


class RotationForm(Form):
    grace_s: StrictInt = Field(
        default=0, ge=0, le=GRACE_S_MAX, description="seconds for which the secret before stays good"
    )


class CreditForm(Form):
    account_id: Id
    currency: Currency
    amount_nanos: Credit
    idempotency_key: Annotated[StrictStr, told_text(KEY_CHARS_MAX)] = Field(
        description="the same request with the same key gets the same answer and credits nothing more"
    )


class PageQuery(Form):
    after: QueryId = Field(default=0, description="`next` of the page before")
    limit: QueryRows = PAGE_MAX


class KeysQuery(PageQuery):
    account_id: QueryId | None = Field(default=None, description="only keys of this account")


class WalletsQuery(Form):
    account_id: QueryId


class PricesQuery(Form):
    pattern: Annotated[str, told(format=PRINTABLE)] | None = Field(
        default=None, description="every version of this pattern"
    )
    currency: Annotated[Currency, AfterValidator(checked_currency)] = CURRENCY_DEFAULT
