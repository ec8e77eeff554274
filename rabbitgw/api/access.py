"""Who is asking: the operator by the admin key, or a caller by a key of theirs.

Owns the check of both kinds of credential for side routes. A key that was revoked a moment ago is refused here too:
nothing is reserved on these routes, so memory alone is not believed.
"""

from __future__ import annotations

import hmac

from aiohttp import web

from rabbitgw.billing.key_record import KeyRecord
from rabbitgw.billing.keyring import Keyring
from rabbitgw.errors import AuthError, NotFound
from rabbitgw.proxy.request_headers import Heard


def require_admin(request: web.Request, admin_key: str) -> None:
    """Raises: NotFound while no admin key is set, AuthError, RequestInvalid (two different credentials)."""
    if not admin_key:
        raise NotFound("the admin routes are off: RABBITGW_ADMIN_KEY is not set")
    if not _is_admin(Heard(request.raw_headers).credential(), admin_key):
        raise AuthError("this is not the admin key")


async def require_caller(request: web.Request, keyring: Keyring) -> KeyRecord:
    """Raises: AuthError, RequestInvalid (two different credentials), StoreError."""
    return await keyring.confirm(Heard(request.raw_headers).credential())


async def require_either(request: web.Request, keyring: Keyring, admin_key: str) -> KeyRecord | None:
    """The caller's key; None for the operator. Raises: AuthError, RequestInvalid (two credentials), StoreError."""
    given = Heard(request.raw_headers).credential()
    if admin_key and _is_admin(given, admin_key):
        return None
    return await keyring.confirm(given)


def _is_admin(given: str, admin_key: str) -> bool:
    # Equal times for equal lengths; the length of the admin key is no secret worth hiding.
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), admin_key.encode())
