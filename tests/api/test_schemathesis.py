"""schemathesis holds a running gateway against its own /openapi.json: what the document allows and what it forbids.

Every side route, with made-up data that fit the document and data that do not; the gateway, the stores and the money
are real. A finding is a fault of the product or of its document: an undocumented status, media type or field, a 5xx,
valid data refused, wrong data taken, a credential not asked for. The cases are the same in every run.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import strategies
from pydantic import SecretStr

from rabbitgw.api.forms import PRINTABLE
from rabbitgw.api.openapi import ETAG_FORMAT
from rabbitgw.api.route import Auth
from rabbitgw.billing.accounts import NAME_CHARS_MAX
from rabbitgw.billing.bill_lines import ID_CHARS_MAX
from rabbitgw.billing.model_patterns import PATTERN_CHARS_MAX
from rabbitgw.billing.users import EXTERNAL_ID_CHARS_MAX
from rabbitgw.billing.wallets import KEY_CHARS_MAX
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import FakeUpstream
from tests.fakes.stripe import open_fake_stripe
from tests.flows.house import ADMIN_KEY, House, house_settings, open_house

if TYPE_CHECKING:
    from schemathesis import Case, HookContext
    from schemathesis.engine.recorder import ScenarioRecorder

SEED = 4
EXAMPLES_MAX = 2  # random ones of each kind and operation, beside those of the bounds
CASES_MAX = (
    50  # of the bounds of one operation: what nests has hundreds, of which every tenth is asked for then
)
METHODS = ["DELETE", "PATCH"]  # asked of every path beside its own

# Valid by the document and yet refused with 400, by operation and field: what no schema can say.
BEYOND_SCHEMA = {
    ("POST /v1/admin/keys", "expires_at"): "lies in the past",
    ("POST /v1/admin/keys", "ip_allowlist"): "no network, or bits beside its mask",
    ("POST /v1/admin/keys/{id}", "expires_at"): "lies in the past",
    ("POST /v1/admin/keys/{id}", "ip_allowlist"): "no network, or bits beside its mask",
    ("POST /v1/admin/windows", "timezone"): "no zone, or of a window that is not of the calendar",
    ("POST /v1/admin/windows", "reset_time"): "of a window that is not of the calendar",
    ("POST /v1/admin/windows/{id}", "extra_until"): "left out beside an increase, or past",
    ("POST /v1/admin/windows/{id}", "extra_nanos"): "left out beside its end",
    ("GET /v1/plans/assignment/{entity_type}/{id}", "entity_type"): "none of the types",
    ("POST /v1/plans/daily_limit", "timezone"): "no zone",
    ("POST /v1/plans/daily_limit/{id}", "timezone"): "no zone",
    **{
        (
            f"POST /v1/plans/daily_limit{one}",
            field,
        ): "does not fit the policies, or names a model without a price"
        for one in ("", "/{id}")
        for field in (
            "overflow_policy",
            "funding",
            "grace_cents",
            "grace_charged",
            "degrade_map",
            "degrade_default",
            "degrade_cents",
        )
    },
    ("POST /v1/plans/assign", "timezone"): "no zone",
    ("POST /v1/admin/plans/whatif", "timezone"): "no zone",
    ("POST /v1/admin/plans/whatif", "from"): "not before `to`, or too long before it",
    ("POST /v1/admin/plans/whatif", "plan_id"): "beside a draft",
    ("POST /v1/admin/plans/whatif", "daily_limit"): "neither a plan nor a draft is given",
    **{
        ("POST /v1/admin/plans/whatif", field): "as of the plan's own routes"
        for field in (
            "overflow_policy",
            "funding",
            "grace_cents",
            "grace_charged",
            "degrade_map",
            "degrade_default",
            "degrade_cents",
            "base_price",
            "input_multiplier",
            "output_multiplier",
            "price_multiplier",
            "unit",
        )
    },
    ("POST /v1/plans/assign", "effective_from"): "too far ahead",
    ("POST /v1/plans/assign", "effective_to"): "not after its begin, or past",
    ("POST /v1/plans/pricing", "base_price"): "with its multipliers beyond a price",
    ("POST /v1/plans/pricing", "input_multiplier"): "larger than a multiplier may be",
    ("POST /v1/plans/pricing", "output_multiplier"): "larger than a multiplier may be",
    ("POST /v1/plans/pricing", "price_multiplier"): "larger than a multiplier may be",
    ("POST /v1/plans/pricing", "unit"): "a request has no input and output",
    ("POST /v1/plans/pricing", "effective_to"): "not after its begin, or past",
    ("POST /v1/admin/prices", "input"): "a price that is sold has at least one rate",
    ("POST /v1/admin/prices", "above"): "two thresholds of one tier at the same tokens",
    ("POST /v1/admin/model_rules", "allow"): "neither allow nor deny is given",
    ("POST /v1/admin/rates", "rpm"): "none of the three limits is given",
    ("POST /v1/admin/rates/{id}", "rpm"): "no limit is left",
    ("POST /v1/admin/rerate", "input"): "a price that is sold has at least one rate",
    ("POST /v1/admin/rerate", "above"): "two thresholds of one tier at the same tokens",
    ("POST /v1/admin/rerate", "price"): "beside `to_version`, or neither is given",
    ("POST /v1/admin/rerate", "from"): "not before `to`",
    (
        "POST /v1/admin/rerate",
        "to_version",
    ): "beside `price`, neither is given, or it says the same as the wrong one",
    ("POST /v1/admin/rerate", "idempotency_key"): "of a dry run",
    ("POST /v1/admin/credit-packages", "currency"): "none that is sold for",
    ("POST /v1/admin/credit-packages", "price_minor"): "more than the package is worth",
    ("POST /v1/admin/credit-packages/{id}", "price_minor"): "more than the package is worth",
    ("POST /v1/admin/credit-codes", "currency"): "left out, of a kind that has one",
    ("POST /v1/admin/credit-codes", "amount_nanos"): "left out, or of a kind that has a percentage",
    ("POST /v1/admin/credit-codes", "percent"): "left out, or of a kind that has an amount",
    ("POST /v1/admin/credit-codes", "expires_at"): "lies in the past",
    ("GET /v1/admin/payments/figures", "from"): "after `to`, or after now",
    ("POST /v1/admin/wallets/credit", "currency"): "not the account's own",
    ("POST /v1/admin/wallets/credit", "amount_nanos"): "the balance would go beyond its limit",
    ("POST /v1/payments/checkout", "user_id"): "neither it nor account_id is given by the operator",
    ("POST /v1/payments/checkout", "currency"): "not the account's own",
    ("POST /v1/payments/checkout", "amount_cents"): "less than the provider takes in this currency",
    ("POST /v1/payments/checkout", "methods"): "none that the provider knows, or that takes the currency",
    ("POST /v1/payments/checkout", "mode"): "none that the provider has",
    ("POST /v1/payments/checkout", "return_url"): "left out of a checkout_session",
    ("POST /v1/payments/checkout", "receipt_email"): "an address that the provider does not take",
    ("POST /v1/payments/refund", "order_id"): "beside provider_txn_id, or neither is given",
    ("POST /billing/refund", "order_id"): "beside provider_txn_id, or neither is given",
    ("POST /billing/create-payment-intent", "credit_amount"): "no package of so many credits is sold",
    ("POST /billing/create-payment-intent", "currency"): "not the account's own",
    ("POST /billing/create-payment-intent", "methods"): "none that the provider knows",
    ("POST /billing/create-payment-intent", "mode"): "not one that has a client secret",
    ("POST /billing/create-payment-intent", "provider"): "not one that has client secrets",
    ("POST /billing/create-payment-intent", "receipt_email"): "an address that the provider does not take",
    ("POST /billing/webhook", None): "not signed",
    ("GET /billing/history", "after"): "no entry of this account",
    ("GET /v1/reports/period", "day"): "beside `from` and `to`",
    ("GET /v1/reports/period", "period"): "beside `from` and `to`",
    ("GET /v1/reports/daily", "from"): "left out, after `to`, or too long before it",
    ("GET /v1/reports/daily", "to"): "left out, or in a zone's future",
    ("GET /v1/reports/summary", "from"): "left out, after `to`, or too long before it",
    ("GET /v1/reports/summary", "to"): "left out, or in a zone's future",
    ("GET /v1/reports/period", "from"): "left out, after `to`, or too long before it",
    ("GET /v1/reports/period", "to"): "left out, or in a zone's future",
    ("GET /v1/reports/daily", "group_by"): "of all accounts together, by more than day and model",
    ("GET /v1/reports/daily", "timezone"): "no zone",
    ("GET /v1/reports/summary", "group_by"): "of all accounts together, by more than day and model",
    ("GET /v1/reports/summary", "timezone"): "no zone",
    ("GET /v1/reports/period", "group_by"): "of all accounts together, by more than day and model",
    ("GET /v1/reports/period", "timezone"): "no zone",
    ("GET /v1/reports/budget", "account_id"): "left out by the operator, with no team, user or key either",
    ("GET /v1/reports/margin", "from"): "left out, after `to`, or too long before it",
    ("GET /v1/reports/margin", "to"): "left out, or in a zone's future",
    ("GET /v1/reports/margin", "group_by"): "of all accounts together, by more than day and model",
    ("GET /v1/reports/margin", "timezone"): "no zone",
    (
        "GET /v1/wallets",
        "account_id",
    ): "a caller has one account; the operator names one, by this or by a user",
    ("GET /v1/wallets", "user_id"): "a caller has one account",
    ("GET /v1/ledger", "account_id"): "a caller has one account",
    ("GET /v1/ledger", "from"): "after `to`, or before 1970",
    ("GET /v1/ledger", "to"): "before 1970",
    ("GET /v1/usage", "from"): "after `to`, or before 1970",
    ("GET /v1/usage", "to"): "before 1970",
    ("GET /v1/usage", "limit"): "more than a page of JSON holds, which is less than of CSV",
    ("GET /v1/usage", "account_id"): "a caller has one account",
}


# Nobody gets in without a signature, which no schema can make.
SIGNED = frozenset({"POST /billing/webhook"})


@dataclass
class Found:
    """Of each operation the statuses that it answered; and what was wrong."""

    statuses: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    faults: list[str] = field(default_factory=list)

    def note(self, recorder: ScenarioRecorder) -> None:
        for case_id, checks in recorder.checks.items():
            response = recorder.interactions[case_id].response
            assert response is not None, "every request is answered"
            self.statuses[recorder.label].add(response.status_code)
            for check in checks:
                failed = check.failure_info
                if failed is not None and not _beyond_schema(recorder.label, check.name, response.content):
                    said = f"{failed.failure.title}: {failed.failure.message}"
                    answer = f"{response.status_code} {response.content[:300]!r}"
                    self.faults.append(f"{check.name}: {said}\n{failed.code_sample}\n{answer}")


def _beyond_schema(label: str, check: str, body: bytes | None) -> bool:
    if check != "positive_data_acceptance":
        return False
    error = orjson.loads(body or b"{}").get("error", {})
    if error.get("code") == "precondition_failed":  # an ETag that fits, and is not the present one
        return True
    if error.get("message", "").endswith(
        ": Input should be a valid integer"
    ):  # 1.0, which is one to JSON Schema
        return True
    return (label, error.get("field")) in BEYOND_SCHEMA


def few_cases() -> Callable[[HookContext, Case], bool]:
    """A filter that thins out the cases of an operation that has very many."""
    seen: Counter[str] = Counter()

    def filter_case(context: HookContext, case: Case) -> bool:
        if case.meta is None or case.meta.phase.name.value != "coverage":
            return True
        seen[case.operation.label] += 1
        return seen[case.operation.label] <= CASES_MAX or seen[case.operation.label] % 10 == 0

    return filter_case


def printable_text() -> strategies.SearchStrategy[str]:
    """Text of our format. Of few lengths: those that the document bounds must be met without many trials."""
    visible = strategies.characters(codec="utf-8", exclude_categories=("C", "Z"))
    bounds = (NAME_CHARS_MAX, PATTERN_CHARS_MAX, EXTERNAL_ID_CHARS_MAX, KEY_CHARS_MAX, ID_CHARS_MAX)
    lengths = strategies.sampled_from(
        sorted({1, 2, *(bound + more for bound in bounds for more in (-1, 0, 1))})
    )
    return strategies.builds(lambda one, length: one * length, visible, lengths)


def hold_against_document(base_url: str, credential: str, paths: str, *tags: Auth) -> Found:
    """Ask for every operation of these tags whose path matches. Blocks."""
    import schemathesis  # a second, and only here
    from schemathesis.config import SchemathesisConfig
    from schemathesis.engine import events, from_schema

    schemathesis.openapi.format(PRINTABLE, printable_text())
    schemathesis.openapi.format(ETAG_FORMAT, strategies.just("*"))  # another would end most cases with 412
    config = SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "base-url": base_url,
            "workers": 1,
            "continue-on-failure": True,
            "headers": {"x-api-key": credential},
            "generation": {
                "deterministic": True,
                "max-examples": EXAMPLES_MAX,
                "database": "none",
                "no-shrink": True,
                "with-security-parameters": False,  # else most cases end at their made-up credential
            },
            "phases": {"coverage": {"unexpected-methods": METHODS}, "stateful": {"enabled": False}},
        }
    )
    schema = schemathesis.openapi.from_url(f"{base_url}/openapi.json", config=config)
    schema.hook(few_cases())
    found = Found()
    for event in from_schema(schema.include(tag=[tag.value for tag in tags], path_regex=paths)).execute():
        match event:
            case events.ScenarioFinished():
                found.note(event.recorder)
            case events.NonFatalError() | events.FatalError():
                found.faults.append(repr(event))
    return found


def _operations(document: dict[str, Any], paths: str, *tags: Auth) -> set[str]:
    wanted = {tag.value for tag in tags}
    return {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if wanted & set(operation["tags"]) and re.search(paths, path)
    }


async def _check(house: House, credential: str, paths: str, *tags: Auth) -> None:
    document = (await house.get("/openapi.json")).json()
    found = await asyncio.to_thread(hold_against_document, house.base_url, credential, paths, *tags)
    assert found.faults == [], f"seed {SEED}\n" + "\n\n".join(found.faults[:10])
    expected = _operations(document, paths, *tags)
    assert expected
    assert found.statuses.keys() == expected
    for operation, statuses in found.statuses.items():
        allowed = {400} if operation in SIGNED else {200, 404}
        assert statuses & allowed, f"{operation} was asked for nothing that is allowed: {statuses}"


# Each part has a gateway of its own: the operator's ends every key. The two of the operator are a path and all others.
@pytest.mark.parametrize(
    ("credential", "paths", "tags"),
    [
        pytest.param(None, "", (Auth.NONE, Auth.CALLER, Auth.EITHER), id="caller"),
        pytest.param(ADMIN_KEY, "^/v1/admin/", (Auth.ADMIN, Auth.EITHER), id="operator, /v1/admin"),
        pytest.param(
            ADMIN_KEY, "^(?!/v1/admin/)", (Auth.ADMIN, Auth.CASHIER, Auth.EITHER), id="operator, all others"
        ),
    ],
)
async def test_the_gateway_is_what_its_document_says(
    dsn: str,
    redis_url: str,
    upstream: FakeUpstream,
    tmp_path: Path,
    credential: str | None,
    paths: str,
    tags: tuple[Auth, ...],
) -> None:
    async with (
        open_fake_stripe() as stripe,
        open_house(
            house_settings(
                dsn,
                redis_url,
                upstream.base_url,
                tmp_path,
                stripe_secret_key=SecretStr(stripe.secret_key),
                stripe_publishable_key=stripe.publishable_key,
                stripe_webhook_secret=SecretStr("whsec_of_the_tests"),
                stripe_api_base=stripe.url,
            )
        ) as house,
    ):
        await _check(house, credential or house.secret, paths, *tags)
        await assert_books_balance(house)
