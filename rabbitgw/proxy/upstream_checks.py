"""Looks at upstream for `rabbitgw doctor`: is it there, does it take our key, which LiteLLM is it, what does it serve?

Asks by the same client as calls do, and only for what costs nothing. Prices are compared with what it lists; a name
with a wildcard in it is no model, but a way to many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from rabbitgw.billing.prices import PriceBook
from rabbitgw.findings import Checkup, Finding, State, Verdict, failed, ok, warning
from rabbitgw.proxy.catalog import Collected, listed_names
from rabbitgw.proxy.relay import Headers
from rabbitgw.proxy.upstream import Upstream

KNOWN_GOOD: Final = "1.106.2"
NAMES_SHOWN_MAX: Final = 20
NAME_CHARS_MAX: Final = 80
ALIVE: Final = b"/health/liveliness"
MODELS: Final = b"/v1/models"
ROUTING: Final = b"/router/settings"
# Where LiteLLM tells its version. The last one it takes seconds to write, when it is first asked for it.
VERSIONS: Final = (b"/public/model_hub/info", b"/health/readiness", b"/openapi.json")
LOOK: Final = "look at the proxy's log"
VERSION_WAIT_S: Final = 4.0
VERSION_HEADER: Final = b"x-litellm-version"
FALLBACKS: Final = ("fallbacks", "default_fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
GLOB: Final = frozenset("*?[")


class Told(Collected):
    """A small answer with its headers."""

    __slots__ = ("headers",)

    def on_head(self, status: int, headers: Headers) -> None:
        super().on_head(status, headers)
        self.headers = headers

    def json(self) -> Any:
        try:
            return orjson.loads(bytes(self.body))
        except orjson.JSONDecodeError:
            return None


@dataclass(slots=True)
class UpstreamChecks:
    """The checks of one upstream. `names` is what it listed; None until it has."""

    upstream: Upstream
    master_key: str
    names: frozenset[str] | None = None
    versions: set[str] = field(default_factory=set)

    async def look(
        self, checkup: Checkup, book: PriceBook | None, currencies: Sequence[str]
    ) -> list[Finding]:
        """`book`: None where it could not be read."""
        found = [
            await checkup.make(
                "upstream.reachable",
                self._reachable(),
                mend="is LITELLM_BASE_URL right, and does the proxy run?",
            )
        ]
        if found[0].state is State.FAILED:
            return found
        found += await checkup.make_all(
            [
                ("upstream.key", self._key()),
                ("upstream.open", self._open()),
                ("upstream.version", self._version()),
                ("upstream.routing", self._routing()),
            ],
            mend=LOOK,
        )
        if self.names is not None and book is not None:
            found += await checkup.make_all(
                [
                    ("prices.missing", _missing(self.names, book, currencies)),
                    ("prices.unserved", _unserved(self.names, book)),
                ],
                mend=LOOK,
            )
        return found

    async def _get(self, path: bytes, key: str) -> Told:
        """Raises: UpstreamError."""
        headers = [(b"accept", b"application/json")]
        if key:
            headers.append((b"authorization", b"Bearer " + key.encode()))
        told = Told()
        exchange = await self.upstream.request(b"GET", path, headers, b"", told)
        try:
            await told.done
        finally:
            if not told.done.done() or told.done.cancelled():
                exchange.abort()
        self.versions |= {
            value.decode("ascii", "replace") for name, value in told.headers if name == VERSION_HEADER
        }
        return told

    async def _reachable(self) -> Verdict:
        told = await self._get(ALIVE, "")
        if told.status == 200:
            return ok(f"{self.upstream.name} answers")
        return warning(
            f"{self.upstream.name} answers {told.status} at {ALIVE.decode()}",
            "is it a LiteLLM proxy, without /v1?",
        )

    async def _key(self) -> Verdict:
        told = await self._get(MODELS, self.master_key)
        if told.status != 200:
            return failed(
                f"{MODELS.decode()} answers {told.status}: upstream does not take our key",
                "set LITELLM_MASTER_KEY to the proxy's master key",
            )
        try:
            self.names = listed_names(bytes(told.body))
        except ValueError as error:
            return failed(f"our key is taken, but {error}", "is LITELLM_BASE_URL an OpenAI-compatible API?")
        if not self.names:
            return warning("our key is taken, but no model is listed", "give the proxy a model_list")
        return ok(f"our key is taken; models listed: {len(self.names)}")

    async def _open(self) -> Verdict:
        told = await self._get(MODELS, "")
        if told.status == 200:
            return warning(
                "upstream answers without a key: whoever reaches it calls past this gateway, at your cost",
                "give the proxy a master key",
            )
        return ok("upstream asks for a key")

    async def _version(self) -> Verdict:
        with suppress(TimeoutError):
            async with asyncio.timeout(VERSION_WAIT_S):
                await self._ask_version()
        if not self.versions:
            return warning(
                "upstream tells no LiteLLM version", f"{KNOWN_GOOD} is the version that was tested"
            )
        version = ", ".join(one[:NAME_CHARS_MAX] for one in sorted(self.versions))
        if version != KNOWN_GOOD:
            return warning(f"LiteLLM {version}", f"{KNOWN_GOOD} is the version that was tested")
        return ok(f"LiteLLM {version}, which was tested")

    async def _ask_version(self) -> None:
        for path in VERSIONS:
            if self.versions:
                break
            told = (await self._get(path, self.master_key)).json()
            if isinstance(told, dict):
                stated = told.get("litellm_version") or _title_version(told)
                self.versions |= {stated} if isinstance(stated, str) else set()

    async def _routing(self) -> Verdict:
        """Fallbacks let another model answer, at whatever it costs, for the price of the one that was asked for."""
        told = (await self._get(ROUTING, self.master_key)).json()
        fields = told.get("fields") if isinstance(told, dict) else None
        if not isinstance(fields, list):
            return ok("upstream does not tell its routing")
        values = {one.get("field_name"): one.get("field_value") for one in fields if isinstance(one, dict)}
        used = [name for name in FALLBACKS if values.get(name)]
        if used:
            return warning(
                f"LiteLLM has {', '.join(used)}: another model may answer, for the price of the one asked for",
                "remove them, or price the model as its dearest fallback",
            )
        return ok("no fallback to other models")


def _title_version(openapi: dict[str, Any]) -> Any:
    info = openapi.get("info")
    return info.get("version") if isinstance(info, dict) and "LiteLLM" in str(info.get("title")) else None


async def _missing(names: Collection[str], book: PriceBook, currencies: Sequence[str]) -> Verdict:
    """Models that upstream serves and nobody can buy, in each currency that somebody is billed in."""
    models = sorted(name for name in names if not GLOB & set(name))
    wild = len(names) - len(models)
    note = f"; names with a wildcard: {wild}; what is behind them needs a price of its own" if wild else ""
    gaps = []
    for currency in currencies:
        await asyncio.sleep(0)
        without = [name for name in models if book.match(name, currency) is None]
        if without:
            gaps.append(
                f"models without a price in {currency}: {len(without)} of {len(models)} ({_some(without)})"
            )
    if gaps:
        return warning(
            "; ".join(gaps) + note, "set one with `rabbitgw prices set`, or `rabbitgw prices import litellm`"
        )
    return ok(f"models with a price in {', '.join(currencies)}: all {len(models)}{note}")


async def _unserved(names: Collection[str], book: PriceBook) -> Verdict:
    """Only told: a price list is usually longer than what one proxy serves."""
    patterns = {price.pattern for price in book.prices() if price.sold}
    unserved = sorted(pattern for pattern in patterns if not GLOB & set(pattern) and pattern not in names)
    if not unserved:
        return ok("every model with a price is served")
    return ok(f"prices of models that upstream does not list: {len(unserved)} ({_some(unserved)})")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(name[:NAME_CHARS_MAX] for name in names[:NAMES_SHOWN_MAX])
    return shown if len(names) <= NAMES_SHOWN_MAX else f"{shown} and {len(names) - NAMES_SHOWN_MAX} more"
