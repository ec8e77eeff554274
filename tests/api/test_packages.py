"""Credit packages: the price list that anybody reads, and how an operator edits it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rabbitgw.payments.packages import find_package
from tests.api.conftest import ADMIN_KEY, Operator

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient

    from rabbitgw.stores import Pool

PATH = "credit-packages"


async def price_list(client: TestClient[Any, Any], **query: str) -> str:
    """As it was sent, without the id of the request."""
    async with client.get("/billing/credit-packages", params=query) as answer:
        assert answer.status == 200
        text = await answer.text()
        return text[: text.rindex(',"request_id"')] + "}"


async def test_the_catalogue_is_the_table_of_five_and_its_numbers_are_exact(
    client: TestClient[Any, Any],
) -> None:
    assert await price_list(client) == (
        '{"packages":['
        '{"credits":100,"price":10,"price_per_credit":0.1,"discount_percent":0},'
        '{"credits":500,"price":45,"price_per_credit":0.09,"discount_percent":10},'
        '{"credits":1000,"price":80,"price_per_credit":0.08,"discount_percent":20},'
        '{"credits":2000,"price":150,"price_per_credit":0.075,"discount_percent":25},'
        '{"credits":5000,"price":350,"price_per_credit":0.07,"discount_percent":30}]}'
    )
    assert await price_list(client, currency="EUR") == '{"packages":[]}'


async def test_a_package_pays_its_price_and_gives_the_rest(pg: Pool) -> None:
    async with pg.acquire() as db:
        found = await find_package(db, 500, "USD")
        assert found is not None
        assert (found.price_minor, found.price_nanos, found.worth_nanos, found.bonus_nanos) == (
            4500, 45_000_000_000, 50_000_000_000, 5_000_000_000,
        )  # fmt: skip
        assert await find_package(db, 501, "USD") is None
        assert await find_package(db, 500, "EUR") is None
        assert await find_package(db, 2**70, "USD") is None


async def test_currencies_have_their_own_minor_units(
    operator: Operator, client: TestClient[Any, Any]
) -> None:
    yen = {"credits": 7, "currency": "JPY", "price_minor": 99_999_999, "nanos_per_credit": 9 * 10**12}
    refused = await operator.post(PATH, yen, status=400)
    assert refused["error"] == {
        "code": "invalid_request",
        "field": "price_minor",
        "message": "price_minor: 7 credits are worth 63000 minor units of JPY; a package must not cost more",
    }
    made = await operator.post(PATH, {**yen, "price_minor": 62_000})
    assert made["bonus_nanos"] == 1_000_000_000_000
    assert await price_list(client, currency="JPY") == (
        '{"packages":[{"credits":7,"price":62000,"price_per_credit":8857.142857143,"discount_percent":1.59}]}'
    )
    await operator.post(
        PATH, {"credits": 3, "currency": "KWD", "price_minor": 295, "nanos_per_credit": 10**8}
    )
    assert await price_list(client, currency="KWD") == (
        '{"packages":[{"credits":3,"price":0.295,"price_per_credit":0.098333333,"discount_percent":1.67}]}'
    )


async def test_a_package_is_changed_upon_a_version_and_retired_for_good(
    operator: Operator, client: TestClient[Any, Any]
) -> None:
    new = {"credits": 10, "price_minor": 90, "position": 9}
    made = await operator.post(PATH, new)
    assert made.items() >= {**new, "currency": "USD", "active": True, "version": 1}.items()
    assert (await operator.post(PATH, new, status=409))["error"]["field"] == "credits"
    one = f"{PATH}/{made['id']}"
    assert (await operator.post(one, {"price_minor": 100}))["bonus_nanos"] == 0
    refused = await operator.post(one, {"price_minor": 101}, status=400)
    assert refused["error"]["field"] == "price_minor"
    assert (await operator.post(one, {}))["version"] == 2
    for wrong, field in (({"position": -1}, "position"), ({"credits": 1}, "credits"), ({"x": 1}, "x")):
        assert (await operator.post(one, wrong, status=400))["error"]["field"] == field

    async def upon(path: str, body: dict[str, Any], version: int) -> int:
        sent = {"x-api-key": ADMIN_KEY, "if-match": f'"{version}"'}
        async with client.post(f"/v1/admin/{path}", json=body, headers=sent) as answer:
            return answer.status

    assert [await upon(one, {"position": 3}, version) for version in (1, 2)] == [412, 200]
    assert [await upon(f"{one}/retire", {}, version) for version in (2, 3)] == [412, 200]
    retired = await operator.post(f"{one}/retire")
    assert (retired["active"], retired["version"]) == (False, 4)
    assert "is retired" in (await operator.post(one, {"position": 1}, status=409))["error"]["message"]
    again = await operator.post(PATH, new)
    listed = (await operator.get(PATH, currency="USD", after="5"))["packages"]
    assert [(two["id"], two["active"]) for two in listed] == [(made["id"], False), (again["id"], True)]
    assert (await operator.get(PATH, limit="5"))["next"] == 5
    assert '"credits":10,' in await price_list(client)
    await operator.post(f"{PATH}/77", {"position": 1}, status=404)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"credits": 0}, "credits"),
        ({"credits": 1_000_001}, "credits"),
        ({"credits": "5"}, "credits"),
        ({"currency": "usd"}, "currency"),
        ({"currency": "XAU"}, "currency"),
        ({"price_minor": 0}, "price_minor"),
        ({"price_minor": 100_000_000}, "price_minor"),
        ({"nanos_per_credit": 9 * 10**12 + 1}, "nanos_per_credit"),
        ({"nanos_per_credit": 10_000}, "price_minor"),
        ({"position": 1_000_001}, "position"),
        ({"active": False}, "active"),
    ],
)
async def test_a_wrong_field_is_named(operator: Operator, fields: dict[str, Any], field: str) -> None:
    refused = await operator.post(PATH, {"credits": 10, "price_minor": 90, **fields}, status=400)
    assert refused["error"]["field"] == field
    assert len((await operator.get(PATH))["packages"]) == 5
