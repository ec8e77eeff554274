"""/openapi.json: the side routes as OpenAPI 3.1, made from the same table as the routes and from their models. /docs is
the same for people.

Owns the form of the document; knows no route. The data plane is not in it: its bodies and answers are the providers'.
It holds no secret and needs no credential.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any, Final

import orjson
from aiohttp import web
from pydantic import BaseModel, Field, RootModel, create_model
from pydantic.json_schema import models_json_schema

import rabbitgw
from rabbitgw.api import docs_page
from rabbitgw.api.forms import Anything, Nothing
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.api.views import Refused

PATH: Final = "/openapi.json"
PAGE_PATH: Final = "/docs"
DESCRIPTION: Final = """\
The side routes of the gateway: wallets and bills for callers, administration for the operator, health.

On the same port it speaks the model APIs of OpenAI (chat completions, completions, responses, embeddings, models)
and Anthropic (messages, count_tokens) under /v1/. Those are documented by their owners and are not in here.

Amounts are integers of nanos, 10⁻⁹ of the currency's unit. They go up to 2⁶³: read them as 64-bit integers.

Text of the format `printable` has no control, format or other unprintable characters, and no blank at either end. An
`etag` is one as an answer gave it, like "12" with its quotes, or *."""
JSON: Final = "application/json"
HTML: Final = "text/html"
REFERENCE: Final = "#/components/schemas/{model}"
# The ids of a request come with every answer, refusals too.
HEADERS: Final = {
    "x-request-id": "the caller's X-Request-ID if it was 1 to 128 printable ASCII characters, else ours",
    "request-id": "the same",
    "x-rabbitgw-request-id": "our id of this request",
}
ETAG_FORMAT: Final = "etag"
IF_MATCH: Final = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "the ETag that the change is made upon, else 412; left out or *: the last change wins",
    "schema": {"type": "string", "format": ETAG_FORMAT},
}
ETAG_HEADER: Final = {
    "ETag": {"description": "the version of what is answered, for If-Match", "schema": {"type": "string"}}
}
TAGS: Final = {
    Auth.ADMIN: "the operator's, with the admin key or a key with the scope admin; 404 while no admin key is set",
    Auth.CALLER: "a caller's, with a key of theirs: of their own account, nothing else",
    Auth.EITHER: "a caller's, of their own account; or the operator's, of any (or DEV_API_KEY's)",
    Auth.CASHIER: "the operator's, or DEV_API_KEY's",
    Auth.NONE: "for anybody",
}
SECURITY: Final[dict[Auth, list[dict[str, list[str]]]]] = {
    Auth.ADMIN: [{"adminBearer": []}, {"adminHeader": []}],
    Auth.CALLER: [{"callerBearer": []}, {"callerHeader": []}],
    Auth.EITHER: [{"callerBearer": []}, {"callerHeader": []}, {"adminBearer": []}, {"adminHeader": []}],
    Auth.CASHIER: [{"adminBearer": []}, {"adminHeader": []}],
    Auth.NONE: [],
}
SCHEMES: Final = {
    f"{who}{way}": {**scheme, "description": text}
    for who, text in (
        ("admin", "the value of RABBITGW_ADMIN_KEY, or a key with the scope admin"),
        ("caller", "a key, rk-…"),
    )
    for way, scheme in (
        ("Bearer", {"type": "http", "scheme": "bearer"}),
        ("Header", {"type": "apiKey", "in": "header", "name": "x-api-key"}),
    )
}


class OpenApi:
    """The document of a table of routes, its own two included. Made when it is first asked for."""

    def __init__(self, table: Sequence[AnyRoute]) -> None:
        self._table = [*table, *self.routes()]

    def routes(self) -> list[AnyRoute]:
        none = Auth.NONE
        return [
            Route(
                "GET", PATH, self.openapi_document, "This document", none, None, query=Anything, other=(JSON,)
            ),
            Route("GET", PAGE_PATH, self.docs, "It as a page", none, None, query=Anything, other=(HTML,)),
        ]

    async def openapi_document(self, asked: Asked[Nothing, Anything]) -> web.StreamResponse:
        # Made in a thread: it takes longer than a stream should have to wait.
        body = await asyncio.to_thread(lambda: self._bytes)
        return web.Response(body=body, content_type=JSON)

    async def docs(self, asked: Asked[Nothing, Anything]) -> web.StreamResponse:
        body = await asyncio.to_thread(lambda: self._page)
        return web.Response(body=body, content_type=HTML, charset="utf-8", headers=docs_page.HEADERS)

    @cached_property
    def _bytes(self) -> bytes:
        return orjson.dumps(document(self._table))

    @cached_property
    def _page(self) -> bytes:
        return docs_page.page(document(self._table), PATH).encode()


def document(table: Sequence[AnyRoute]) -> dict[str, Any]:
    """The OpenAPI document of these routes."""
    forms = [route.form for route in table if route.reads_body]
    answers: list[type[BaseModel]] = [route.answer for route in table if route.answer is not None]
    _, schemas = models_json_schema(
        [
            *((form, "validation") for form in dict.fromkeys(forms) if form is not Nothing),
            *((answer, "serialization") for answer in dict.fromkeys(map(labelled, [Refused, *answers]))),
        ],
        ref_template=REFERENCE,
    )
    components: dict[str, Any] = dict(schemas["$defs"])
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        paths.setdefault(route.plain_path, {})[route.method.lower()] = _operation(route, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rabbitgw",
            "version": rabbitgw.__version__,
            "description": DESCRIPTION,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": auth.value, "description": text} for auth, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": SCHEMES,
            "headers": {
                name: {"description": text, "schema": {"type": "string"}} for name, text in HEADERS.items()
            },
        },
    }


@lru_cache
def labelled(answer: type[BaseModel]) -> type[BaseModel]:
    """An answer as it is sent: with `request_id`, where it has none of its own."""
    if issubclass(answer, RootModel) or "request_id" in answer.model_fields:
        return answer
    fields: dict[str, Any] = {"request_id": (str, Field(description="as in the header x-request-id"))}
    name = f"{answer.__name__.removesuffix('View')}Answer"
    return create_model(name, __base__=answer, __doc__=answer.__doc__, **fields)


def _operation(route: AnyRoute, components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.auth.value],
        "security": SECURITY[route.auth],
    }
    parameters = [*_path_parameters(route), *_query_parameters(route, components)]
    if route.conditional:
        parameters.append(IF_MATCH)
    if parameters:
        operation["parameters"] = parameters
    if route.reads_body and route.form is not Nothing:
        required = any(one.is_required() for one in route.form.model_fields.values())
        operation["requestBody"] = {"required": required, "content": {JSON: _refers_to(route.form)}}
    operation["responses"] = {"200": _answer(route), **_refusals(route)}
    return operation


def _path_parameters(route: AnyRoute) -> Iterator[dict[str, Any]]:
    for name, is_number in route.parameters().items():
        schema = {"type": "integer", "format": "int64", "minimum": 0} if is_number else {"type": "string"}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(route: AnyRoute, components: dict[str, Any]) -> Iterator[dict[str, Any]]:
    schema = route.query.model_json_schema(ref_template=REFERENCE)
    components.update(schema.get("$defs", {}))
    for name, field in schema.get("properties", {}).items():
        required = name in schema.get("required", ())
        parameter = {"name": name, "in": "query", "required": required, "schema": field}
        if "description" in field:
            parameter["description"] = field.pop("description")
        yield parameter


def _answer(route: AnyRoute) -> dict[str, Any]:
    content: dict[str, Any] = {
        media: {"schema": {"type": "object" if media == JSON else "string"}} for media in route.other
    }
    answer: type[BaseModel] | None = route.answer
    if answer is not None:
        content[JSON] = _refers_to(labelled(answer))
    return {
        "description": route.summary,
        "headers": _headers() | (ETAG_HEADER if route.labelled else {}),
        "content": content,
    }


def _refusals(route: AnyRoute) -> dict[str, Any]:
    return {
        str(status): {
            "description": ", ".join(f"`{code}`" for code in sorted(codes)),
            "headers": _headers(),
            "content": {JSON: _refers_to(labelled(Refused))},
        }
        for status, codes in sorted(route.refused().items())
    }


def _headers() -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS}


def _refers_to(model: type[BaseModel]) -> dict[str, Any]:
    return {"schema": {"$ref": REFERENCE.format(model=model.__name__)}}
