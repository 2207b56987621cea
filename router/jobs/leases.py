"""Keeps what this process holds of shared budgets honest: signs that it lives, gives back what lies idle or is wanted."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from router.domain.errors import StorageUnavailable

SIGN_S = 5.0
WANTED_S = 0.1


class Holdings(Protocol):
    """What the process holds; every method raises StorageUnavailable."""

    async def tidy(self) -> None: ...

    async def give_to_others(self) -> None: ...

    async def refresh(self) -> None: ...


class Register(Protocol):
    """The table of live processes; every method raises StorageUnavailable."""

    async def sign(self, instance: str, host: str, pid: int) -> None: ...

    async def live(self) -> Sequence[object]: ...


class Leases:
    """`others_seen` is told how many processes live, this one included, whenever it has counted them."""

    def __init__(self, holdings: Holdings, register: Register, me: tuple[str, str, int]) -> None:
        self._holdings = holdings
        self._register = register
        self._me = me
        self.others_seen: Callable[[int], None] | None = None
        self.processes = 1

    async def run(self) -> None:
        """Sign and tidy every five seconds; while others live, look ten times a second what they were refused."""
        while True:
            await self.tick()
            await _spread(SIGN_S, WANTED_S, self._answer_wants)

    async def tick(self) -> None:
        try:
            await self._register.sign(*self._me)
            self.processes = max(1, len(await self._register.live()))
            await self._holdings.tidy()
            if self.processes > 1:
                await self._holdings.refresh()
        except StorageUnavailable:
            return
        if self.others_seen is not None:
            self.others_seen(self.processes)

    async def _answer_wants(self) -> None:
        if self.processes < 2:
            return
        try:
            await self._holdings.give_to_others()
        except StorageUnavailable:
            return


async def _spread(seconds: float, step_s: float, action: Callable[[], Awaitable[None]]) -> None:
    for _ in range(round(seconds / step_s)):
        await asyncio.sleep(step_s)
        await action()
