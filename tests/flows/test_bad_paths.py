"""Paths and methods that nothing is sold under: refused in the shape of whoever asks there, and never passed on.

Side routes keep their own shape; a path that only looks like one of them, or like a sold one, is neither.
"""

from __future__ import annotations

import orjson

from rabbitgw.proxy.dialects import CHAT, DIALECTS, MESSAGES
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import FakeUpstream
from tests.flows.house import House
from tests.flows.raw_client import Answer, read_answer
from tests.flows.refusing import Desk, asking, refusing, request, settled_calls

METHODS = ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND")
# What LiteLLM and the providers serve under /v1 and is not sold here.
UNSOLD = [
    "/v1/images", "/v1/images/variations", "/v1/videos",
    "/v1/videos/v_1/content", "/v1/audio", "/v1/audio/voices", "/v1/audio/speech/stream",
    "/v1/moderations", "/v1/rerank", "/v1/ocr", "/v1/search", "/v1/files", "/v1/files/file-1",
    "/v1/files/file-1/content", "/v1/uploads", "/v1/uploads/u_1/parts", "/v1/batches", "/v1/batches/b_1",
    "/v1/batches/b_1/cancel", "/v1/chat/completions/chatcmpl-1", "/v1/chat/completions/chatcmpl-1/messages",
    "/v1/responses/resp_1", "/v1/responses/resp_1/cancel", "/v1/responses/resp_1/input_items",
    "/v1/responses/compact", "/v1/responses/input_tokens", "/v1/conversations",
    "/v1/conversations/conv_1/items", "/v1/containers", "/v1/containers/cntr_1/files",
    "/v1/fine_tuning/jobs", "/v1/evals", "/v1/assistants", "/v1/threads", "/v1/threads/t_1/runs",
    "/v1/vector_stores", "/v1/vector_stores/vs_1/search", "/v1/realtime", "/v1/realtime/sessions",
    "/v1/realtime/client_secrets", "/v1/engines", "/v1/engines/gpt-4o/embeddings", "/v1/edits",
    "/v1/complete", "/v1/skills", "/v1/organizations/me", "/v1/mcp", "/v1/agents", "/v1/model/info",
    "/v1/model_group/info", "/v1/credentials", "/v1/guardrails", "/v1/prompts", "/v1/tools",
    "/v1/messages/batches", "/v1/messages/batches/b_1", "/v1/messages/batches/b_1/results",
    "/v1/messages/count_tokens/x", "/v1/messages/m_1",
]  # fmt: skip
# Not what they look like.
TRICKS = [
    "/v1/", "/v1//", "/v1//chat/completions", "/v1/chat/completions/", "/v1/chat/completions//",
    "/v1/chat//completions", "/v1/chat/completions%2f", "/v1/chat%2fcompletions", "/v1/./chat/completions",
    "/v1/../v1/chat/completions", "/v1/%2e%2e/v1/chat/completions", "/v1/chat/completions/..",
    "/v1/chat/completions.", "/v1/chat/completions..", "/v1/chat/completions%20", "/v1/chat/completions%00",
    "/v1/chat/completions%0a", "/v1/chat/completions%0d%0ax:%20y", "/v1/chat/completions;a=b",
    "/v1/chat/completions%3fa=b", "/v1/chat/completions%23", "/v1/Chat/Completions", "/v1/chat",
    "/v1/chat%E2%88%95completions", "/v1/%ff", "/v1/%ed%a0%80", "/v1/%", "/v1/%zz", "/v1/v1/chat/completions",
    "/v1/http://x/v1/models", "/v1/adminx", "/v1/Admin/accounts", "/v1/usages", "/v1/walletsx",
    "/v1/admin%2faccounts", "/v1/models/",
]  # fmt: skip
SIDE = {
    "GET /v1/admin": 404,
    "GET /v1/admin/nothing": 404,
    "DELETE /v1/admin/accounts": 405,
    "POST /v1/%61dmin/nothing": 404,
    "GET /v1/admin/../files": 404,
    "POST /v1/wallets": 405,
    "PUT /v1/wallets": 405,
    "GET /v1/wallets/": 404,
    "GET /v1/wallets/nothing": 404,
    "POST /v1/usage": 405,
    "GET /v1/usage/a/b": 404,
    "POST /v1": 404,
    "POST /V1/chat/completions": 404,
    "POST /chat/completions": 404,
    "POST /openai/v1/chat/completions": 404,
    "POST /v2/rerank": 404,
    "POST //v1/chat/completions": 404,
    "POST /": 405,
    "OPTIONS *": 404,
}


async def answered(desk: Desk, sent: bytes) -> Answer:
    answer, rest = read_answer(await desk.exchange(sent))
    assert rest == b""
    return answer


