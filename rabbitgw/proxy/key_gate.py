"""What a key lets its holder do on the data plane. Pure: looks at a record, asks no store.

A refusal may come of a record that memory has kept too long; serve.py then looks again before it tells the caller.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from rabbitgw.billing.key_record import KeyRecord
from rabbitgw.errors import AccessDenied


def check_model(model: str, key: KeyRecord) -> None:
    """Raises: AccessDenied."""
    if not is_allowed(key, model):
        raise AccessDenied(f"this key may not call the model {model!r}", field="model")


def is_allowed(key: KeyRecord, model: str) -> bool:
    """What is denied is so whatever is allowed."""
    if key.models_denied is not None and any(fnmatchcase(model, one) for one in key.models_denied):
        return False
    return key.models is None or any(fnmatchcase(model, one) for one in key.models)
