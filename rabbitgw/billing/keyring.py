"""Answers "whose key is this?" for every request: memory, then Redis, then PostgreSQL.

Owns the cache of key records and the verdict on a credential (unknown, revoked, expired, of a disabled user).
Knows no HTTP.
A record in memory may be stale, and that is safe: the reserve script compares generations and answers STALE.
A route that makes no reservation has nobody to tell it so; it asks `confirm`.
Ill-formed keys reach no store, and each well-formed unknown one reaches them once.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from typing import NoReturn

from rabbitgw import statements
from rabbitgw.billing.key_record import KeyRecord, record_json, record_of_redis, record_of_row
from rabbitgw.billing.key_secret import secret_sha256, well_formed
from rabbitgw.billing.single_flight import SingleFlight
from rabbitgw.billing.windows import WindowRule
from rabbitgw.clock import now_ms
from rabbitgw.errors import AuthError, PostgresUnavailable, RedisUnavailable
from rabbitgw.redis_link import RedisLink
from rabbitgw.scripts import Scripts
from rabbitgw.stores import Pool, connection

__all__ = ["KeyRecord", "Keyring", "WindowRule"]

RECORDS_MAX = 50_000  # about 1 kB each
UNKNOWN_MAX = 10_000  # secrets are random, so one that is unknown now never becomes known


class Keyring:
    """One per process. Records are kept by the hash of a secret, and so go to Redis.

    A secret that was just good is remembered with its hash, which takes a microsecond and more to make. That says
    nothing of the key, whose record is looked at each time. Secrets are in memory anyway, in what connections read.
    """

    def __init__(
        self, pg: Pool, scripts: Scripts, link: RedisLink, *, records_max: int = RECORDS_MAX
    ) -> None:
        self._pg = pg
        self._scripts = scripts
        self._link = link
        self._records_max = records_max
        self._crowded = records_max // 2  # with fewer records their order is nothing yet: none will go soon
        self._records: OrderedDict[bytes, KeyRecord] = OrderedDict()
        self._digests: dict[str, bytes] = {}
        self._unknown: OrderedDict[bytes, None] = OrderedDict()
        self._flights: SingleFlight[tuple[str, bytes], KeyRecord | None] = SingleFlight()

    def cached(self, secret: str) -> KeyRecord | None:
        """The record if it is in memory and the key is good as far as memory knows; asks nobody."""
        known = self._digests.get(secret)
        digest = known or secret_sha256(secret)
        records = self._records
        record = records.get(digest)
        if record is None or record.revoked or record.user_disabled:
            return None
        if record.expires_at_ms is not None and record.expired(now_ms()):
            return None
        if len(records) > self._crowded:
            records.move_to_end(digest)
        if known is None:
            if len(self._digests) >= self._records_max:
                self._digests.clear()
            self._digests[secret] = digest
        return record

    async def find(self, secret: str) -> KeyRecord:
        """The record of a good key, from wherever it is found first.

        Raises: AuthError; PostgresUnavailable when neither memory nor Redis has it.
        """
        digest = self._known_form(secret)
        record = self._records.get(digest)
        # a revoked key stays so; a disabled user may have been enabled, an expiry moved, and no reserve would be
        # there to say STALE
        if record is None or record.user_disabled or record.expired(now_ms()):
            record = await self._flights.run(("find", digest), lambda: self._fetch(digest))
        return _good(record)

    async def refresh(self, secret: str) -> KeyRecord:
        """The record as PostgreSQL has it now; as Redis has it when PostgreSQL is away. For after STALE.

        Redis is told what was read, so that a key whose making never reached it begins to work.
        Raises: AuthError; PostgresUnavailable when Redis does not have it either.
        """
        digest = self._known_form(secret)
        return _good(await self._flights.run_anew(("refresh", digest), lambda: self._read_anew(digest)))

    async def confirm(self, secret: str) -> KeyRecord:
        """The record as Redis has it now, else as PostgreSQL has it: for routes that make no reservation.

        Raises: AuthError; PostgresUnavailable when neither store answers.
        """
        digest = self._known_form(secret)
        return _good(await self._flights.run_anew(("find", digest), lambda: self._fetch(digest)))

    def _known_form(self, secret: str) -> bytes:
        if not well_formed(secret):
            _refuse()
        digest = secret_sha256(secret)
        if digest in self._unknown:
            _refuse()
        return digest

    async def _fetch(self, digest: bytes) -> KeyRecord | None:
        with suppress(RedisUnavailable):
            record = await self._in_redis(digest)
            if record is not None:
                return self._keep(digest, record)
        record = await self._in_postgres(digest)
        if record is not None:
            with suppress(RedisUnavailable):
                await self._put_record(digest, record)
        return self._keep(digest, record)

    async def _read_anew(self, digest: bytes) -> KeyRecord | None:
        try:
            record = await self._in_postgres(digest)
        except PostgresUnavailable:
            with suppress(RedisUnavailable):
                record = await self._in_redis(digest)
                if record is not None:
                    return self._keep(digest, record)
            raise
        if record is not None:
            with suppress(RedisUnavailable):
                await self._scripts.key_put(
                    record.partition, record.account_id, key_id=record.key_id, generation=record.generation
                )
                await self._put_record(digest, record)
        return self._keep(digest, record)

    async def _in_redis(self, digest: bytes) -> KeyRecord | None:
        stored = await self._link.call("GET", self._scripts.names.key_record(digest.hex()))
        return None if stored is None else record_of_redis(stored)

    async def _in_postgres(self, digest: bytes) -> KeyRecord | None:
        async with connection(self._pg) as db:
            row = await db.fetchrow(statements.keys.find, digest)
        return None if row is None else record_of_row(row)

    async def _put_record(self, digest: bytes, record: KeyRecord) -> None:
        await self._scripts.key_record_put(
            digest.hex(), generation=record.generation, record=record_json(record)
        )

    def _keep(self, digest: bytes, record: KeyRecord | None) -> KeyRecord | None:
        """Into memory, unless what is there is newer: two reads may end in the other order."""
        if record is None:
            self._records.pop(digest, None)
            self._unknown[digest] = None
            if len(self._unknown) > UNKNOWN_MAX:
                self._unknown.popitem(last=False)
            return None
        known = self._records.get(digest)
        if known is not None and known.generation > record.generation:
            record = known
        self._records[digest] = record
        self._records.move_to_end(digest)
        if len(self._records) > self._records_max:
            self._records.popitem(last=False)
        return record


def _good(record: KeyRecord | None) -> KeyRecord:
    if record is None:
        _refuse()
    if record.revoked:
        raise AuthError("this API key has been revoked")
    if record.expired(now_ms()):
        raise AuthError("this API key has expired")
    if record.user_disabled:
        raise AuthError("the user of this API key is disabled")
    return record


def _refuse() -> NoReturn:
    raise AuthError("this API key is not valid")
