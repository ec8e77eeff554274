"""How side routes answer: JSON objects that carry the request's id, and errors in one shape.

Owns ids, headers, bodies and the way from an exception to a status. Knows no route and no store.
The caller's X-Request-ID, where it is sane, is echoed; x-rabbitgw-request-id is always ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import ceil
from typing import Any, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from rabbitgw import clock, telemetry
from rabbitgw.api.views import Refusal, Refused, shown
from rabbitgw.errors import (
    AuthError,
    BodyTooLarge,
    CallerError,
    PaymentRefused,
    PaymentUnavailable,
    RabbitError,
    RequestInvalid,
)
from rabbitgw.proxy.front_inner import BODY_BYTES_MAX
from rabbitgw.proxy.request_headers import Heard

NAME_CHARS_MAX = 200  # of a field that is refused by name; a caller may make up longer ones
NUL = rb"\u0000"
HTTP_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "request_too_large",
}
ETAG = web.RequestKey("etag", int)  # the version that an answer is labelled with
RETRY_AFTER_S = 1  # a store that is away is usually back within seconds

Model = TypeVar("Model", bound=BaseModel)
Work = Callable[[web.Request], Awaitable[dict[str, Any] | web.StreamResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answering(work: Work) -> Handler:
    """A handler that answers with what `work` returns, status 200, or with the error that it raises.

    A response that `work` made itself is labelled with the ids, unless its head is sent already.
    What was begun is finished, though the client that asked be gone (its going cancels the handler).
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        return await asyncio.shield(asyncio.ensure_future(answer(request)))

    async def answer(request: web.Request) -> web.StreamResponse:
        ours, request_id, headers = request_ids(request)
        telemetry.about(request_id=ours, caller_request_id=request_id)
        status = 200
        try:
            body = await work(request)
        except RabbitError as error:
            body, status = error_body(error), error.http_status
            _log_refusal(request, error)
            wait_s = RETRY_AFTER_S if status == 503 else error.retry_after_s
            if wait_s is not None:
                headers["retry-after"] = str(ceil(wait_s))
        except (web.HTTPException, ConnectionResetError):  # the latter: the client left amid a long answer
            raise
        except Exception as error:
            telemetry.error("side_route_failed", exc=error, path=request.path)
            body, status = error_body(RabbitError("an unexpected error; it has been logged")), 500
        if ETAG in request:
            headers["etag"] = f'"{request[ETAG]}"'
        if isinstance(body, web.StreamResponse):
            if not body.prepared:
                body.headers.update(headers)
            return body
        body.setdefault("request_id", request_id)
        return web.Response(
            body=orjson.dumps(body), status=status, content_type="application/json", headers=headers
        )

    return handle


def error_body(error: RabbitError) -> dict[str, Any]:
    refusal = Refusal(code=error.code, message=error.message, field=error.field)
    return shown(Refused(error=refusal))


def http_code(status: int) -> str:
    """The code of an error that aiohttp answers."""
    return HTTP_CODES.get(status, RequestInvalid.code)


@web.middleware
async def json_errors(request: web.Request, handler: Any) -> web.StreamResponse:
    """What aiohttp itself answers (no such route, wrong method), in the same shape."""
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPError as error:
        refusal = Refusal(code=http_code(error.status), message=error.reason, field=None)
        _, request_id, headers = request_ids(request)
        if "Allow" in error.headers:
            headers["Allow"] = error.headers["Allow"]
        body = {**shown(Refused(error=refusal)), "request_id": request_id}
        return web.json_response(body, status=error.status, headers=headers)
    return response


async def _read_fields(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object, whatever its content type; an empty body is an empty object.

    Raises: BodyTooLarge, RequestInvalid.
    """
    raw = bytearray()
    async for piece in request.content.iter_chunked(65536):
        raw += piece
        if len(raw) > BODY_BYTES_MAX:
            raise BodyTooLarge(f"the body is larger than the limit of {BODY_BYTES_MAX} bytes")
    if not raw.strip():
        return {}
    if NUL in raw:  # no text of ours may hold one, and PostgreSQL cannot
        raise RequestInvalid(r"a text with \u0000 in it is not accepted")
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestInvalid(f"the body is not JSON: {error.msg}") from None
    if not isinstance(fields, dict):
        raise RequestInvalid("the body must be a JSON object")
    return fields


async def read_model(request: web.Request, model: type[Model]) -> Model:
    """The body checked against a model. Raises: BodyTooLarge, RequestInvalid naming the field."""
    return _checked(model, await _read_fields(request))


def read_query(request: web.Request, model: type[Model]) -> Model:
    """The query checked against a model. Raises: RequestInvalid naming the field."""
    unfit = [name for name, value in request.query.items() if not value.isprintable()]
    if unfit:
        raise RequestInvalid(f"{unfit[0]}: only printable characters", field=unfit[0])
    twice = [name for name in request.query if len(request.query.getall(name)) > 1]
    if twice:
        raise RequestInvalid(f"{twice[0]}: given more than once", field=twice[0])
    return _checked(model, dict(request.query))


def _checked(model: type[Model], fields: dict[str, Any]) -> Model:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0])[:NAME_CHARS_MAX] if first["loc"] else None
        where = ".".join(map(str, first["loc"]))[:NAME_CHARS_MAX]
        if first["type"] == "extra_forbidden":
            message = f"{where}: this field is not supported"
        elif first["type"] == "missing":
            message = f"{where}: this field is required"
        else:
            message = f"{where}: {first['msg']}" if field else str(first["msg"])
        raise RequestInvalid(message, field=field) from None


def request_ids(request: web.Request) -> tuple[str, str, dict[str, str]]:
    """Our id of this request, the one that is shown, and the headers that say both."""
    ours = clock.new_id()
    shown = Heard(request.raw_headers).request_id or ours
    return ours, shown, {"x-request-id": shown, "request-id": shown, "x-rabbitgw-request-id": ours}


def _log_refusal(request: web.Request, error: RabbitError) -> None:
    what = {"method": request.method, "path": request.path, "code": error.code, "reason": error.message}
    if isinstance(error, (PaymentRefused, PaymentUnavailable)):
        telemetry.error("payment_provider_failed", exc=error, **what)
    elif isinstance(error, CallerError) and not isinstance(error, AuthError):
        telemetry.log("side_route_refused", **what)
    else:
        telemetry.warn("side_route_refused", **what)
