"""The payment plane of one process: providers, orders, events and refunds, made once and given to routes and workers.

Owns what is made of what, and the loop that works off what waits. Any number of processes may run it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from rabbitgw.billing.accounts import get_account
from rabbitgw.billing.credits import Credits
from rabbitgw.billing.loops import run_worker
from rabbitgw.billing.takes import Takes
from rabbitgw.billing.users import get_user
from rabbitgw.payments.events import Backfill, Events
from rabbitgw.payments.orders import NewOrder, Orders
from rabbitgw.payments.refunds import Refunds
from rabbitgw.payments.registry import Providers
from rabbitgw.payments.sync import Sync

if TYPE_CHECKING:
    from rabbitgw.config import Settings
    from rabbitgw.payments.contract import InitResult
    from rabbitgw.redis_link import RedisLink
    from rabbitgw.stores import Pool

PAUSE_S: Final = 0.5  # a webhook that another process took is worked off this soon
BACKFILL_PAUSE_S: Final = 600.0  # between looks whether a day is over
REFUNDS_AT_ONCE: Final = 100


class Payments:
    def __init__(
        self, pg: Pool, link: RedisLink, settings: Settings, *, providers: Providers | None = None
    ) -> None:
        """`providers`: those of a test; else all that are installed and switched on. Raises: SettingInvalid."""
        self.pg = pg
        self.providers = providers or Providers.load(settings, pg)
        self.sync = Sync(pg, Credits(pg, link))
        self.orders = Orders(pg, self.providers)
        self.refunds = Refunds(
            pg, Takes(pg, link), self.providers, self.sync, unspent_only=settings.refund_unspent_only
        )
        self.events = Events(pg, self.providers, self.sync)
        self.backfill = Backfill(pg, self.providers, self.sync)
        self.wake = asyncio.Event()

    async def create_checkout(
        self, user_id: int, provider_name: str, order_id: str, amount_cents: int, currency: str
    ) -> InitResult:
        """Buy credit for a user in any amount, for programs that use this as a library.

        Units:  amount_cents in the currency's smallest unit.
        Raises: as `Orders.checkout`; NotFound for a user that is not there.
        """
        user = await get_user(self.pg, user_id)
        account = await get_account(self.pg, user.account_id)
        new = NewOrder(provider_name, amount_cents, currency, user_id)
        return (await self.orders.checkout(account, new, order_id)).init

    async def run_once(self) -> int:
        """Work off events and refunds that are due. Returns: how many. Raises: StoreError."""
        done = await self.events.run_once()
        for _ in range(REFUNDS_AT_ONCE):
            if not await self.refunds.run_one():
                break
            done += 1
        return done

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Raises: what is no StoreError: a bug, or false books."""
        await asyncio.gather(
            run_worker("payments", self.run_once, stop, pause_s=PAUSE_S, wake=self.wake),
            run_worker("backfill", self.backfill.run_once, stop, pause_s=BACKFILL_PAUSE_S),
        )

    async def close(self) -> None:
        await self.providers.close()
