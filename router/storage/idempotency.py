"""The table of idempotency keys: one row a key, taken by the first who inserts it, free again when its process is gone."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from router.domain.idempotency import KEPT_FOR_US, Claim, Earlier, KeptAnswer
from router.domain.ports import Clock
from router.storage.database import Database, Row
from router.storage.instances import LIVE_FOR_US

SWEEP_ROWS = 500
CLAIM_TRIES = 5

# A process that left, was adopted, or has not signed for long, answers nothing any more.
_CLAIM = """
    INSERT INTO idempotency_keys (name, fingerprint, claim, instance, state, expires_at) VALUES ($1, $2, $3, $4, 'open', $6)
    ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint, claim = excluded.claim,
        instance = excluded.instance, state = 'open', answer = NULL, expires_at = excluded.expires_at
    WHERE idempotency_keys.expires_at <= $5
       OR (idempotency_keys.state = 'open' AND idempotency_keys.instance <> $4 AND NOT EXISTS (
            SELECT 1 FROM instances WHERE instances.id = idempotency_keys.instance AND instances.seen_at >= $7))"""
_FIND = "SELECT name, fingerprint, claim, state, answer FROM idempotency_keys WHERE name = $1"
_KEEP = """
    UPDATE idempotency_keys SET state = $3, answer = $4, expires_at = $5
    WHERE name = $1 AND claim = $2 AND state = 'open'"""
_FREE = "DELETE FROM idempotency_keys WHERE name = $1 AND claim = $2 AND state = 'open'"
_EXPIRED = """
    DELETE FROM idempotency_keys WHERE name IN (
        SELECT name FROM idempotency_keys WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2) AND expires_at <= $1"""
_DEAD = """
    DELETE FROM idempotency_keys WHERE state = 'open' AND instance <> $1 AND NOT EXISTS (
        SELECT 1 FROM instances WHERE instances.id = idempotency_keys.instance AND instances.seen_at >= $2)"""

_ANSWER = msgspec.msgpack.Decoder(KeptAnswer)


class Cipher(Protocol):
    def seal(self, plain: bytes, name: str, context: bytes) -> bytes: ...

    def open(self, sealed: bytes, name: str, context: bytes) -> bytes:
        """Raises ValueError."""
        ...


class IdempotencyRows:
    """Implements domain.ports.IdempotencyStore for the process `instance`. `cipher` is asked for when it is needed first."""

    def __init__(self, db: Database, instance: str, clock: Clock, cipher: Callable[[], Awaitable[Cipher]]) -> None:
        self._db = db
        self._instance = instance
        self._clock = clock
        self._cipher = cipher

    async def claim(self, claim: Claim) -> Earlier | None:
        row = None
        for _ in range(CLAIM_TRIES):
            now = self._clock.now_us()
            mine = claim.name, claim.fingerprint, claim.id, self._instance
            if await self._db.run(_CLAIM, *mine, now, now + KEPT_FOR_US, now - LIVE_FOR_US):
                return None
            # Gone, if whoever had it has freed it since.
            if (row := await self._db.one(_FIND, claim.name)) is not None:
                return await self._earlier(row)
        return Earlier(claim.fingerprint, is_finished=False)

    async def keep(self, claim: Claim, answer: KeptAnswer | None) -> None:
        sealed = None
        if answer is not None:
            cipher = await self._cipher()
            sealed = cipher.seal(msgspec.msgpack.encode(answer), claim.name, _context(claim.fingerprint, claim.id))
        state = "spent" if sealed is None else "kept"
        await self._db.run(_KEEP, claim.name, claim.id, state, sealed, self._clock.now_us() + KEPT_FOR_US)

    async def free(self, claim: Claim) -> None:
        await self._db.run(_FREE, claim.name, claim.id)

    async def sweep(self) -> int:
        now = self._clock.now_us()
        dead = await self._db.run(_DEAD, self._instance, now - LIVE_FOR_US)
        return dead + await self._db.run(_EXPIRED, now, SWEEP_ROWS)

    async def _earlier(self, row: Row) -> Earlier:
        fingerprint: str = row["fingerprint"]
        if row["answer"] is None:
            return Earlier(fingerprint, is_finished=row["state"] != "open")
        cipher = await self._cipher()
        try:
            plain = cipher.open(bytes(row["answer"]), row["name"], _context(fingerprint, row["claim"]))
            return Earlier(fingerprint, is_finished=True, answer=_ANSWER.decode(plain))
        except ValueError:
            # Altered, or of a release that kept it otherwise: it was answered all the same, and is not done again.
            return Earlier(fingerprint, is_finished=True)


def _context(fingerprint: str, claim: str) -> bytes:
    """What an answer is bound to besides its name, which stands for tenant, API key, route and the caller's key."""
    return f"{fingerprint} {claim}".encode()
