"""Every Redis key name, made here and nowhere else.

All keys of one account carry the hash tag of its partition, so that one script's keys share a cluster slot.
The epoch is part of every name but that of the epoch itself: raising it leaves all earlier state unreachable.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from functools import lru_cache

SLOTS = 16384
PARTITIONS_DEFAULT = 64
FIELD_SEPARATOR = "\x1f"  # between the parts of a packed hold


def slot_of(tag: str) -> int:
    """The cluster slot of a hash tag (CRC-16/XMODEM, as Redis Cluster defines it)."""
    return crc_hqx(tag.encode(), 0) % SLOTS


@lru_cache(maxsize=16)
def partition_tags(partitions: int) -> tuple[str, ...]:
    """One hash tag per partition, each in its own equal slice of the slots, so that any split of the slots
    among nodes spreads the partitions evenly."""
    tags = []
    for index in range(partitions):
        suffix = 0
        while slot_of(f"p{index}.{suffix}") * partitions // SLOTS != index:
            suffix += 1
        tags.append(f"p{index}.{suffix}")
    return tuple(tags)


class PartitionKeys:
    """The key names of one partition in one epoch."""

    __slots__ = ("_prefix", "epoch_key", "events", "holds", "leases")

    def __init__(self, tag: str, epoch: int) -> None:
        self._prefix = f"rg:{{{tag}}}:e{epoch}:"
        self.epoch_key = f"rg:{{{tag}}}:epoch"
        self.holds = self._prefix + "holds"
        self.events = self._prefix + "events"
        self.leases = self._prefix + "leases"

    def account(self, account_id: int) -> str:
        return f"{self._prefix}a:{account_id}"

    def mark(self, hold_id: str) -> str:
        return f"{self._prefix}m:{hold_id}"


class KeyNames:
    """All names of a deployment in one epoch. `partitions` was fixed at the first migration."""

    __slots__ = ("epoch", "partition", "partitions")

    def __init__(self, partitions: int, epoch: int) -> None:
        self.epoch = epoch
        self.partitions = partitions
        self.partition = tuple(PartitionKeys(tag, epoch) for tag in partition_tags(partitions))

    def key_record(self, secret_sha256_hex: str) -> str:
        """A compiled key record lives in a slot of its own: it is looked up before the account is known."""
        return f"rg:{{k:{secret_sha256_hex}}}:e{self.epoch}"


ALL_KEYS = "rg:*"  # the pattern of everything above
_EPOCH = re.compile(r"rg:\{[^}]*\}:e(\d+)(?::|$)")


def epoch_of(key: str) -> int | None:
    """The epoch that a key belongs to; None for an epoch key, and for a key that is not ours."""
    match = _EPOCH.match(key)
    return int(match[1]) if match else None
