"""A price as operators send it and as it is shown: shape and type. What fits is decided in billing/price_terms.py."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool, StrictInt, StrictStr

from rabbitgw.api.forms import Form, told, told_text
from rabbitgw.api.views import View
from rabbitgw.billing.accounts import CURRENCY_DEFAULT
from rabbitgw.billing.model_patterns import PATTERN_CHARS_MAX
from rabbitgw.billing.price_terms import (
    COUNT_MAX,
    THRESHOLD_TOKENS_MAX,
    THRESHOLDS_MAX,
    TIERS_MAX,
    UNITS_PER_RATE,
)
from rabbitgw.money import AMOUNT_NANOS_MAX

ANY_CASE_PATTERN = "^[A-Za-z]{3}$"

Rate = Annotated[StrictInt, told(format="int64", minimum=0, maximum=AMOUNT_NANOS_MAX)]
PerPiece = Annotated[StrictInt, told(format="int64", minimum=0, maximum=AMOUNT_NANOS_MAX // UNITS_PER_RATE)]
Count = Annotated[StrictInt, told(format="int64", minimum=0, maximum=COUNT_MAX)]


class Rates(Form):
    """Nanos per million tokens. A rate that is left out is taken from another; 0 is a price, not a gap."""

    input_nanos_per_mtok: Rate | None = None
    cached_input_nanos_per_mtok: Rate | None = None
    cache_write_nanos_per_mtok: Rate | None = None
    cache_write_1h_nanos_per_mtok: Rate | None = None
    output_nanos_per_mtok: Rate | None = None
    reasoning_nanos_per_mtok: Rate | None = None
    audio_input_nanos_per_mtok: Rate | None = None
    audio_output_nanos_per_mtok: Rate | None = None
    cached_audio_input_nanos_per_mtok: Rate | None = None
    image_input_nanos_per_mtok: Rate | None = None
    cached_image_input_nanos_per_mtok: Rate | None = None
    image_output_nanos_per_mtok: Rate | None = None


class RatesAbove(Rates):
    """Rates of the whole call when its prompt is larger than this."""

    tokens: Annotated[StrictInt, told(format="int64", minimum=1, maximum=THRESHOLD_TOKENS_MAX)]


Steps = Annotated[list[RatesAbove], told(maxItems=THRESHOLDS_MAX)]


class TierRates(Rates):
    """Rates of a service tier."""

    above: Steps = Field(default_factory=list)


Tiers = Annotated[
    dict[str, TierRates],
    told(maxProperties=TIERS_MAX, propertyNames={"type": "string", "pattern": "^[a-z0-9_.-]+$"}),
]


class Terms(Rates):
    """What a price may say beside its name and the rates of its plain tier."""

    above: Steps = Field(default_factory=list)
    tiers: Tiers = Field(default_factory=dict, description="by the tier's name in lower case")
    unit_nanos: dict[str, PerPiece] = Field(
        default_factory=dict,
        description="prices by the piece: `images`, `images:<size>:<quality>`, `characters`, `seconds` or `minutes` of "
        "sound, `requests`, uses of the provider's tools",
        examples=[{"web_search_requests": 10_000_000}, {"images:1024x1792:hd": 120_000_000}],
    )
    max_input_tokens: Count | None = None
    max_output_tokens: Count | None = None
    image_tokens_max: Count | None = Field(default=None, description="what one image can count as")
    mode: StrictStr = Field(default="", description="what kind of model it is, as LiteLLM's map says it")


class PriceForm(Terms):
    """A new version of a price. At least one rate, or a price by the piece, unless it is not sold."""

    pattern: Annotated[StrictStr, told_text(PATTERN_CHARS_MAX)] = Field(
        description="a model's name, or a pattern like gpt-4o*"
    )
    currency: Annotated[StrictStr, told(pattern=ANY_CASE_PATTERN)] = CURRENCY_DEFAULT
    sold: StrictBool = Field(default=True, description="false: from then on not sold")
    reasons: StrictBool = Field(
        default=False, description="it may think unseen; true by itself where a reasoning rate is set"
    )
    effective_from_ms: Count | None = Field(default=None, description="now if left out or past")


class PriceView(Terms):
    price_version: int
    pattern: str
    currency: str
    sold: bool
    origin: str = Field(description="`set`, or where it was imported from")
    effective_from_ms: int
    reasons: bool
    unsold: list[str] = Field(
        default_factory=list, description="parts that this price does not hold: calls with them are refused"
    )


class PricesView(View):
    prices: list[PriceView]
