"""The processes of one test: each signs itself into the shared database by a clock that all of them have."""

from dataclasses import dataclass
from typing import Self

from router.storage.database import Database
from router.storage.instances import Instances
from router.storage.sealing import AesGcm
from tests.stores import NOW


@dataclass
class StillClock:
    """Implements domain.ports.Clock; stands where it is put."""

    now: int = NOW

    def now_us(self) -> int:
        return self.now

    def monotonic(self) -> float:
        return self.now / 1e6


class SigningProcess:
    """One process, and the key that it seals with."""

    def __init__(self, db: Database, instance: str, clock: StillClock, key: bytes = b"k" * 32) -> None:
        self.instance = instance
        self._instances = Instances(db, clock)
        self._cipher = AesGcm(key)

    async def cipher(self) -> AesGcm:
        return self._cipher

    async def lives(self) -> Self:
        await self._instances.sign(self.instance, "host", 1)
        return self

    async def leaves(self) -> None:
        await self._instances.leave(self.instance)
