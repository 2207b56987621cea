"""Keeps the table of idempotency keys small and true: endings that could not be written, rows whose time has passed."""

import asyncio
from contextlib import suppress
from typing import Protocol

from router.domain.errors import StorageUnavailable

PAY_S = 5.0
SWEEP_EVERY = 12


class Keys(Protocol):
    async def pay(self) -> None:
        """Write what is owed. Never raises."""
        ...

    async def sweep(self) -> None:
        """Raises StorageUnavailable."""
        ...


class KeySweep:
    """What is owed every five seconds, the table every minute."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._ticks = 0

    async def run(self) -> None:
        while True:
            await asyncio.sleep(PAY_S)
            await self.tick()

    async def tick(self) -> None:
        await self._keys.pay()
        self._ticks += 1
        if self._ticks % SWEEP_EVERY == 0:
            with suppress(StorageUnavailable):
                await self._keys.sweep()
