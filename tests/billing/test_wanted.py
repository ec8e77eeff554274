"""What a call for images or sound holds is never less than what it is charged where its answer states nothing more."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rabbitgw.billing.prices import Price, charge
from rabbitgw.billing.rates import BASE_TIER, RateTable
from rabbitgw.billing.usage import Made
from rabbitgw.billing.wanted import Wanted, heard_at, likely_usage, unpriced, worst_nanos

RATES = st.integers(0, 10**12)
KINDS = st.sampled_from(("input", "output", "audio_input", "audio_output", "image_input", "image_output"))
UNITS = st.sampled_from(
    ("images", "images:1x1", "images:1x1:hd", "images:2x2:hd", "characters", "seconds", "minutes", "requests")
)
PRICES = st.builds(
    lambda sheet, units: Price("m", RateTable({(BASE_TIER, 0): sheet}), units=units),
    st.dictionaries(KINDS, RATES),
    st.dictionaries(UNITS, RATES),
)
WORDS = st.sampled_from(("", "auto", "1x1", "2x2", "3x3"))
QUALITIES = st.sampled_from(("", "auto", "hd", "low"))
COUNTS = st.integers(1, 10**6)
WANTED = st.one_of(
    st.builds(Wanted, images=st.integers(1, 10), size=WORDS, quality=QUALITIES, text_bytes=COUNTS),
    st.builds(Wanted, characters=st.integers(1, 10**6), text_bytes=COUNTS, audio_ms=COUNTS),
    st.builds(Wanted, text_bytes=COUNTS, audio_ms=COUNTS, audio_bytes=COUNTS, hears=st.just(True)),
)


@given(PRICES, WANTED, st.integers(1, 10))
def test_a_hold_covers_what_is_charged_and_what_is_sold_is_priced(
    price: Price, wanted: Wanted, images: int
) -> None:
    wanted = heard_at(replace(wanted, audio_ms_max=wanted.audio_ms), 750)
    if unpriced(price, wanted):
        return
    held_nanos = worst_nanos(price, wanted, 500)
    for made in (None, Made(min(images, wanted.images))):
        bill = charge(price, likely_usage(price, wanted, made))
        assert (bill.cost_nanos <= held_nanos, bill.unpriced) == (True, ()), made
