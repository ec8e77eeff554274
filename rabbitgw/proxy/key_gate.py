"""What a key lets its holder do on the data plane. Pure: looks at a record, asks no store.

A refusal may come of a record that memory has kept too long; serve.py then looks again before it tells the caller.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from rabbitgw.billing.key_record import KeyRecord
from rabbitgw.billing.scopes import check_scope
from rabbitgw.errors import AccessDenied
from rabbitgw.proxy.ask import Ask


def check_entry(scope: str, ask: Ask, key: KeyRecord) -> None:
    """What is known before the body. Raises: AccessDenied."""
    check_scope(scope, key)


def check_call(ask: Ask, model: str, key: KeyRecord) -> None:
    """All of it, for a key that has changed meanwhile. Raises: AccessDenied."""
    check_entry(ask.dialect.scope, ask, key)
    check_model(model, key)


def check_model(model: str, key: KeyRecord) -> None:
    """Raises: AccessDenied."""
    if not is_allowed(key, model):
        raise AccessDenied(f"this key may not call the model {model!r}", field="model")


def is_allowed(key: KeyRecord, model: str) -> bool:
    """What is denied is so whatever is allowed."""
    if key.models_denied is not None and any(fnmatchcase(model, one) for one in key.models_denied):
        return False
    return key.models is None or any(fnmatchcase(model, one) for one in key.models)
