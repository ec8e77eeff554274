"""What a call costs by another price than the one it was charged by, from the counts that its usage row holds.

Owns which calls can be costed anew: those whose counts, by the price that they were charged by, give exactly what
they were charged, and that hold all that the other price counts. Every other call is left as it is, with the reason.
Knows no ledger. A row does not hold how the shares of other models divide; one that was booked before they were kept
(migration 0017) no tokens of images and no seconds of sound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from rabbitgw.billing.pieces import MINUTES, SECONDS
from rabbitgw.billing.price_book import completed
from rabbitgw.billing.prices import Price, PriceBook, charge
from rabbitgw.billing.usage import Pieces, Usage
from rabbitgw.billing.usage_rows import EXPIRED
from rabbitgw.money import AMOUNT_NANOS_MAX

NO_COUNTS: Final = "no_counts"
COUNTS_DIFFER: Final = "counts_differ"
NOT_PRICED: Final = "not_priced"
IMAGES_NOT_KEPT: Final = "images_not_kept"
SECONDS_NOT_KEPT: Final = "seconds_not_kept"
SHARES_NOT_KEPT: Final = "shares_not_kept"
TOO_LARGE: Final = "too_large"
BORNE: Final = "borne"
REASONS: Final = {
    NO_COUNTS: "it expired and was charged by what was delivered: there are no counts",
    COUNTS_DIFFER: "its counts, by the wrong price, do not give what it was charged",
    NOT_PRICED: "the right price does not hold all that it used",
    IMAGES_NOT_KEPT: "the right price has rates for images, and tokens of images were not kept apart then",
    SECONDS_NOT_KEPT: "the right price is by the second, and seconds were not kept then",
    SHARES_NOT_KEPT: "other models served inside it, and what they shared of cache, reasoning and audio is not kept",
    BORNE: "a plan bore it, wholly or in part, and not its wallet",
    TOO_LARGE: "it would cost more than a wallet can hold",
}
_IMAGE_RATES: Final = (
    ("image_input", "input"),
    ("cached_image_input", "cached_input"),
    ("image_output", "output"),
)


class Change(NamedTuple):
    """One call costed anew. `number`: which of its corrections this would be, from 1."""

    usage_id: UUID
    number: int
    account_id: int
    old_nanos: int
    new_nanos: int

    @property
    def difference_nanos(self) -> int:
        """Above zero: the call costs more."""
        return self.new_nanos - self.old_nanos


@dataclass(frozen=True, slots=True)
class Repricing:
    """From the wrong price to the right one. The books say what shares of other models cost by each.

    Prices of plans take part too: what their rules do not say is the list's, as it is now.
    """

    wrong: Price
    right: Price
    wrong_book: PriceBook
    right_book: PriceBook
    book: PriceBook

    @classmethod
    def between(cls, wrong: Price, right: Price, book: PriceBook) -> Repricing:
        others = [
            price
            for price in book.prices()
            if price.currency == wrong.currency and price.pattern not in (wrong.pattern, right.pattern)
        ]
        wrong_book, right_book = (
            PriceBook([*others, price]) if price.plan_id is None else book for price in (wrong, right)
        )
        return cls(wrong, right, wrong_book, right_book, book)

    def recost(self, row: Mapping[str, Any]) -> Change | str:
        """The change of a row of sql/rerates/calls.sql, or the reason why its cost cannot be told anew."""
        if row["status"] == EXPIRED:
            return NO_COUNTS
        if row["included_nanos"]:
            return BORNE
        usage = usage_of(row)
        if hides_shares(usage):
            return SHARES_NOT_KEPT
        wrong, right = (self._whole(price, row["model"]) for price in (self.wrong, self.right))
        if charge(wrong, usage, self.wrong_book).cost_nanos != row["nanos"]:
            return COUNTS_DIFFER
        missing = None if row["audio_ms"] is not None else _not_kept(wrong, right, usage)
        if missing is not None:
            return missing
        cost_nanos, unpriced = charge(right, usage, self.right_book)
        if unpriced:
            return NOT_PRICED
        if cost_nanos > AMOUNT_NANOS_MAX:
            return TOO_LARGE
        return Change(row["id"], row["corrections"] + 1, row["account_id"], row["nanos"], cost_nanos)

    def _whole(self, price: Price, model: str | None) -> Price:
        if price.plan_id is None or model is None:
            return price
        return completed(price, self.book.match(model, price.currency))


def _not_kept(wrong: Price, right: Price, usage: Usage) -> str | None:
    """What the right price counts and a row of before does not say.

    Where the wrong price too had other rates for images, images would have shown in what was charged.
    """
    rates, _ = right.rates(usage.service_tier, usage.input_tokens)
    before, _ = wrong.rates(usage.service_tier, usage.input_tokens)
    textless = not usage.input_tokens and not usage.output_tokens
    if right.units.keys() & {SECONDS, MINUTES} and (textless or rates.missing >= {"input", "output"}):
        return SECONDS_NOT_KEPT
    for image, text in _IMAGE_RATES:
        told_apart = getattr(before, image) != getattr(before, text)
        if getattr(rates, image) != getattr(rates, text) and not told_apart:
            return IMAGES_NOT_KEPT
    return None


def usage_of(row: Mapping[str, Any]) -> Usage:
    """What a call used, as far as its row says it."""
    shares = orjson.loads(row["per_model"]) if row["per_model"] else ()
    return Usage(
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cached_input_tokens=row["cached_input_tokens"],
        cache_write_5m_tokens=row["cache_write_tokens"] - row["cache_write_1h_tokens"],
        cache_write_1h_tokens=row["cache_write_1h_tokens"],
        reasoning_tokens=row["reasoning_tokens"],
        audio_input_tokens=row["audio_input_tokens"],
        audio_output_tokens=row["audio_output_tokens"],
        image_input_tokens=row["image_input_tokens"] or 0,
        image_output_tokens=row["image_output_tokens"] or 0,
        seconds_milli=row["audio_ms"] or 0,
        pieces=_pieces_of(row),
        service_tier=row["service_tier"],
        server_tools=orjson.loads(row["tools"]) if row["tools"] else {},
        per_model=tuple(
            (share["m"], Usage(input_tokens=share["in"], output_tokens=share["out"])) for share in shares
        ),
    )


def _pieces_of(row: Mapping[str, Any]) -> Pieces | None:
    if not (row["images"] or row["characters"]):
        return None
    return Pieces(row["images"], row["image_kind"] or "", row["characters"])


def hides_shares(usage: Usage) -> bool:
    """Whether other models took part in what is kept as a whole only: of shares, input and output are kept."""
    return bool(usage.per_model) and bool(
        usage.cached_input_tokens
        or usage.cache_write_tokens
        or usage.reasoning_tokens
        or usage.audio_input_tokens
        or usage.audio_output_tokens
    )
