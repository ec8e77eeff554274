"""Holds what the side routes really answer against their OpenAPI document: status, media type, and every field.

Every test of the side routes runs with it; a field that is not in the document fails the test that met it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web
from jsonschema import Draft202012Validator, FormatChecker

from rabbitgw.api.openapi import document
from rabbitgw.api.route import AnyRoute

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Described:
    """A middleware. `faults` are answers that are not as the document says; `seen` are (operation, status)."""

    def __init__(self, table: list[AnyRoute]) -> None:
        self.document = document(table)
        self.seen: set[tuple[str, str]] = set()
        self.faults: list[str] = []

    @web.middleware
    async def checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response: web.StreamResponse
        try:
            response = await handler(request)
        except web.HTTPError as error:  # which json_errors makes an answer of
            response = error
        resource = request.match_info.route.resource
        methods = self.document["paths"].get(resource.canonical if resource else "", {})
        operation = methods.get(request.method.lower())
        if operation is not None:
            fault = self.fault(operation, response.status, *_content(response))
            said = operation["responses"].get(str(response.status), {})
            if ("ETag" in said.get("headers", {})) != ("etag" in response.headers):
                fault = f"{fault or ''} an ETag is answered or described, but not both"
            if fault is not None:
                self.faults.append(f"{operation['operationId']} {response.status}: {fault}")
            self.seen.add((operation["operationId"], str(response.status)))
        if isinstance(response, web.HTTPError):
            raise response
        return response

    def fault(self, operation: dict[str, Any], status: int, media: str, body: bytes | None) -> str | None:
        """What of an answer the document does not say, or None."""
        said = operation["responses"].get(str(status))
        if said is None:
            return "a status that the document does not know"
        if media not in said["content"]:
            return f"a media type that the document does not know: {media}"
        if media != "application/json" or body is None:
            return None
        schema = {**said["content"][media]["schema"], "components": self.document["components"]}
        validator = Draft202012Validator(schema, format_checker=FormatChecker())
        errors = [error.message for error in validator.iter_errors(orjson.loads(body))]
        return "; ".join(errors) or None


def _content(response: web.StreamResponse) -> tuple[str, bytes | None]:
    """Media type and body; no body of one that was streamed, or is made further out."""
    if isinstance(response, web.HTTPError):
        return "application/json", None
    if isinstance(response, web.Response):
        return response.content_type, bytes(response.body or b"")
    return response.content_type, None
