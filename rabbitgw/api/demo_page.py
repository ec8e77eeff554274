"""/demo/payment_element: a page that buys credit through Stripe's Payment Element, for who develops.

Owns the three files of the page and what a browser may do with them; the page itself knows the payment routes, this
module none of them. It is there while DEV_API_KEY is set. The key may come in the query and is not looked at here:
the page's script takes it out of the address bar before it loads anything of Stripe's, and nothing writes queries to
a log. stripe.js is always Stripe's own, as its terms ask, so the policy lets in Stripe's hosts and no other's.
Source: docs.stripe.com/security/guide, "Content security policy".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from aiohttp import web

from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Anything, Nothing
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.errors import NotFound, RequestInvalid

PATH: Final = "/demo/payment_element"
API_CHARS_MAX: Final = 300
_FILE: Final = Path(__file__).with_name("payment_element.html")
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# A base URL of which nothing can end up in the policy but its origin.
_API: Final = re.compile(
    r"(https?://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?)(?:/[\w./~-]*)?"
)
_STRIPE: Final = "https://js.stripe.com https://*.js.stripe.com"
_ALWAYS: Final = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class DemoRoutes:
    """The page, its style and its script."""

    def __init__(self, deps: SideDeps) -> None:
        self._deps = deps

    def routes(self) -> list[AnyRoute]:
        return [
            Route(
                "GET",
                PATH,
                self.payment_element,
                "A page that buys credit through Stripe, for developing: 404 while DEV_API_KEY is not set",
                Auth.NONE,
                None,
                query=Anything,
                other=("text/html",),
                refusals=(NotFound, RequestInvalid),
            ),
            *(
                Route(
                    "GET",
                    f"{PATH}{suffix}",
                    handler,
                    summary,
                    Auth.NONE,
                    None,
                    query=Anything,
                    other=(_TYPES[suffix],),
                    refusals=(NotFound,),
                )
                for suffix, handler, summary in (
                    (".css", self.payment_element_style, "Its style"),
                    (".js", self.payment_element_script, "Its script"),
                )
            ),
        ]

    async def payment_element(self, asked: Asked[Nothing, Anything]) -> web.StreamResponse:
        self._check_on()
        policy = _policy(_origin(asked.http.query.getall("api", [])))
        return _file(".html", {"content-security-policy": policy})

    async def payment_element_style(self, asked: Asked[Nothing, Anything]) -> web.StreamResponse:
        self._check_on()
        return _file(".css")

    async def payment_element_script(self, asked: Asked[Nothing, Anything]) -> web.StreamResponse:
        self._check_on()
        return _file(".js")

    def _check_on(self) -> None:
        if not self._deps.settings.dev_api_key.get_secret_value():
            raise NotFound("the demo page is off: DEV_API_KEY is not set")


def _origin(given: list[str]) -> str:
    """Of the base URL that the page shall talk to; nothing if none is given. Raises: RequestInvalid."""
    if not any(given):
        return ""
    match = _API.fullmatch(given[0]) if len(given) == 1 and len(given[0]) <= API_CHARS_MAX else None
    if match is None:
        raise RequestInvalid("api: one base URL like http://localhost:8080", field="api")
    return match[1]


def _policy(origin: str) -> str:
    asked = " ".join(filter(None, ("'self'", "https://api.stripe.com", origin)))
    return (
        f"default-src 'none'; script-src 'self' {_STRIPE}; style-src 'self'; img-src data:; "
        f"connect-src {asked}; frame-src {_STRIPE} https://hooks.stripe.com; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _file(suffix: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=_CONTENT[suffix],
        content_type=_TYPES[suffix],
        charset="utf-8",
        headers={**_ALWAYS, **(headers or {})},
    )


_CONTENT: Final = {suffix: _FILE.with_suffix(suffix).read_bytes() for suffix in _TYPES}
