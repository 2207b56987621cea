"""Idempotency keys of one daemon: the rule, on the table, with a cipher that is loaded when the first answer is kept."""

import asyncio

from router.config.secrets import Purpose, derive
from router.domain.ports import Clock
from router.gateway.idempotency import Idempotency
from router.storage.database import Database
from router.storage.idempotency import Cipher, IdempotencyRows


def idempotency_of(database: Database, instance: str, clock: Clock, secret: bytes) -> Idempotency:
    """`instance` is this process as the table of instances has it, `secret` the server's."""
    key = derive(secret, Purpose.IDEMPOTENCY)
    rows = IdempotencyRows(database, instance, clock, LazyCipher(derive(key, "answers")).get)
    return Idempotency(rows, derive(key, "names"))


class LazyCipher:
    """The library of ciphers costs a tenth of a second and some megabytes: a daemon without such keys never loads it."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher: Cipher | None = None

    async def get(self) -> Cipher:
        if self._cipher is None:
            self._cipher = await asyncio.to_thread(self._load)
        return self._cipher

    def _load(self) -> Cipher:
        from router.storage.sealing import AesGcm

        return AesGcm(self._key)
