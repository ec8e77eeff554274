"""A price as operators send it and as it is shown: shape and type. What fits is decided in billing/price_terms.py."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool, StrictInt, StrictStr

from rabbitgw.api.forms import Form
from rabbitgw.api.views import View
from rabbitgw.billing.accounts import CURRENCY_DEFAULT

Rate = Annotated[StrictInt, Field(json_schema_extra={"format": "int64"})]


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

    tokens: StrictInt


class TierRates(Rates):
    """Rates of a service tier."""

    above: list[RatesAbove] = Field(default_factory=list)


class Terms(Rates):
    """What a price may say beside its name and the rates of its plain tier."""

    above: list[RatesAbove] = Field(default_factory=list)
    tiers: dict[str, TierRates] = Field(default_factory=dict, description="by the tier's name in lower case")
    unit_nanos: dict[str, StrictInt] = Field(
        default_factory=dict,
        description="prices by the piece",
        examples=[{"web_search_requests": 10_000_000}],
    )
    max_input_tokens: StrictInt | None = None
    max_output_tokens: StrictInt | None = None
    image_tokens_max: StrictInt | None = Field(default=None, description="what one image can count as")
    mode: StrictStr = Field(default="", description="what kind of model it is, as LiteLLM's map says it")


class PriceForm(Terms):
    """A new version of a price. At least one rate, or a price by the piece, unless it is not sold."""

    pattern: StrictStr = Field(description="a model's name, or a pattern like gpt-4o*")
    currency: StrictStr = CURRENCY_DEFAULT
    sold: StrictBool = Field(default=True, description="false: from then on not sold")
    reasons: StrictBool = Field(
        default=False, description="it may think unseen; true by itself where a reasoning rate is set"
    )
    effective_from_ms: StrictInt | None = Field(default=None, description="now if left out or past")


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
