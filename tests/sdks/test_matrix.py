"""The official SDKs against the gateway: every exception, every number of requests, every bill, as expected.py says.

One run of all cells (matrix.py) is made for this file; each test looks at it from one side. docs/SDKS.md is written
from such a run, and must be what this one saw.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from rabbitgw.dev.redis import RedisServer
from tests.conftest import PostgresForTests
from tests.fakes.openai_upstream import FakeUpstream
from tests.sdks import expected, table
from tests.sdks.cases import VERSIONS, all_cases
from tests.sdks.features import FEATURES, OWN_ID, Feature
from tests.sdks.houses import THIN_CREDIT_NANOS
from tests.sdks.matrix import Cell, run_matrix
from tests.sdks.situations import SITUATIONS, Situation

pytestmark = pytest.mark.timeout(300)  # of the first test, which waits for the run

CELLS_MIN = 300
# What the caller asks for, and upstream must get as it was said.
PASSED_ON = (
    "input",
    "messages",
    "output_config",
    "prompt",
    "response_format",
    "system",
    "text",
    "tool_choice",
    "tools",
)
NOT_WHOLE = ("money-ends", "stream-error", "stream-cut")  # charged as far as they came
FEATURE_NAMES = tuple(dict.fromkeys(feature.name for feature in FEATURES))


@pytest.fixture(scope="module")
def cells(
    postgres_server: PostgresForTests,
    redis_server: RedisServer,
    upstream_server: FakeUpstream,
    servers_folder: Path,
) -> Iterator[list[Cell]]:
    upstream_server.reset()
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    folder = Path(tempfile.mkdtemp(dir=servers_folder))
    folder.chmod(0o711)
    dsns = (postgres_server.new_database(), postgres_server.new_database())
    found = asyncio.run(run_matrix(dsns, redis_server.url, upstream_server, folder))
    table.save(found)
    yield found
    for dsn in dsns:
        postgres_server.drop(dsn)


def of(cells: list[Cell], name: str) -> list[Cell]:
    found = [cell for cell in cells if cell.case.row.name == name]
    assert found, name
    return found


def wrong(found: list[tuple[Any, ...]]) -> str:
    return "\n" + "\n".join(" ".join(map(str, line)) for line in found[:20])


# -- refusals and failures


@pytest.mark.parametrize("situation", [one.name for one in SITUATIONS])
def test_the_exception_and_the_number_of_requests(cells: list[Cell], situation: str) -> None:
    found = []
    for cell in of(cells, situation):
        case = cell.case
        wanted = expected.outcome(situation, str(case.version), streamed=case.streamed)
        if cell.outcome != wanted:
            found.append((case.id, cell.outcome, "instead of", wanted, cell.error))
    assert not found, wrong(found)


@pytest.mark.parametrize("situation", sorted(expected.SAID))
def test_status_type_code_and_field_are_in_the_routes_own_form(cells: list[Cell], situation: str) -> None:
    found = []
    for cell in of(cells, situation):
        wanted = expected.SAID[situation][cell.case.version.sdk == "anthropic"]
        if cell.said != wanted:
            found.append((cell.case.id, cell.said, "instead of", wanted, cell.error))
    assert not found, wrong(found)


def test_an_error_with_a_status_names_the_request(cells: list[Cell]) -> None:
    """By the header that each SDK reads; the SDK keeps none of an error inside an OpenAI stream."""
    errors = [cell for cell in cells if cell.error is not None and cell.error["status"] is not None]
    assert len(errors) > CELLS_MIN
    assert not [cell.case.id for cell in errors if not cell.error or not cell.error["request_id"]]


@pytest.mark.parametrize("situation", sorted(expected.TEXT_SO_FAR))
def test_what_came_before_a_break_was_read(cells: list[Cell], situation: str) -> None:
    read = {cell.case.id: cell.seen["text"] for cell in of(cells, situation)}
    assert set(read.values()) == {expected.TEXT_SO_FAR[situation]}, read


def test_the_money_that_ends_in_mid_stream_paid_for_what_was_read(cells: list[Cell]) -> None:
    for cell in of(cells, "money-ends"):
        tokens = cell.seen["text"].count("tok ")
        (bill,) = cell.bills
        assert 150 <= tokens <= 300, cell.case.id
        # at 1 000 000 nanos per token; nobody stated how many there were, so the charge is an estimate of them
        assert tokens * 1_000_000 <= bill["charge_nanos"] <= THIN_CREDIT_NANOS, (cell.case.id, tokens, bill)


def test_only_what_upstream_must_see_goes_there_and_each_request_once(cells: list[Cell]) -> None:
    found = []
    for cell in cells:
        row = cell.case.row
        if not cell.case.has_own_model or not isinstance(row, Situation):
            continue
        sent, received = len(cell.sent), len(cell.received)
        wanted = range(sent, sent + 1) if row.upstream_sees else range(1)
        if row.name == "upstream-hangs-up":  # on a kept connection the gateway tries once more itself
            wanted = range(sent, 2 * sent + 1)
        if received not in wanted:
            found.append((cell.case.id, sent, "sent,", received, "received"))
    assert not found, wrong(found)


def test_what_was_refused_or_failed_costs_nothing(cells: list[Cell]) -> None:
    found = []
    for cell in cells:
        row = cell.case.row
        if isinstance(row, Feature) or row.name in (*NOT_WHOLE, "caller-timeout"):
            continue
        lines = [(bill["status"], bill["charge_nanos"]) for bill in cell.bills]
        wanted = [("released", 0)] * len(cell.sent) if row.upstream_sees else []
        if lines != wanted:
            found.append((cell.case.id, lines, "instead of", wanted))
    assert not found, wrong(found)


@pytest.mark.parametrize("situation", NOT_WHOLE)
def test_what_broke_off_is_charged_in_part(cells: list[Cell], situation: str) -> None:
    for cell in of(cells, situation):
        (bill,) = cell.bills
        assert (bill["status"], bill["usage_source"]) == ("partial", "partial"), (cell.case.id, bill)
        assert bill["charge_nanos"] > 0


def test_every_plain_answer_that_the_caller_did_not_wait_for_is_paid(cells: list[Cell]) -> None:
    prices = {"openai-embeddings": 47_500, "anthropic-count-tokens": 0}
    for cell in of(cells, "caller-timeout"):
        lines = [(bill["status"], bill["charge_nanos"]) for bill in cell.bills]
        nanos = prices.get(cell.case.call.dialect, 147_500)
        paid = [("settled" if nanos else "released", nanos)] * 3
        assert lines == ([("released", 0)] if cell.case.streamed else paid), cell.case.id


# -- what works


@pytest.mark.parametrize("name", FEATURE_NAMES)
def test_the_callers_code_reads_what_upstream_said(cells: list[Cell], name: str) -> None:
    found = []
    for cell in of(cells, name):
        row = cell.case.row
        assert isinstance(row, Feature)
        read = {key: value for key, value in cell.seen.items() if key not in ("headers", "request_id")}
        if cell.error or read != row.seen or len(cell.sent) != row.posts:
            found.append((cell.case.id, read, "instead of", row.seen, len(cell.sent), cell.error))
    assert not found, wrong(found)


@pytest.mark.parametrize("name", FEATURE_NAMES)
def test_an_answer_costs_its_price_once_and_its_retries_nothing(cells: list[Cell], name: str) -> None:
    found = []
    for cell in of(cells, name):
        row = cell.case.row
        assert isinstance(row, Feature)
        lines = [(bill["status"], bill["charge_nanos"]) for bill in cell.bills]
        wanted: list[tuple[str, int]] = []
        if row.call.names_model:
            end = ("settled", row.cost_nanos) if row.cost_nanos else ("released", 0)
            wanted = [*[("released", 0)] * (row.posts - 1), end]
        if lines != wanted or len(cell.received) != len(wanted):
            found.append((cell.case.id, lines, "instead of", wanted, len(cell.received)))
    assert not found, wrong(found)


def test_upstream_gets_what_the_sdk_sent(cells: list[Cell]) -> None:
    compared = 0
    for cell in cells:
        if not isinstance(cell.case.row, Feature) or not cell.received:
            continue
        asked = cell.case.told("", None)["arguments"]
        for name in PASSED_ON:
            if name in asked and "$" not in str(asked[name]):
                assert cell.received[-1].json[name] == asked[name], (cell.case.id, name)
                compared += 1
        assert cell.received[-1].route == cell.case.call.path
    assert compared > 200


def test_a_long_prompt_arrives_whole(cells: list[Cell]) -> None:
    for cell in of(cells, "long"):
        assert cell.received[0].body.count(b"word ") == 60_000, cell.case.id


def test_a_schema_made_from_a_class_arrives(cells: list[Cell]) -> None:
    for cell in of(cells, "parse"):
        assert b'"inhabitants"' in cell.received[0].body, cell.case.id


def test_upstream_is_not_shown_the_caller(cells: list[Cell]) -> None:
    for cell in cells:
        for request in cell.received:
            names = [name for name, _ in request.headers]
            assert not [name for name in names if name.startswith(("x-stainless", "x-sdk", "x-api-key"))]
            assert "Python" not in (request.header("user-agent") or "")
            assert request.header("authorization") == "Bearer sk-upstream"


def test_the_version_of_the_api_is_passed_on(cells: list[Cell]) -> None:
    for cell in of(cells, "plain"):
        column = expected.COLUMNS.index(str(cell.case.version))
        version = cell.received[0].header("anthropic-version")
        assert version == expected.API_VERSIONS[column] == cell.sent[0].headers.get("anthropic-version")


def test_ids_and_headers_are_where_each_sdk_reads_them(cells: list[Cell]) -> None:
    for cell in (*of(cells, "raw"), *of(cells, "own-id")):
        headers = cell.seen["headers"]
        (bill,) = cell.bills
        shown = OWN_ID if cell.case.row.name == "own-id" else bill["id"]
        assert headers["x-request-id"] == headers["request-id"] == shown, cell.case.id
        assert headers["x-rabbitgw-request-id"] == bill["id"]
        assert cell.seen["request_id"] in (shown, None)  # openai's raw responses do not always have it
        assert headers["openai-processing-ms"] == "7"


# -- the run itself


def test_requests_of_a_call_are_its_retries(cells: list[Cell]) -> None:
    for cell in cells:
        if not cell.case.call.names_model:
            continue
        counts = [request.headers["x-stainless-retry-count"] for request in cell.sent]
        assert counts == [str(number) for number in range(len(counts))], cell.case.id
        assert {request.path for request in cell.sent} == {cell.case.call.path}, cell.case.id


def test_each_version_sends_its_key_in_its_own_way(cells: list[Cell]) -> None:
    for cell in of(cells, "plain"):
        column = expected.COLUMNS.index(str(cell.case.version))
        assert table.credential_of(cell) == expected.CREDENTIALS[column]


def test_the_matrix_is_whole(cells: list[Cell]) -> None:
    """Every version, sync and async, has every situation in every form that its routes have."""
    assert len(cells) == len(all_cases()) >= CELLS_MIN
    assert tuple(map(str, VERSIONS)) == expected.COLUMNS
    assert {one.name for one in SITUATIONS} == set(expected.OUTCOMES)
    forms = {
        "openai": {
            (dialect, streamed)
            for dialect in ("openai-chat", "openai-completions", "openai-responses")
            for streamed in (False, True)
        } | {("openai-embeddings", False)},
        "anthropic": {
            ("anthropic-messages", False), ("anthropic-messages", True), ("anthropic-count-tokens", False),
        },
    }  # fmt: skip
    for version in VERSIONS:
        for sync in (True, False):
            for name in ("unknown-key", "unknown-model", "no-store", "upstream-overloaded", "plain"):
                found = {
                    (cell.case.call.dialect, cell.case.streamed)
                    for cell in of(cells, name)
                    if cell.case.version == version and cell.case.sync == sync
                }
                assert found == forms[version.sdk], (version, sync, name)


def test_the_document_is_what_this_run_saw(cells: list[Cell]) -> None:
    written = table.render([table.Shown.of(cell) for cell in cells])
    assert table.DOCUMENT.read_text("utf-8") == written, "run: python -m tests.sdks.table"
