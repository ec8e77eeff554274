"""Who is asking: the operator, by the admin key or by a key with the scope admin, or a caller by a key of theirs.

Owns the check of both kinds of credential for side routes. A key that was revoked a moment ago is refused here too:
nothing is reserved on these routes, so memory alone is not believed.
"""

from __future__ import annotations

import hmac

from aiohttp import web

from rabbitgw.billing.key_record import KeyRecord
from rabbitgw.billing.key_secret import well_formed
from rabbitgw.billing.keyring import Keyring
from rabbitgw.billing.scopes import ADMIN, BILLING, check_scope
from rabbitgw.errors import AuthError, NotFound
from rabbitgw.proxy.request_headers import Heard


async def require_admin(request: web.Request, keyring: Keyring, admin_key: str) -> KeyRecord | None:
    """The operator's key; None for the admin key itself.

    Raises: NotFound while no admin key is set, AuthError, ScopeMissing (a key that has scopes, but not this one),
    RequestInvalid (two different credentials), StoreError.
    """
    if not admin_key:
        raise NotFound("the admin routes are off: RABBITGW_ADMIN_KEY is not set")
    given = Heard(request.raw_headers).credential()
    if _is_admin(given, admin_key):
        return None
    key = await keyring.confirm(given) if well_formed(given) else None
    if key is None or key.scopes is None:
        raise AuthError("this is not the admin key")
    check_scope(ADMIN, key)
    return key


async def require_caller(request: web.Request, keyring: Keyring) -> KeyRecord:
    """Raises: AuthError, ScopeMissing, RequestInvalid (two different credentials), StoreError."""
    key = await keyring.confirm(Heard(request.raw_headers).credential())
    check_scope(BILLING, key)
    return key


async def require_either(request: web.Request, keyring: Keyring, admin_key: str) -> KeyRecord | None:
    """The caller's key; None for the operator, by whichever credential. Raises: as `require_caller`."""
    given = Heard(request.raw_headers).credential()
    if admin_key and _is_admin(given, admin_key):
        return None
    key = await keyring.confirm(given)
    if admin_key and key.scopes is not None and ADMIN in key.scopes:
        return None
    check_scope(BILLING, key)
    return key


def _is_admin(given: str, admin_key: str) -> bool:
    # Equal times for equal lengths; the length of the admin key is no secret worth hiding.
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), admin_key.encode())