async def test_a_path_without_a_price_is_not_passed_free_by_any_method(
    house: House, upstream: FakeUpstream
) -> None:
    async with refusing(house, upstream) as desk:
        for path in UNSOLD:
            dialect = MESSAGES if path.startswith("/v1/messages") else CHAT
            for method in ("POST", "GET", "DELETE"):
                sent = desk.request(path, asking(CHAT), method=method)
                says = f"{path} is not sold here"
                await desk.refused(path, dialect, sent, 404, "endpoint_not_priced", says=says)
        stranger = request("/v1/images/variations", b"{}")
        await desk.refused("without a key", CHAT, stranger, 404, "endpoint_not_priced")
        fields = (
            "connection: upgrade",
            "upgrade: websocket",
            "sec-websocket-version: 13",
            "sec-websocket-key: eA==",
        )
        async with desk.connect() as client:
            client.writer.write(desk.request("/v1/realtime?model=gpt-4o", b"", *fields, method="GET"))
            received = await client.until(b'"request_id"')
            desk.judge("a web socket", CHAT, received, 404, "endpoint_not_priced")
    assert upstream.requests == []


async def test_a_path_that_looks_like_a_sold_one_is_not_sold(house: House, upstream: FakeUpstream) -> None:
    async with refusing(house, upstream) as desk:
        for path in TRICKS:
            sent = desk.request(path, asking(CHAT))
            await desk.refused(path, CHAT, sent, 404, "endpoint_not_priced", says="is not sold here")
        long = desk.request("/v1/" + "x" * 8000, asking(CHAT))
        assert (await answered(desk, long)).status == 404
    assert upstream.requests == []


async def test_what_is_under_a_side_routes_name_is_answered_in_the_side_routes_shape(
    house: House, upstream: FakeUpstream
) -> None:
    async with refusing(house, upstream) as desk:
        for asked, status in SIDE.items():
            method, _, path = asked.partition(" ")
            received = await desk.exchange(desk.request(path, b"{}", method=method))
            head, _, body = received.partition(b"\r\n\r\n")
            assert (asked, head.split()[1]) == (asked, str(status).encode())
            document = orjson.loads(body)
            assert set(document) == {"error", "request_id"}
            code = {404: "not_found", 405: "method_not_allowed"}[status]
            assert (document["error"]["code"], set(document["error"])) == (code, {"code", "message", "field"})
    assert upstream.requests == []


async def test_another_method_than_post_is_405_in_the_dialect(house: House, upstream: FakeUpstream) -> None:
    async with refusing(house, upstream) as desk:
        for dialect in DIALECTS:
            for method in METHODS:
                for sent in (
                    desk.request(dialect.path, b"", method=method),
                    desk.request(f"{dialect.path}?beta=true", asking(dialect), method=method),
                    request(dialect.path, b"", method=method),
                ):
                    says = f"{method} is not allowed on {dialect.path}: use POST"
                    await desk.refused(method, dialect, sent, 405, "method_not_allowed", says=says)
        for path in ("/v1/models", "/v1/models/gpt-4o"):
            for version, dialect in (("", CHAT), ("anthropic-version: 2023-06-01", MESSAGES)):
                sent = desk.request(path, b"{}", *filter(None, [version]))
                await desk.refused(path, dialect, sent, 405, "method_not_allowed", says="use GET")


async def test_head_is_answered_without_a_body_and_the_connection_stays_usable(
    house: House, upstream: FakeUpstream
) -> None:
    desk = Desk(house, upstream)
    paths = {**{dialect.path: b"POST" for dialect in DIALECTS}, "/v1/models": b"GET", "/v1/files": b""}
    for path, allowed in paths.items():
        async with desk.connect() as client:
            for _ in range(2):
                client.writer.write(desk.request(path, b"", "connection: keep-alive", method="HEAD"))
            client.writer.write(desk.request(CHAT.path, asking(CHAT)))
            *heads, last = (await client.rest()).split(b"\r\n\r\n", 2)
        for head in heads:
            answer, _ = read_answer(head + b"\r\n\r\n")
            assert (path, answer.status) == (path, 405 if allowed else 404)
            assert int(answer.field(b"content-length")) > 0
            assert (answer.field(b"allow"), answer.field(b"connection")) == (allowed, b"")
        assert read_answer(last)[0].status == 200
    await settled_calls(house, len(paths))
    await assert_books_balance(house)


async def test_what_stands_behind_the_path_of_a_sold_route_changes_nothing(
    house: House, upstream: FakeUpstream
) -> None:
    desk = Desk(house, upstream)
    count = 0
    for dialect in DIALECTS:
        for path in (
            f"{dialect.path}?beta=true",
            f"{dialect.path}?",
            f"{dialect.path}?api_key=x&api_base=http://elsewhere&model=words&user=7",
            f"{dialect.path}?%00%ff#x",
            dialect.path.replace("/v1/", "/%76%31/"),
            f"http://elsewhere.example{dialect.path}",
        ):
            answer = await answered(desk, desk.request(path, asking(dialect)))
            assert (path, answer.status) == (path, 200)
            count += 1
            assert upstream.requests[-1].path == dialect.path
            assert upstream.requests[-1].model == "gpt-4o"
    await settled_calls(house, count)
    await assert_books_balance(house)
