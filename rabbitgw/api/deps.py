"""What side routes are given by the composition root."""

from __future__ import annotations

from dataclasses import dataclass, field

from rabbitgw.billing.keyring import Keyring
from rabbitgw.config import Settings
from rabbitgw.payments.till import Payments
from rabbitgw.redis_link import RedisLink
from rabbitgw.scrape import Scrape
from rabbitgw.scripts import Scripts
from rabbitgw.stores import Pool


@dataclass(frozen=True, slots=True)
class SideDeps:
    pg: Pool
    link: RedisLink
    scripts: Scripts
    keyring: Keyring
    settings: Settings
    payments: Payments
    scrape: Scrape = field(default_factory=Scrape)
