"""/v1/admin/keys/{id}: one key, read and changed. Thin: billing decides and checks.

What changes a key is pushed to Redis before the answer, as in admin.py.
"""

from __future__ import annotations

from rabbitgw import telemetry
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import KeyChange, Nothing
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.api.views import ChangedKey, KeyView
from rabbitgw.billing.key_changes import change_key
from rabbitgw.billing.key_push import push_key
from rabbitgw.billing.keys import get_key
from rabbitgw.errors import Conflict, NotFound, PreconditionFailed


class KeyChangeRoutes:
    """Handlers of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._deps = deps
        self._pg = deps.pg

    def routes(self) -> list[AnyRoute]:
        one = r"/v1/admin/keys/{id:\d+}"
        return [
            Route("GET", one, self.get_key, "One key", Auth.ADMIN, KeyView, refusals=(NotFound,)),
            Route(
                "POST",
                one,
                self.change_key,
                "Change a key, from the next request on; with If-Match only upon that version",
                Auth.ADMIN,
                ChangedKey,
                form=KeyChange,
                refusals=(NotFound, Conflict, PreconditionFailed),
            ),
        ]

    async def get_key(self, asked: Asked[Nothing, Nothing]) -> KeyView:
        return KeyView.of(await get_key(self._pg, asked.id))

    async def change_key(self, asked: Asked[KeyChange, Nothing]) -> ChangedKey:
        changes = asked.form.model_dump(exclude_unset=True)
        key = await change_key(
            self._pg, asked.id, changes, generation=asked.if_match, by_admin_key=asked.by_admin_key
        )
        telemetry.log("key_changed", account_id=key.account_id, key_id=key.id, fields=list(changes))
        pushed = await push_key(self._pg, self._deps.scripts, key.id)
        return ChangedKey.of_key(key, in_effect=pushed)
