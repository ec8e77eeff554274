"""What an operator says of a key, at two gateways: it holds from the next request on, at each of them."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from rabbitgw.app import Gateway
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import Answer, FakeUpstream, usage
from tests.flows.house import ADMIN_KEY, House, Reply, until

COST_NANOS = 147_500  # 19 tokens in at 2 500 nanos, 10 out at 10 000
ASK = [{"role": "user", "content": "hi"}]
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"


class Desk:
    """A key of the house, used at both gateways, and the operator who changes it."""

    def __init__(self, house: House, second: Gateway) -> None:
        self.house = house
        self.ports = (house.gateway.port, second.port)
        self.key_id = 0
        self.secret = ""

    async def operator(
        self, path: str, fields: dict[str, Any] | None = None, status: int = 200, **headers: str
    ) -> dict[str, Any]:
        url = f"{self.house.base_url}/v1/admin/{path}"
        sent = {"x-api-key": ADMIN_KEY, **headers}
        async with self.house.http.post(url, json=fields, headers=sent) as answer:
            body: dict[str, Any] = await answer.json()
            assert answer.status == status, body
            return body

    async def new(self, **fields: Any) -> None:
        made = await self.operator("keys", {"account_id": self.house.account.id, "name": "k", **fields})
        self.key_id, self.secret = made["id"], made["key"]

    async def at_both(
        self, path: str = CHAT, *, model: str = "gpt-4o", secret: str = "", **headers: str
    ) -> list[Reply]:
        own = {"x-api-key": secret or self.secret, "content-type": "application/json", **headers}
        body = {"model": model, "messages": ASK, "max_tokens": 10}
        replies = []
        for port in self.ports:
            url = f"http://127.0.0.1:{port}{path}"
            method = "POST" if path in (CHAT, MESSAGES) else "GET"
            how = {"json": body} if method == "POST" else {}
            async with self.house.http.request(method, url, headers=own, **how) as answer:
                replies.append(await Reply.read(answer))
        return replies

    async def statuses(self, path: str = CHAT, **how: Any) -> list[int]:
        return [reply.status for reply in await self.at_both(path, **how)]


@pytest.fixture
def desk(house: House, second: Gateway, upstream: FakeUpstream) -> Desk:
    for model in ("gpt-4o", "words", "free"):
        upstream.script(model, Answer(usage=usage(19, 10)))
    return Desk(house, second)


def refusals(replies: list[Reply]) -> set[tuple[int, str | None, str]]:
    """Status, code (OpenAI's form has one) and type."""
    errors = [(reply.status, reply.json()["error"]) for reply in replies]
    return {(status, error.get("code"), error["type"]) for status, error in errors}


async def test_a_denied_model_is_one_that_is_not_allowed(
    house: House, desk: Desk, upstream: FakeUpstream
) -> None:
    await desk.new(models=["gpt-*", "free"], models_denied=["gpt-4o-*", "fr?e"])
    served = await desk.at_both()
    assert [reply.status for reply in served] == [200, 200]
    posted = [request for request in upstream.requests if request.method == "POST"]
    for model in ("free", "gpt-4o-mini", "words"):  # denied, denied though unknown, not allowed
        assert refusals(await desk.at_both(model=model)) == {
            (403, "model_not_allowed", "invalid_request_error")
        }
        assert refusals(await desk.at_both(MESSAGES, model=model)) == {(403, None, "permission_error")}
    assert [request for request in upstream.requests if request.method == "POST"] == posted
    for listed in await desk.at_both("/v1/models"):
        assert [model["id"] for model in listed.json()["data"]] == ["gpt-4o"]
    assert await desk.statuses("/v1/models/free") == [404, 404]
    admitted = []
    for reply in served:
        line = await house.bill(reply.request_id)
        assert line["cost_nanos"] == COST_NANOS
        admitted.append(line["admitted_at"])
    listed = (await house.get("/v1/admin/keys", authorization=f"Bearer {ADMIN_KEY}")).json()["keys"]
    assert [key["last_used_at"] for key in listed] == [
        None,
        admitted[-1],
    ]  # the house's own key served nothing
    await assert_books_balance(house)


async def test_a_call_outside_the_scopes_is_refused_in_its_dialect(
    desk: Desk, upstream: FakeUpstream
) -> None:
    missing = (403, "scope_missing", "invalid_request_error")
    await desk.new(scopes=["chat"])
    assert await desk.statuses() == [200, 200]
    posted = [request for request in upstream.requests if request.method == "POST"]
    assert refusals(await desk.at_both(MESSAGES)) == {(403, None, "permission_error")}
    assert refusals(await desk.at_both("/v1/models")) == {missing}
    for path in ("/v1/wallets", "/v1/usage", "/v1/admin/accounts"):
        for reply in await desk.at_both(path):
            assert (reply.status, reply.json()["error"]["code"]) == (403, "scope_missing")
    await desk.new(scopes=["billing", "messages", "models"])
    assert refusals(await desk.at_both()) == {missing}
    assert [request for request in upstream.requests if request.method == "POST"] == posted
    assert await desk.statuses(MESSAGES) == [200, 200]
    for path in ("/v1/models", "/v1/wallets", "/v1/usage"):
        assert await desk.statuses(path) == [200, 200]
    await assert_books_balance(desk.house)


NOT_HERE = (403, "ip_not_allowed", "invalid_request_error")


async def test_a_key_is_used_from_its_networks_only(desk: Desk, upstream: FakeUpstream) -> None:
    await desk.new(ip_allowlist=["127.0.0.0/8", "2001:db8::/32"])
    assert await desk.statuses() == [200, 200]
    for path in (MESSAGES, "/v1/models", "/v1/wallets", "/v1/usage"):
        assert await desk.statuses(path) == [200, 200]
    await desk.new(ip_allowlist=["203.0.113.0/24"], scopes=["data", "billing", "admin"])
    posted = [request for request in upstream.requests if request.method == "POST"]
    # nobody is trusted, so what the client says of itself counts for nothing
    for claimed in ({}, {"x-forwarded-for": "203.0.113.9"}, {"x-rabbitgw-peer": "203.0.113.9"}):
        assert refusals(await desk.at_both(**claimed)) == {NOT_HERE}
        assert refusals(await desk.at_both("/v1/models", **claimed)) == {NOT_HERE}
        assert refusals(await desk.at_both(MESSAGES, **claimed)) == {(403, None, "permission_error")}
        for path in ("/v1/wallets", "/v1/usage", "/v1/admin/keys"):
            for reply in await desk.at_both(path, **claimed):
                error = reply.json()["error"]
                assert (reply.status, error["code"]) == (403, "ip_not_allowed")
                assert "127.0.0.1" in error["message"]
    assert [request for request in upstream.requests if request.method == "POST"] == posted
    await assert_books_balance(desk.house)


async def test_behind_a_trusted_proxy_the_right_most_address_that_is_none_counts(
    house: House, upstream: FakeUpstream
) -> None:
    upstream.script("gpt-4o", Answer(usage=usage(19, 10)))
    settings = house.settings.model_copy(update={"trusted_proxies": "127.0.0.0/8, 10.0.0.0/8"})
    behind = Gateway(settings, house.stores)
    await behind.start()
    try:
        desk = Desk(house, behind)
        desk.ports = (behind.port,)
        await desk.new(ip_allowlist=["203.0.113.0/24"])
        for forwarded_for, status in (
            ("203.0.113.9", 200),
            ("198.51.100.1, 203.0.113.9, 10.1.2.3", 200),
            ("203.0.113.9, 198.51.100.1", 403),  # made up by the client of a proxy that appends
            ("203.0.113.9, unknown", 403),
            ("203.0.113.9, 198.51.100.1, 10.0.0.1", 403),
            ("10.0.0.1", 403),
        ):
            for path in (CHAT, "/v1/models", "/v1/wallets"):
                said = await desk.statuses(path, **{"x-forwarded-for": forwarded_for})
                assert (forwarded_for, path, said) == (forwarded_for, path, [status])
        assert await desk.statuses() == [403]  # the proxy itself
    finally:
        await behind.stop()
    await assert_books_balance(house)


async def test_an_ipv4_client_of_an_ipv6_socket_is_an_ipv4_client(house: House) -> None:
    listening = socket.socket(socket.AF_INET6)
    try:
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(("::ffff:127.0.0.1", 0))
        listening.setblocking(False)
    except (
        OSError
    ):  # a machine without IPv6 has no such socket: what it would show is read in tests/test_addresses.py
        listening.close()
        return
    both = Gateway(house.settings, house.stores, sockets=[listening])
    await both.start()
    try:
        desk = Desk(house, both)
        desk.ports = (both.port,)
        for networks, status in ((["127.0.0.1"], 200), (["::ffff:127.0.0.0/104"], 200), (["::/0"], 403)):
            await desk.new(ip_allowlist=networks)
            for path in ("/v1/models", "/v1/wallets"):
                assert await desk.statuses(path) == [status]
    finally:
        await both.stop()


async def test_an_old_secret_is_good_for_its_grace_and_no_longer_at_every_gateway(
    house: House, desk: Desk
) -> None:
    await desk.new()
    oldest = desk.secret

    async def rotate(grace_s: int) -> str:
        made = await desk.operator(f"keys/{desk.key_id}/rotate", {"grace_s": grace_s})
        assert made["in_effect"] is True
        return str(made["key"])

    async def good(*secrets: str) -> list[bool]:
        """Whether each is good, for calls and elsewhere, which must be so at both gateways."""
        found = []
        for secret in secrets:
            statuses = await desk.statuses(secret=secret)
            statuses += await desk.statuses("/v1/wallets", secret=secret)
            assert set(statuses) in ({200}, {401})
            found.append(set(statuses) == {200})
        return found

    assert await good(oldest) == [True]
    middle = await rotate(3600)
    assert await good(oldest, middle) == [True, True]
    newest = await rotate(3600)
    assert await good(oldest, middle, newest) == [False, True, True]
    await desk.operator(f"keys/{desk.key_id}/revoke")
    assert await good(oldest, middle, newest) == [False, False, False]

    await desk.new()
    old = desk.secret
    assert await good(old) == [True]
    new = await rotate(1)

    async def over() -> bool:
        return await desk.statuses(secret=old) == [401, 401]

    await until(over)
    assert await good(old, new) == [False, True]
    newer = await rotate(0)
    assert await good(old, new, newer) == [False, False, True]
    lines = (await house.get("/v1/usage?limit=1000")).json()["usage"]
    assert {line["key_id"] for line in lines} <= {desk.key_id, desk.key_id - 1}
    await assert_books_balance(house)


async def test_a_change_holds_from_the_next_request_on_at_every_gateway(house: House, desk: Desk) -> None:
    await desk.new(models=["words"])
    path = f"keys/{desk.key_id}"
    assert await desk.statuses() == [403, 403]
    for change, status in (
        ({"models": None}, 200),  # wider: no reserve is there to say that memory is behind
        ({"models_denied": ["gpt-*"]}, 403),
        ({"models_denied": None, "scopes": ["messages"]}, 403),
        ({"scopes": ["chat"]}, 200),
        ({"ip_allowlist": ["203.0.113.0/24"]}, 403),
        ({"ip_allowlist": ["127.0.0.1"]}, 200),
    ):
        changed = await desk.operator(path, change)
        assert changed["in_effect"] is True
        assert (change, await desk.statuses()) == (change, [status, status])
    await assert_books_balance(house)
