"""Who is asking: the operator, by the admin key or by a key with the scope admin, or a caller by a key of theirs.

Owns the check of both kinds of credential for side routes. DEV_API_KEY, where it is set, is the operator's on routes
that are not the operator's alone. A key that was revoked a moment ago is refused here too:
nothing is reserved on these routes, so memory alone is not believed.
"""

from __future__ import annotations

import hmac

from aiohttp import web

from rabbitgw.addresses import address_behind, networks_listed
from rabbitgw.api.deps import SideDeps
from rabbitgw.billing.key_record import KeyRecord
from rabbitgw.billing.key_secret import well_formed
from rabbitgw.billing.scopes import ADMIN, BILLING, check_scope
from rabbitgw.errors import AuthError, NotFound
from rabbitgw.proxy.front_inner import PEER
from rabbitgw.proxy.key_gate import check_address
from rabbitgw.proxy.origin import peer_of
from rabbitgw.proxy.request_headers import Heard


async def require_admin(request: web.Request, deps: SideDeps) -> KeyRecord | None:
    """The operator's key; None for the admin key itself.

    Raises: NotFound while no admin key is set, AuthError, AccessDenied (a key that has scopes, but not this one, or is
    not for this address), RequestInvalid (two different credentials), StoreError.
    """
    admin_key = deps.settings.admin_key.get_secret_value()
    if not admin_key:
        raise NotFound("the admin routes are off: RABBITGW_ADMIN_KEY is not set")
    heard = Heard(request.raw_headers)
    given = heard.credential()
    if _is(given, admin_key):
        return None
    key = await _confirmed(request, heard, deps, given) if well_formed(given) else None
    if key is None or key.scopes is None:
        raise AuthError("this is not the admin key")
    check_scope(ADMIN, key)
    return key


async def require_caller(request: web.Request, deps: SideDeps) -> KeyRecord:
    """Raises: AuthError, AccessDenied, RequestInvalid (two different credentials), StoreError."""
    heard = Heard(request.raw_headers)
    key = await _confirmed(request, heard, deps, heard.credential())
    check_scope(BILLING, key)
    return key


async def require_either(request: web.Request, deps: SideDeps) -> KeyRecord | None:
    """The caller's key; None for the operator, by whichever credential. Raises: as `require_caller`."""
    heard = Heard(request.raw_headers)
    given = heard.credential()
    admin_key = deps.settings.admin_key.get_secret_value()
    if any(
        secret and _is(given, secret) for secret in (admin_key, deps.settings.dev_api_key.get_secret_value())
    ):
        return None
    key = await _confirmed(request, heard, deps, given)
    if admin_key and key.scopes is not None and ADMIN in key.scopes:
        return None
    check_scope(BILLING, key)
    return key


async def require_cashier(request: web.Request, deps: SideDeps) -> KeyRecord | None:
    """The operator, or who develops with DEV_API_KEY. Raises: as `require_admin`."""
    dev_key = deps.settings.dev_api_key.get_secret_value()
    if dev_key and _is(Heard(request.raw_headers).credential(), dev_key):
        return None
    return await require_admin(request, deps)


async def _confirmed(request: web.Request, heard: Heard, deps: SideDeps, secret: str) -> KeyRecord:
    """The record of a good key that may be used from where it is."""
    key = await deps.keyring.confirm(secret)
    if key.ip_allowlist is not None:
        # behind the front no connection is over IP: then the front says whose request this is
        peer = peer_of(request.transport) or request.headers.get(PEER.decode())
        proxies = networks_listed(deps.settings.trusted_proxies)
        check_address(peer and address_behind(peer, heard.forwarded_for, proxies), key)
    return key


def _is(given: str, secret: str) -> bool:
    # Equal times for equal lengths; the length of a secret is no secret worth hiding.
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret.encode())
