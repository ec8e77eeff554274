"""A bill line as it is shown: of a call that runs, and of one that is booked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, RootModel

from rabbitgw.api.views import Nanos, Time, View


class LineOfOpenCall(View):
    """A call that runs: nothing is charged yet."""

    request_id: str = Field(description="the same as `id`; the id of this very request is in the headers")
    id: str
    account_id: int
    key_id: int | None
    user_id: int | None = Field(description="whose key it was when the call was admitted")
    caller_request_id: str | None = Field(description="the X-Request-ID that the caller sent")
    model: str | None
    dialect: str | None
    status: Literal["open"]
    usage_source: None
    currency: str
    cost_nanos: Nanos
    held_nanos: Nanos = Field(description="what is set aside now")
    price_version: int | None
    admitted_at: Time | None


class ModelShare(View):
    model: str = Field(alias="m")
    input_tokens: int = Field(alias="in")
    output_tokens: int = Field(alias="out")


class CorrectionView(View):
    """A call costed anew, because the price that it was charged by was wrong."""

    rerate_id: int = Field(description="the run that corrected it")
    corrected_at: Time
    old_price_version: int
    price_version: int
    old_nanos: Nanos = Field(description="what the call cost until then")
    new_nanos: Nanos


class BookedLine(View):
    """A call that ended and is in the books. Token counts of a part are also in the count of the whole."""

    request_id: str = Field(description="the same as `id`; the id of this very request is in the headers")
    id: str
    account_id: int
    key_id: int | None
    user_id: int | None = Field(description="whose key it was when the call was admitted")
    caller_request_id: str | None = Field(description="the X-Request-ID that the caller sent")
    model: str | None = Field(description="as it was priced")
    dialect: str | None
    status: Literal["settled", "partial", "released", "expired"]
    usage_source: str | None = Field(description="`provider`, `request`, `estimated` or `partial`")
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    output_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int
    currency: str
    cost_nanos: Nanos
    price_version: int | None
    attempts: int
    admitted_at: Time | None
    first_byte_at: Time | None
    finished_at: Time | None
    upstream_model: str = Field(default="", description="the model that answered; only if upstream named one")
    service_tier: str = Field(default="", description="the tier that served; only if it was stated")
    error_code: str = Field(default="", description="why it did not end well; only then")
    tools: dict[str, int] = Field(
        default_factory=dict, description="uses of the provider's own tools; only if there are any"
    )
    per_model: list[ModelShare] = Field(
        default_factory=list, description="shares of other models that served inside the call; only then"
    )
    corrected_nanos: Nanos = Field(
        default=0, description="what the call costs with its corrections; only if there are any"
    )
    included_nanos: Nanos = Field(
        default=0, description="what a plan bore, beside `cost_nanos`; only if it did"
    )
    overflow: str = Field(
        default="",
        description="`grace`, `degrade` or `spill`: how it went beyond a plan's daily limit; only then",
    )
    model_asked: str = Field(
        default="", description="the model asked for, where a plan had `model` serve instead"
    )
    images: int = Field(default=0, description="made; only if it was to make any")
    image_kind: str = Field(
        default="", description="size and quality that they were charged by", examples=["1024x1792:hd"]
    )
    audio_ms: int = Field(
        default=0, description="sound heard or made, milliseconds; only where it is stated or charged"
    )
    characters: int = Field(default=0, description="of the text that was to be spoken; only of speech")
    image_input_tokens: int = Field(default=0, description="of the input; only if there are any")
    image_output_tokens: int = Field(default=0, description="of the output; only if there are any")


class CorrectedLine(BookedLine):
    """A call that was costed anew after it was charged."""

    corrections: list[CorrectionView] = Field(description="in their order")


class BillLine(RootModel[LineOfOpenCall | CorrectedLine | BookedLine]):
    """What one call used and cost."""
