"""What all calls are forwarded by: the settings, the till, the upstream, and what is made ready once for all of them.

One call's way is forward.py's.
"""

from __future__ import annotations

from typing import Final

from rabbitgw import clock
from rabbitgw.billing.admission import Till
from rabbitgw.billing.price_book import PriceFeed
from rabbitgw.config import Settings
from rabbitgw.proxy.dialects import ALL_DIALECTS, JSON_TYPES, Dialect
from rabbitgw.proxy.relay import Headers, Relay
from rabbitgw.proxy.slices import Slices
from rabbitgw.proxy.upstream import Upstream

SSE_TYPE: Final = b"text/event-stream"


class Forwarder:
    """Forwards admitted calls to one upstream. One per process."""

    def __init__(self, settings: Settings, prices: PriceFeed, till: Till, upstream: Upstream) -> None:
        self.settings = settings
        self.prices = prices
        self.till = till
        self.upstream = upstream
        self.hiding: dict[Relay, Slices] = {}  # streams that may produce what nobody sees
        # what the heads of all requests of a kind have in common: written, and checked, once
        self.heads = {
            (dialect.path, streamed): upstream.head_start(
                b"POST", dialect.path.encode(), self._fields(dialect, streamed=streamed)
            )
            for dialect in ALL_DIALECTS
            for streamed in (False, True)
        }

    def _fields(self, dialect: Dialect, *, streamed: bool) -> Headers:
        plain = JSON_TYPES[0] if dialect.answers is JSON_TYPES else b"*/*"
        fields = [(b"accept", SSE_TYPE if streamed else plain)]
        if not dialect.form:  # whose type has a boundary, a new one for each
            fields.append((b"content-type", b"application/json"))
        secret = self.settings.litellm_master_key.get_secret_value()
        if secret:
            fields.append((b"authorization", b"Bearer " + secret.encode()))
        return fields

    def tick(self) -> None:
        """Once a second: let streams of reasoning models hold for what they may have produced unseen."""
        now_ms = clock.now_ms()
        for relay, slices in tuple(self.hiding.items()):
            slices.tick(now_ms, paused=relay.paused)
