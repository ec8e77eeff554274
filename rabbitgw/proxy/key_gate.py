"""What a key lets its holder do on the data plane. Pure: looks at a record, asks no store.

A refusal may come of a record that memory has kept too long; serve.py then looks again before it tells the caller.
"""

from __future__ import annotations

from rabbitgw.addresses import is_within
from rabbitgw.billing.key_record import KeyRecord
from rabbitgw.billing.scopes import check_scope
from rabbitgw.errors import AccessDenied, IpNotAllowed
from rabbitgw.proxy.ask import Ask


def check_entry(scope: str, ask: Ask, key: KeyRecord) -> None:
    """What is known before the body. Raises: AccessDenied."""
    check_scope(scope, key)
    if key.ip_allowlist is not None:
        check_address(None if ask.origin is None else ask.origin.address(), key)


def check_address(address: str | None, key: KeyRecord) -> None:
    """`address`: of who asks; None: it cannot be told, and is in no list. Raises: IpNotAllowed."""
    if key.ip_allowlist is not None and (address is None or not is_within(address, key.ip_allowlist)):
        raise IpNotAllowed(f"this key may not be used from {address or 'an unknown address'}")


def check_call(ask: Ask, model: str, key: KeyRecord) -> None:
    """All of it, for a key that has changed meanwhile. Raises: AccessDenied."""
    check_entry(ask.dialect.scope, ask, key)
    check_model(model, key)


def check_model(model: str, key: KeyRecord) -> None:
    """Raises: AccessDenied, saying who above the key, or the key itself, does not allow it."""
    refuser = key.refuser(model)
    if refuser is not None:
        raise AccessDenied(f"{refuser} may not call the model {model!r}", field="model")
