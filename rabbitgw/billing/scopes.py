"""Scopes: what a key may be used for. Pure; knows no route, only the names that routes go by.

A key without scopes may do all that a caller may, which is not administration: that is granted by name, and only by the
holder of the admin key itself, so that no key can make another that is worth more than it was given for.
"""

from __future__ import annotations

from typing import Final

from rabbitgw.billing.key_record import KeyRecord
from rabbitgw.errors import ScopeMissing

# One for each kind of route on the data plane (proxy/dialects.py), and the lists of models.
MODELS: Final = "models"
DATA_ROUTES: Final = (
    "chat", "completions", "responses", "messages", "count_tokens", "embeddings", "images", "image_edits", "speech",
    "transcriptions", "translations", MODELS,
)  # fmt: skip
DATA: Final = "data"  # all of these
BILLING: Final = "billing"  # a caller's own side routes
ADMIN: Final = "admin"
SCOPES: Final = (*DATA_ROUTES, DATA, BILLING, ADMIN)


def check_scope(scope: str, key: KeyRecord) -> None:
    """Raises: ScopeMissing where the key is not for this."""
    scopes = key.scopes
    if scopes is None:
        if scope != ADMIN:
            return
    elif scope in scopes or (DATA in scopes and scope in DATA_ROUTES):
        return
    raise ScopeMissing(f"this key has not the scope {scope!r}")


def check_grant(scopes: list[str] | tuple[str, ...] | None, *, by_admin_key: bool) -> None:
    """Raises: ScopeMissing where who asks may not give out, or touch, a key with these scopes."""
    if scopes is not None and ADMIN in scopes and not by_admin_key:
        raise ScopeMissing(
            f"scopes: only the admin key itself makes, changes and rotates keys with the scope {ADMIN!r}",
            field="scopes",
        )
