"""Usage events as rows: whatever bytes come, the line goes on, and what can be charged is."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rabbitgw.billing.events import payload, ticket
from rabbitgw.billing.usage import Usage
from rabbitgw.billing.usage_rows import Fold, StreamId, UsageRow, parse_windows
from rabbitgw.money import AMOUNT_NANOS_MAX

ID = "01930000-0000-7000-8000-000000000001"
GOOD = {
    "id": ID, "s": "settled", "n": "120", "x": "0", "a": "41", "c": "USD", "w": "7:2026-11-21,9:life",
    "p": '{"k":7,"u":6,"r":"req","m":"gpt","d":"openai-chat","v":3,"us":"provider","in":100,"ci":40,"cw":9,"cw1h":4,'
    '"out":20,"rt":5,"ai":1,"ao":2,"at":2,"t0":1700000000000,"t1":1700000000100,"t2":1700000000900,"tier":"priority",'
    '"um":"gpt-2026","tools":{"web_search_requests":2},"pm":[{"m":"mini","in":1,"out":2}]}',
}  # fmt: skip


def flat(**changes: str | bytes) -> list[bytes]:
    return [
        part if isinstance(part, bytes) else part.encode()
        for pair in {**GOOD, **changes}.items()
        for part in pair
    ]


def fold(*events: dict[str, Any]) -> Fold:
    folded = Fold()
    for number, event in enumerate(events):
        folded.add(5, StreamId(1_700_000_000_000, number), flat(**event))
    return folded


def only_row(*events: dict[str, Any]) -> UsageRow:
    folded = fold(*events)
    assert folded.dead == []
    (row,) = folded.rows.values()
    return row


def test_every_field_of_an_event_is_in_its_row() -> None:
    row = only_row({})
    assert (row.id, row.account_id, row.currency, row.status, row.charge_nanos) == (
        ID,
        41,
        "USD",
        "settled",
        120,
    )
    assert (row.partition, row.position, row.windows) == (5, 1_700_000_000_000 << 20, "7:2026-11-21,9:life")
    assert (row.key_id, row.caller_request_id, row.model, row.dialect) == (7, "req", "gpt", "openai-chat")
    assert row.user_id == 6
    assert (row.price_version, row.usage_source, row.attempts) == (3, "provider", 2)
    assert (row.input_tokens, row.cached_input_tokens, row.cache_write_tokens) == (100, 40, 9)
    assert (row.cache_write_1h_tokens, row.output_tokens, row.reasoning_tokens) == (4, 20, 5)
    assert (row.audio_input_tokens, row.audio_output_tokens) == (1, 2)
    assert (row.admitted_ms, row.first_byte_ms) == (1_700_000_000_000, 1_700_000_000_100)
    assert (row.finished_ms, row.service_tier, row.upstream_model) == (
        1_700_000_000_900,
        "priority",
        "gpt-2026",
    )
    assert row.tools == '{"web_search_requests":2}'
    assert row.per_model == '[{"m":"mini","in":1,"out":2}]'
    assert (row.late, row.expired_nanos, row.expired_position, row.error_code) == (False, 0, None, None)


def test_what_a_stream_cost_beyond_its_hold_goes_through_an_event() -> None:
    facts = ticket(
        key_id=7, caller_request_id=None, model="gpt", dialect="openai-chat", price_version=3, admitted_ms=1,
        streamed=True,
    )  # fmt: skip
    ends: dict[str, Any] = {"attempts": 1, "first_byte_ms": 2, "finished_ms": 3}
    beyond = payload(facts, Usage(input_tokens=1, output_tokens=2), excess_nanos=1_744_000_000, **ends)
    within = payload(facts, Usage(input_tokens=1, output_tokens=2), **ends)
    assert b'"ov":1744000000' in beyond
    assert b'"ov"' not in within
    assert (only_row({"p": beyond}).streamed, only_row({"p": beyond}).excess_nanos) == (True, 1_744_000_000)
    assert only_row({"p": within}).excess_nanos == 0


@pytest.mark.parametrize("said", ["-1", "1.5", '"7"', "true", str(AMOUNT_NANOS_MAX + 1)])
def test_an_excess_that_is_no_amount_is_told_and_the_call_charged(said: str) -> None:
    folded = fold({"p": f'{{"ov":{said}}}'})
    assert (folded.rows[ID].charge_nanos, folded.rows[ID].excess_nanos) == (120, 0)
    assert [(dead.reason, dead.charged) for dead in folded.dead] == [("ov is no count", True)]


def test_an_expiry_and_its_late_end_are_one_row() -> None:
    row = only_row({"s": "expired", "n": "50"}, {"s": "late", "n": "-30", "x": "50"})
    assert (row.status, row.late, row.charge_nanos, row.expired_nanos) == ("settled", True, 20, 50)
    assert row.expired_position == 1_700_000_000_000 << 20
    assert row.position == (1_700_000_000_000 << 20) + 1


def test_a_late_end_alone_carries_the_whole_charge() -> None:
    row = only_row({"s": "late", "n": "70", "x": "50"})
    assert (row.status, row.charge_nanos, row.expired_nanos, row.expired_position) == (
        "settled",
        120,
        0,
        None,
    )


def test_a_late_end_of_a_broken_answer_is_partial() -> None:
    assert only_row({"s": "late", "p": '{"us": "partial"}'}).status == "partial"


@pytest.mark.parametrize("first", ["settled", "partial", "released", "late"])
@pytest.mark.parametrize("second", ["settled", "released", "expired"])
def test_the_first_end_stands(first: str, second: str) -> None:
    folded = fold({"s": first}, {"s": second, "n": "999"})
    assert folded.rows[ID].charge_nanos == 120
    (dead,) = folded.dead
    assert dead.reason.startswith("a second end of the call")
    assert not dead.charged


def test_an_id_of_two_accounts_is_charged_to_the_first_only() -> None:
    folded = fold({"s": "expired", "n": "50"}, {"s": "late", "n": "70", "x": "50", "a": "42"})
    assert (folded.rows[ID].account_id, folded.rows[ID].charge_nanos) == (41, 50)
    assert folded.dead[0].reason == "its expiry was of account 41 in USD"


def test_positions_are_ordered_as_redis_orders_ids() -> None:
    ids = [StreamId(1, 0), StreamId(1, 7), StreamId(1, 2**20 - 1), StreamId(2, 0), StreamId(2**42, 0)]
    assert ids == sorted(ids)
    assert [one.position for one in ids] == sorted({one.position for one in ids})
    assert StreamId(1, 2**20 + 5).position == StreamId(1, 2**20 - 1).position
    assert StreamId.parse(b"17-3") == (17, 3)
    assert (str(StreamId(17, 3)), StreamId(17, 3).following()) == ("17-3", "17-4")


def test_windows() -> None:
    assert parse_windows("") == ()
    assert parse_windows("7:2026-11-21,9:life") == ((7, "2026-11-21"), (9, "life"))
    for wrong in ("7", "x:life", "7:", ":life", "0:life", "7:life,"):
        with pytest.raises(ValueError, match=r"window|invalid literal"):
            parse_windows(wrong)


junk = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.integers().map(lambda number: str(number).encode()),
    st.recursive(
        st.one_of(
            st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=300)
        ),
        lambda inner: st.dictionaries(
            st.sampled_from(["k", "r", "m", "us", "in", "at", "t0", "tools", "pm"]), inner, max_size=5
        ),
        max_leaves=8,
    ).map(lambda value: orjson.dumps(value, default=str)),
)


@given(st.dictionaries(st.sampled_from(list(GOOD)), junk, max_size=4), st.booleans())
def test_no_event_can_stop_the_line(changes: dict[str, bytes], odd: bool) -> None:
    event = flat(**changes)
    folded = Fold()
    folded.add(5, StreamId(1, 1), event[:-1] if odd else event)
    assert len(folded.rows) + len(folded.dead) >= 1
    for row in folded.rows.values():
        assert "\x00" not in "".join(
            value for value in map(str, (row.model, row.caller_request_id, row.windows))
        )
        assert all(0 <= count < 2**63 for count in (row.input_tokens, row.key_id or 0, row.admitted_ms or 0))
    for dead in folded.dead:
        assert dead.reason
        assert isinstance(orjson.loads(dead.fields), dict)
