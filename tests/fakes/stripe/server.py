"""The fake's HTTP: who asks, with which version and key; an answer or Stripe's error; faults on the way.

Knows nothing of payments. Every request is recorded, without the secret that it carried.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes.stripe import forms, routes
from tests.fakes.stripe.account import Account
from tests.fakes.stripe.errors import StripeRefusal
from tests.fakes.stripe.faults import Fault, Faults
from tests.fakes.stripe.idempotency import Keys
from tests.fakes.stripe.tables import API_VERSION

BODY_BYTES_MAX = 256 * 1024
FORM = "application/x-www-form-urlencoded"
OPEN_TO_BROWSERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET,POST",
    "Access-Control-Allow-Headers": "*",
}
GARBAGE = {"garbage": b"<html><body>Bad gateway</body></html>", "bytes": b'{"id": "pi_\xff\xfe"}'}


@dataclass
class Recorded:
    """One request as it came; `status` is None while it runs or when its connection was cut."""

    method: str
    path: str
    params: dict[str, Any]
    idempotency_key: str | None
    headers: dict[str, str]
    status: int | None = None
    replayed: bool = False
    request_id: str = ""


@dataclass
class Answered:
    status: int
    body: bytes
    kept: bool  # an idempotency key keeps it
    headers: dict[str, str] = field(default_factory=dict)


class Cut(Exception):
    """The connection ends here, without an answer."""


class Server:
    def __init__(self, account: Account, secret_key: str, publishable_key: str) -> None:
        self.faults = Faults()
        self.requests: list[Recorded] = []
        self._account = account
        self._keys = Keys(account)
        self._secret_key = secret_key
        self._publishable_key = publishable_key

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=OPEN_TO_BROWSERS)
        raw = await request.read() if request.method == "POST" else request.query_string.encode()
        recorded = _record(request, self._account.letters(14))
        self.requests.append(recorded)
        try:
            answer = await self._answer(request, raw, recorded)
        except StripeRefusal as refusal:
            answer = _refused(refusal)
        except Cut:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()  # written to nobody
        recorded.status = answer.status
        headers = {"Request-Id": recorded.request_id, **OPEN_TO_BROWSERS, **answer.headers}
        if recorded.idempotency_key is not None:
            headers["Idempotency-Key"] = recorded.idempotency_key
        headers.setdefault("Stripe-Version", API_VERSION)
        return web.Response(
            status=answer.status, body=answer.body, headers=headers, content_type="application/json"
        )

    async def _answer(self, request: web.Request, raw: bytes, recorded: Recorded) -> Answered:
        if request.method == "POST" and raw and request.content_type != FORM:
            message = f"Invalid request (check that your POST content type is {FORM})."
            raise StripeRefusal(message)
        try:
            params = forms.decoded(raw.decode("ascii"))
        except ValueError as bad:
            raise StripeRefusal(f"Invalid request: not a form of UTF-8 text ({bad}).") from None
        recorded.params = {name: forms.with_lists(value) for name, value in params.items() if name != "key"}
        from_browser = self._who(request, params)
        if not from_browser and request.headers.get("Stripe-Version") != API_VERSION:
            raise StripeRefusal(f"Invalid Stripe API version: this fake speaks {API_VERSION} only.")
        path = request.path.rstrip("/")
        found = routes.find(request.method, path, from_browser)
        if found is None:
            raise _unrouted(request.method, path, from_browser)
        fault = self.faults.take(request.method, path)
        key = recorded.idempotency_key if request.method == "POST" else None
        if key is not None:
            asked = f"{request.method} {path} {json.dumps(params, sort_keys=True)}"
            kept = self._keys.begin(key, asked, recorded.request_id)
            if kept is not None:
                recorded.replayed = True
                more = {"Idempotent-Replayed": "true", "Original-Request": kept.request_id}
                return await _after(fault, Answered(kept.status, kept.body, False, more))
        try:
            answer = await self._work(found, params, recorded, fault, key)
        finally:
            if key is not None:
                self._keys.release(key)
        return await _after(fault, answer)

    async def _work(
        self,
        found: tuple[routes.Route, str],
        params: dict[str, Any],
        recorded: Recorded,
        fault: Fault | None,
        key: str | None,
    ) -> Answered:
        """The request's own work between the faults before and after it; its key then keeps the answer."""
        route, id = found
        answer = await _before(fault)
        if answer is None:
            try:
                with self._account.during(recorded.request_id, key):
                    made = route.work(self._account, route.takes.read(params), id)
                answer = Answered(200, _printed(made), kept=True)
            except StripeRefusal as refusal:
                answer = _refused(refusal)
            if fault is not None and (fault.when, fault.kind) == ("after", "status"):
                answer = _spoiled(fault)
        if key is not None and answer.kept:
            self._keys.keep(key, answer.status, answer.body)
        return answer

    def _who(self, request: web.Request, params: dict[str, Any]) -> bool:
        """True for a browser with the publishable key, False for a server with the secret one."""
        key = _bearer(request.headers.get("Authorization", "")) or params.get("key")
        if not key:
            message = "You did not provide an API key. You need to provide your API key in the Authorization header."
            raise StripeRefusal(message, status=401)
        if key == self._publishable_key:
            return True
        if key == self._secret_key and "key" not in params:
            return False
        raise StripeRefusal(f"Invalid API Key provided: {str(key)[:8]}****", status=401)


def _bearer(authorization: str) -> str | None:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return value.strip() if scheme.lower() == "bearer" else None


def _record(request: web.Request, letters: str) -> Recorded:
    headers = {name.lower(): value for name, value in request.headers.items()}
    headers.pop("authorization", None)
    key = request.headers.get("Idempotency-Key")
    return Recorded(request.method, request.path, {}, key, headers, request_id=f"req_{letters}")


def _unrouted(method: str, path: str, from_browser: bool) -> StripeRefusal:
    if from_browser and routes.find(method, path, False) is not None:
        message = "This API call cannot be made with a publishable API key. Please use a secret API key."
        return StripeRefusal(message, status=403, code="secret_key_required")
    return StripeRefusal(f"Unrecognized request URL ({method}: {path}).", status=404)


def _printed(body: Any) -> bytes:
    return json.dumps(body, indent=2, ensure_ascii=False).encode()


def _refused(refusal: StripeRefusal) -> Answered:
    return Answered(refusal.status, _printed({"error": refusal.error}), refusal.kept)


def _spoiled(fault: Fault) -> Answered:
    if fault.kind in GARBAGE:
        return Answered(200, GARBAGE[fault.kind], False)
    if fault.status == 429:
        error = {"type": "invalid_request_error", "code": "rate_limit", "message": "Too many requests."}
    else:
        error = {"type": "api_error", "message": "An unknown error occurred."}
    return Answered(fault.status, _printed({"error": error}), fault.keep)


async def _before(fault: Fault | None) -> Answered | None:
    if fault is None or fault.when != "before":
        return None
    if fault.kind == "hold":
        await fault.gate.wait()
        return None
    if fault.kind == "cut":
        raise Cut
    return _spoiled(fault)


async def _after(fault: Fault | None, answer: Answered) -> Answered:
    if fault is None or fault.when != "after":
        return answer
    if fault.kind == "hold":
        await fault.gate.wait()
    elif fault.kind == "cut":
        raise Cut
    else:
        return _spoiled(fault)
    return answer
