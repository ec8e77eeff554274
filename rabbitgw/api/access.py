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
from rabbitgw.proxy.front import credential


def require_admin(request: web.Request, admin_key: str) -> None:
    """Raises: NotFound while no admin key is set, AuthError, RequestInvalid (two different credentials)."""
    if not admin_key:
        raise NotFound("the admin routes are off: RABBITGW_ADMIN_KEY is not set")
    given = credential(request).encode("utf-8", "surrogateescape")
    # Equal times for equal lengths; the length of the admin key is no secret worth hiding.
    if not hmac.compare_digest(given, admin_key.encode()):
        raise AuthError("this is not the admin key")


async def require_caller(request: web.Request, keyring: Keyring) -> KeyRecord:
    """Raises: AuthError, RequestInvalid (two different credentials), StoreError."""
    return await keyring.confirm(credential(request))
