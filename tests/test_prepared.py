"""Prepared commands say, filled in, what the headers of the scripts ask for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rabbitgw.keynames import KeyNames
from rabbitgw.prepared import EndCommands, RateCheck, ReserveCommand, WindowCheck
from rabbitgw.resp import command
from tests.scripted import Offer, offers_text

KEYS = KeyNames(4, 3).partition[2]
SHA = b"5" * 40
WINDOWS = [WindowCheck(11, "life", 0, 0, 9 * 10**18), WindowCheck(12, "2026-11-21", 1, 2, 5)]
KEY = {
    "worker_id": "w-1%",
    "currency": "€UR",
    "key_id": 7,
    "generation": 2,
    "max_age_ms": 1000,
    "backlog_max": 10,
}

ids = st.text(min_size=1, max_size=40) | st.uuids().map(str)
amounts = st.integers(0, 9 * 10**18)
times = amounts | st.integers(1_700_000_000_000, 10**13)


RATES = [RateCheck(5, 60, 0, 2), RateCheck(6, 0, 10**12, 0)]


@given(
    ids,
    st.lists(st.tuples(amounts, amounts, st.booleans()), min_size=1),
    st.binary(),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 10**12),
)
def test_a_reserve(
    hold_id: str,
    terms: list[tuple[int, int, bool]],
    ticket: bytes,
    n_windows: int,
    n_rates: int,
    tokens: int,
) -> None:
    windows = WINDOWS[:n_windows]
    rates = ["", f"5 60 0 2;{tokens}", f"5 60 0 2;6 0 1000000000000 0;{tokens}"][n_rates]
    key = ReserveCommand(SHA, KEYS, b"3", 41, windows=windows, rates=RATES[:n_rates], **KEY)  # type: ignore[arg-type]
    offers = [Offer(amount, least, last, "1" * n_windows) for amount, least, last in terms]
    text = key.offers(offers)
    assert text == offers_text((amount, least, int(last), "1" * n_windows) for amount, least, last in terms)
    keys = (KEYS.epoch_key, KEYS.account(41), KEYS.holds, KEYS.mark(hold_id), KEYS.events)
    assert key.filled(hold_id, text, ticket, tokens) == command(
        (
            "EVALSHA", SHA, 5, *keys, "3", hold_id, "w-1%", 41, "€UR", 7, 2, 1000, 10,
            n_windows, *(value for window in windows for value in window), rates, text, ticket,
        )
    )  # fmt: skip


@given(ids, amounts, times, st.sampled_from(["settled", "partial"]), st.binary())
def test_an_end(hold_id: str, cost_nanos: int, first_try_ms: int, status: str, payload: bytes) -> None:
    wallet = EndCommands(SHA, b"6" * 40, KEYS, b"3", 41, "€UR")
    keys = (KEYS.epoch_key, KEYS.account(41), KEYS.holds, KEYS.mark(hold_id), KEYS.events)
    assert wallet.settle(hold_id, cost_nanos, first_try_ms, status, payload) == command(
        ("EVALSHA", SHA, 5, *keys, "3", hold_id, 41, "€UR", cost_nanos, first_try_ms, status, payload)
    )
    assert wallet.settle(hold_id, cost_nanos, first_try_ms, status, payload, 8154) == command(
        ("EVALSHA", SHA, 5, *keys, "3", hold_id, 41, "€UR", cost_nanos, first_try_ms, status, payload, 8154)
    )
    assert wallet.release(hold_id, payload) == command(
        ("EVALSHA", b"6" * 40, 5, *keys, "3", hold_id, 41, "€UR", payload)
    )
