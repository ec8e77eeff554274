"""The world of the third party's provider: found by its entry point, and its harbour in this process."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar
from urllib.parse import urlencode

import pytest

from rabbitgw.config import Settings
from rabbitgw.payments import registry
from rabbitgw.payments.conformance import Trait, Webhook, World
from rabbitgw.payments.contract import InitResult, Order, PaymentProvider
from rabbitgw.payments.registry import Providers

PACKAGE = Path(__file__).parent / "harbour_package"
URL = "harbour.example"
NO_POOL: Any = None  # it needs no database


@contextmanager
def installed(*packages: Path) -> Iterator[None]:
    """These folders beside the installed packages, as if pip had put them there, and found anew."""
    with pytest.MonkeyPatch.context() as patch:
        for package in packages:
            patch.syspath_prepend(package)
        registry.forget_installed()
        try:
            yield
        finally:
            for name, module in list(sys.modules.items()):
                if Path(getattr(module, "__file__", None) or "/").parent in packages:
                    del sys.modules[name]
    registry.forget_installed()


class HarbourWorld(World):
    """To be made while it is installed. `provider` is made by what the entry point names: nothing here imports it."""

    traits: ClassVar = frozenset({Trait.SIGNS_BODY, Trait.FAR, Trait.KEYS_END})

    def __init__(self) -> None:
        Providers.load(Settings.load(), NO_POOL, {})  # which loads the package, and finds it switched off
        self.package: ModuleType = sys.modules["harbourpay"]
        self.harbour = self.package.HARBOURS[URL] = self.package.Harbour()
        self.provider = self.another()

    def another(self) -> PaymentProvider:
        return Providers.load(Settings.load(), NO_POOL, {"HARBOUR_URL": URL}).get("harbour")

    def not_taken(self) -> Iterable[tuple[dict[str, Any], str]]:
        return [({"methods": ("card",)}, "methods"), ({"currency": "XAU"}, "currency")]

    async def pay(self, order: Order, made: InitResult) -> None:
        self.harbour.bills[made.provider_txn_id]["paid"] = True

    async def messages(self, order: Order, made: InitResult) -> list[bytes]:
        bill = self.harbour.bills[made.provider_txn_id]
        about = ["paid"] * bill["paid"] + [f"refund {key}" for key in bill["refunds"]]
        return [
            urlencode({"id": f"{bill['number']} {one}", "about": one, "bill": bill["number"]}).encode()
            for one in about
        ]

    def sign(self, message: bytes, at: datetime) -> Webhook:
        return Webhook({}, message + self.package.SIGN + self.package.signature_of(message))

    async def later(self, order: Order) -> Order:
        return order

    def requests(self) -> int:
        return int(self.harbour.asked)

    @asynccontextmanager
    async def outage(self, *, after_work: bool) -> AsyncIterator[None]:
        self.harbour.away, self.harbour.forgetful = not after_work, after_work
        yield
        self.harbour.away = self.harbour.forgetful = False
