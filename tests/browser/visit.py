"""A visit to the demo page in headless Chromium, and what must hold of every visit.

Owns the ways out of the page: stripe.js is answered with a stand-in, or not at all; of the gateway's JSON routes those
are answered here that a test gives an answer for; every other host is cut off and counted. `check()` says what no
visit may show: an error in the console, a breach of the page's policy, the key or a client secret in an address, a
referrer, something stored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from playwright.async_api import BrowserContext, ConsoleMessage, Page, Request, Route, expect

expect.set_options(timeout=30_000)

PATH: Final = "/demo/payment_element"
STRIPE_JS: Final = "https://js.stripe.com/endive/stripe.js"
STAND_IN: Final = Path(__file__).with_name("stand_in_stripe.js").read_text()
KEY: Final = "rgd-key-of-the-demo"
PUBLISHABLE_KEY: Final = "pk_test_of_the_house"
SECRET: Final = "pi_1_secret_of_the_customer"
REFUSED: Final = "Failed to load resource"  # Chromium says it of every 4xx, 5xx and what was cut off
WATCH: Final = """
window.breaches = [];
addEventListener("securitypolicyviolation", (event) => breaches.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


@dataclass
class Reply:
    body: dict[str, Any]
    status: int = 200


class Visit:
    """
    stripe_js: what is loaded in its place; None: it cannot be loaded.
    replies:   by method and path, the answers in their order; the last one stays. None cuts the connection.
    mounts:    the error that mounting ends with, if any.
    outcome:   of confirming; or what makes it, of the PaymentIntent's id and the address to come back to.
    expected:  how the lines begin that the console may say.
    also:      another base URL that the page may talk to.
    keys:      that are typed, beside KEY.
    """

    def __init__(self, page: Page, base_url: str) -> None:
        self.page = page
        self.base_url = base_url
        self._forget()

    @classmethod
    async def begin(cls, context: BrowserContext, base_url: str) -> Visit:
        visit = cls(await context.new_page(), base_url)
        await context.add_init_script(WATCH)
        await context.route("**/*", visit._routed)
        await visit.page.expose_function("stripeMounts", visit._mounted)
        await visit.page.expose_function("stripeConfirms", visit._confirmed)
        visit.page.on("request", visit._asks)
        visit.page.on("console", visit._said)
        visit.page.on("pageerror", lambda error: visit._console.append(f"thrown: {error}"))
        return visit

    async def renew(self) -> None:
        """Somebody else's visit in the same window."""
        await self.page.goto("about:blank")
        await self.page.set_viewport_size({"width": 1280, "height": 720})
        self._forget()

    def _forget(self) -> None:
        self.stripe_js: str | None = STAND_IN
        self.replies: dict[str, list[Reply | None]] = {}
        self.mounts: Any = None
        self.outcome: Any = {"paymentIntent": {"status": "succeeded"}}
        self.asked: list[Request] = []
        self.expected: str | tuple[str, ...] = "\0"
        self.also = "\0"
        self._console: list[str] = []
        self._strays: list[str] = []
        self._secrets = {SECRET}
        self.keys: list[str] = []

    async def open(self, **query: str) -> None:
        await self.page.goto(self.own(**query))

    def answers(self, route: str, *replies: dict[str, Any] | Reply | None) -> None:
        self.replies[route] = [Reply(one) if isinstance(one, dict) else one for one in replies]

    def sells(self, order_id: str = "o-1", amount_cents: int = 1000, currency: str = "USD") -> None:
        """The next checkout makes this order."""
        paid = {"order_id": order_id, "amount_cents": amount_cents, "currency": currency}
        self.answers(
            "POST /v1/payments/checkout",
            {
                "request_id": "r-1",
                "order_id": order_id,
                "type": "client_secret",
                "payload": {"client_secret": SECRET, **paid},
                "provider_txn_id": "pi_1",
            },
        )

    def stands(self, *statuses: str, refunded_cents: int = 0) -> None:
        """How the order is, look by look."""
        amounts = {"amount_cents": 1000, "refunded_cents": refunded_cents, "currency": "USD"}
        self.answers(
            "GET /v1/payments/status",
            *({"order_id": "o-1", "status": status, **amounts} for status in statuses),
        )

    def sent(self, route: str) -> list[Request]:
        method, _, path = route.partition(" ")
        return [one for one in self.asked if one.method == method and urlsplit(one.url).path == path]

    def body(self, route: str) -> Any:
        (request,) = self.sent(route)
        return request.post_data_json

    async def says(self, name: str, text: str) -> None:
        """The notice of this id shows this text."""
        await expect(self.page.locator(f"#{name}:visible")).to_have_text(text)

    async def press(self, name: str) -> None:
        await self.page.get_by_role("button", name=name).click()

    async def fill(self, **texts: str) -> None:
        for name, text in texts.items():
            await self.page.locator(f"#{name}").fill(text)

    async def order(self) -> None:
        """Start the checkout, up to the Payment Element."""
        await self.press("Start checkout")
        await expect(self.page.locator("#pay")).to_be_enabled()

    async def stand_in(self) -> Any:
        """What stripe.js was given."""
        return await self.page.evaluate("window.standIn")

    def own(self, **query: str) -> str:
        return f"{self.base_url}{PATH}{'?' if query else ''}{urlencode(query)}"

    async def check(self) -> None:
        assert self._strays == []
        assert [said for said in self._console if not said.startswith(self.expected)] == []
        assert await self.page.evaluate("window.breaches") == []
        assert await self.page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [
            0,
            0,
            "",
        ]
        opened = [one for one in self.asked if one.is_navigation_request()]
        for request in self.asked:
            headers = request.headers
            assert "referer" not in headers, request.url
            assert self._ours(request.url) or self._tells_nothing(json.dumps(headers)), request.url
            assert request in opened or self._tells_nothing(request.url), request.url
        seen = f"{self.page.url} {await self.page.evaluate('document.referrer + location.href')}"
        assert self._tells_nothing(seen)

    def _tells_nothing(self, text: str) -> bool:
        return not any(one in text for one in (KEY, *self.keys, *self._secrets))

    def _ours(self, url: str) -> bool:
        return url.startswith((f"{self.base_url}/", self.also))

    async def _routed(self, route: Route, request: Request) -> None:
        place = urlsplit(request.url)
        replies = self.replies.get(f"{request.method} {place.path}")
        if request.url == STRIPE_JS:
            if self.stripe_js is None:
                await route.abort()
            else:
                await route.fulfill(body=self.stripe_js, content_type="text/javascript")
        elif not self._ours(request.url):
            self._strays.append(request.url)
            await route.abort()
        elif replies:
            await self._answer(route, replies.pop(0) if len(replies) > 1 else replies[0])
        else:
            await route.continue_()

    @staticmethod
    async def _answer(route: Route, reply: Reply | None) -> None:
        if reply is None:
            await route.abort()
        else:
            await route.fulfill(status=reply.status, json=reply.body)

    def _mounted(self, secret: str) -> Any:
        self._secrets.add(secret)
        return self.mounts

    async def _confirmed(self, secret: str, return_url: str) -> Any:
        if not callable(self.outcome):
            return self.outcome
        return await self.outcome(secret.partition("_secret_")[0], return_url)

    def _asks(self, request: Request) -> None:
        self.asked.append(request)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._console.append(message.text)
