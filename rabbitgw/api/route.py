"""What a side route is: one description, of which the server's route and its part of /openapi.json are both made.

Owns the order of a request: credential, query, body, work, answer. A handler is given what its Route declares and
returns what its Route declares, and the types say so, so the document cannot say another thing than the program does.
Knows no route.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel

from rabbitgw.api.access import require_admin, require_caller, require_cashier, require_either
from rabbitgw.api.answers import ETAG, Handler, answering, http_code, read_model, read_query
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Anything, Nothing
from rabbitgw.api.views import View, shown
from rabbitgw.billing.key_record import KeyRecord
from rabbitgw.errors import (
    AuthError,
    BodyTooLarge,
    IpNotAllowed,
    NotFound,
    PreconditionFailed,
    RabbitError,
    RequestInvalid,
    ScopeMissing,
    StoreError,
)

ID_MAX: Final = 2**63 - 1
DIGITS: Final = r"\d+"  # how a path says that a part of it is a number

# A default that fits whatever the handler takes; that it fits the handler is tested.
NO_FIELD: Final[Any] = Nothing

_ETAG = re.compile(r'(?:W/)?"([0-9]{1,18})"')
_PARAMETER = re.compile(r"\{(\w+)(?::([^{}]+))?\}")

FormT = TypeVar("FormT", bound=BaseModel)
QueryT = TypeVar("QueryT", bound=BaseModel)
AnswerT = TypeVar("AnswerT", bound=BaseModel)


class Auth(Enum):
    """Whose credential a route wants."""

    NONE = "anybody"
    CALLER = "caller"
    ADMIN = "operator"
    EITHER = "caller or operator"
    CASHIER = "operator, or who develops"


@dataclass(frozen=True, slots=True)
class Asked(Generic[FormT, QueryT]):
    """A request whose credential, query and body were checked. `key` is the caller's; on a route of operators the one
    with the scope admin that asks. None: the admin key, or who needs no credential. `if_match`: the version that a
    change is made upon, on a route that is conditional; None: whatever it is."""

    http: web.Request
    form: FormT
    query: QueryT
    key: KeyRecord | None = None
    if_match: int | None = None

    @property
    def caller(self) -> KeyRecord:
        """The key that asks; only on a route of callers."""
        if self.key is None:
            raise RuntimeError("this route is no caller's")
        return self.key

    @property
    def by_admin_key(self) -> bool:
        """Whether the admin key itself asks; only on a route of operators."""
        return self.key is None

    @property
    def id(self) -> int:
        """The number in the path; the route's pattern allows digits only."""
        return min(int(self.http.match_info["id"]), ID_MAX)

    def part(self, name: str) -> str:
        """A part of the path."""
        return self.http.match_info[name]


@dataclass(frozen=True, slots=True)
class Route(Generic[FormT, QueryT, AnswerT]):
    """
    path:     as aiohttp has it; `{id:\\d+}` is a number.
    form:     the body. A route that is GET reads none.
    answer:   the JSON of status 200, without `request_id`, which every answer gets; None where there is none.
    other:    media types that it may answer with status 200 besides; the handler then returns a response of its own.
    refusals: errors of its own, beside those that follow from credential, query and body.
    raw:      the body is left to the handler, as the bytes that came.
    """

    method: str
    path: str
    handler: Callable[[Asked[FormT, QueryT]], Awaitable[AnswerT | web.StreamResponse]]
    summary: str
    auth: Auth
    answer: type[AnswerT] | None
    form: type[FormT] = NO_FIELD
    query: type[QueryT] = NO_FIELD
    other: tuple[str, ...] = ()
    refusals: tuple[type[RabbitError | web.HTTPError], ...] = ()
    raw: bool = False

    @property
    def name(self) -> str:
        """The handler's, which the document has as operationId."""
        return self.handler.__name__

    @property
    def reads_body(self) -> bool:
        return self.method != "GET" and not self.raw

    @property
    def checks_query(self) -> bool:
        return self.query is not Anything

    @property
    def plain_path(self) -> str:
        """The path without the patterns of its parameters."""
        return _PARAMETER.sub(r"{\1}", self.path)

    @property
    def conditional(self) -> bool:
        """Whether it honours If-Match."""
        return PreconditionFailed in self.refusals

    @property
    def labelled(self) -> bool:
        """Whether its answers carry an ETag."""
        return self.answer is not None and issubclass(self.answer, View) and self.answer.etag is not View.etag

    def parameters(self) -> dict[str, bool]:
        """The parts of the path, and whether each is a number."""
        return {name: pattern == DIGITS for name, pattern in _PARAMETER.findall(self.path)}

    def refused(self) -> dict[int, set[str]]:
        """Every error that this route may answer: codes by status."""
        codes: dict[int, set[str]] = {}
        for error in self._errors():
            if issubclass(error, RabbitError):
                codes.setdefault(error.http_status, set()).add(error.code)
            else:
                codes.setdefault(error.status_code, set()).add(http_code(error.status_code))
        return codes

    def _errors(self) -> set[type[RabbitError | web.HTTPError]]:
        errors: set[type[RabbitError | web.HTTPError]] = {RabbitError, *self.refusals}
        if self.auth is not Auth.NONE:
            errors |= {AuthError, IpNotAllowed, ScopeMissing, RequestInvalid, StoreError}
        if self.auth in (Auth.ADMIN, Auth.CASHIER):
            errors.add(NotFound)  # while no admin key is set
        if self.checks_query:
            errors.add(RequestInvalid)
        if self.reads_body or self.raw:
            errors |= {RequestInvalid, BodyTooLarge}
        return errors

    def served(self, deps: SideDeps) -> web.RouteDef:
        """The route as aiohttp takes it."""
        if self.method == "GET":
            return web.get(self.path, self._answering(deps))  # which answers HEAD too
        return web.route(self.method, self.path, self._answering(deps))

    def _answering(self, deps: SideDeps) -> Handler:
        async def work(request: web.Request) -> dict[str, Any] | web.StreamResponse:
            key = None
            if self.auth is Auth.ADMIN:
                key = await require_admin(request, deps)
            elif self.auth is Auth.CALLER:
                key = await require_caller(request, deps)
            elif self.auth is Auth.EITHER:
                key = await require_either(request, deps)
            elif self.auth is Auth.CASHIER:
                key = await require_cashier(request, deps)
            query = read_query(request, self.query) if self.checks_query else self.query.model_construct()
            version = _version(request) if self.conditional else None
            form = await read_model(request, self.form) if self.reads_body else self.form.model_construct()
            answer = await self.handler(Asked(request, form, query, key, version))
            if isinstance(answer, View) and answer.etag is not None:
                request[ETAG] = answer.etag
            return answer if isinstance(answer, web.StreamResponse) else shown(answer)

        return answering(work)


def _version(request: web.Request) -> int | None:
    """What If-Match says; None: nothing, or any. Raises: RequestInvalid."""
    given = request.headers.getall("if-match", [])
    if not given or given == ["*"]:
        return None
    match = _ETAG.fullmatch(given[0])
    if len(given) > 1 or match is None:
        raise RequestInvalid('If-Match: one ETag as it was given, like "12", or *')
    return int(match[1])


AnyRoute = Route[Any, Any, Any]
