"""Finds the payment providers that are installed and switched on.

Owns the entry points. A package adds a provider by being installed, with a line like
`mybank = mybank.rabbitgw:make` under `rabbitgw.payment_providers`. One that cannot be loaded stops the start: a
shop that silently lacks a till is worse than one that does not open.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from rabbitgw.errors import NotFound, PaymentsOff, RabbitError, SettingInvalid
from rabbitgw.payments.contract import ENTRY_POINTS, PaymentProvider, ProviderContext

if TYPE_CHECKING:
    from rabbitgw.config import Settings
    from rabbitgw.stores import Pool

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


class Providers:
    """Those of one process, by name. Close it in the end."""

    def __init__(self, providers: Mapping[str, PaymentProvider], installed: Iterable[str] = ()) -> None:
        self._providers = dict(providers)
        self._installed = frozenset(installed) | frozenset(self._providers)

    @classmethod
    def load(cls, settings: Settings, pg: Pool, environ: Mapping[str, str] | None = None) -> Providers:
        """Make every provider that is installed and switched on.

        Raises: SettingInvalid when one cannot be loaded, or two have one name.
        """
        context = ProviderContext(settings, pg, dict(os.environ) if environ is None else environ)
        found: dict[str, PaymentProvider] = {}
        installed: set[str] = set()
        for entry in _installed():
            if entry.name in installed:
                raise SettingInvalid(
                    f"payment provider {entry.name}: two installed packages have one of this name"
                )
            installed.add(entry.name)
            provider = _made(entry, context)
            if provider is not None:
                found[entry.name] = provider
        return cls(found, installed)

    def __iter__(self) -> Iterator[PaymentProvider]:
        return iter(self._providers.values())

    @property
    def names(self) -> list[str]:
        return list(self._providers)

    def get(self, name: str) -> PaymentProvider:
        """Raises: NotFound (not installed), PaymentsOff (not switched on)."""
        provider = self._providers.get(name)
        if provider is not None:
            return provider
        if name in self._installed:
            raise PaymentsOff(f"the payment provider {name} is not set up; docs/PAYMENTS.md says how")
        shown = name if _NAME.fullmatch(name) else "of this name"
        raise NotFound(f"there is no payment provider {shown}", field="provider")

    async def close(self) -> None:
        for provider in self._providers.values():
            await provider.close()


@lru_cache(maxsize=1)
def _installed() -> tuple[EntryPoint, ...]:
    """Looked for once a process: it reads the metadata of every package."""
    return tuple(sorted(entry_points(group=ENTRY_POINTS), key=lambda one: one.name))


def forget_installed() -> None:
    """Look for installed packages again the next time: a process that installs one wants that."""
    _installed.cache_clear()


def _made(entry: EntryPoint, context: ProviderContext) -> PaymentProvider | None:
    try:
        provider = entry.load()(context)
    except RabbitError:
        raise
    except Exception as error:  # whatever a foreign package does when it is loaded
        said = " ".join(f"{type(error).__name__}: {error}".split())  # one line, whatever it says
        raise SettingInvalid(
            f"payment provider {entry.name} ({entry.value}) cannot be loaded: {said}"
        ) from error
    if provider is None:
        return None
    if (
        not isinstance(provider, PaymentProvider)
        or provider.name != entry.name
        or not _NAME.fullmatch(entry.name)
    ):
        raise SettingInvalid(f"payment provider {entry.name} ({entry.value}) does not fulfil the contract")
    return provider
