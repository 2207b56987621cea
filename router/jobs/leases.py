"""Keeps what this process holds of shared budgets honest: signs that it lives, renews, gives back what is idle or wanted."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from router.domain.errors import StorageUnavailable

SIGN_S = 5.0
WANTED_S = 0.1
WANTED_WHILE_TOLD_S = 1.0
BREATH_S = 0.02
"""Between two answers: while budgets run out on a busy process, one question to the database serves many requests."""


class Holdings(Protocol):
    """What the process holds; every method but `holds` raises StorageUnavailable."""

    async def tidy(self) -> None: ...

    async def give_to_others(self) -> None: ...

    async def renew(self) -> None: ...

    async def refresh(self, *, is_alone: bool) -> None: ...

    def holds(self, budget: str, period: str) -> bool: ...


class Register(Protocol):
    """The table of live processes; every method raises StorageUnavailable."""

    async def sign(self, instance: str, host: str, pid: int) -> None: ...

    async def live(self) -> Sequence[object]: ...


class Leases:
    """`others_seen` is told how many processes live, this one included, whenever it has counted them.

    `is_told`: whether others call `wanted` here when they are refused. Then the database is asked seldom.
    """

    def __init__(self, holdings: Holdings, register: Register, me: tuple[str, str, int]) -> None:
        self._holdings = holdings
        self._register = register
        self._me = me
        self._asked = asyncio.Event()
        self.others_seen: Callable[[int], None] | None = None
        self.is_told: Callable[[], bool] = _never
        self.processes = 1

    async def run(self) -> None:
        """Sign and tidy every five seconds; give back at once what others ask for, and while they live, look for it."""
        while True:
            await self.tick()
            await self._answer_for(SIGN_S)

    async def tick(self) -> None:
        try:
            await self._register.sign(*self._me)
            self.processes = max(1, len(await self._register.live()))
            await self._holdings.tidy()
            await self._holdings.renew()
            await self._holdings.refresh(is_alone=self.processes < 2)
        except StorageUnavailable:
            return
        if self.others_seen is not None:
            self.others_seen(self.processes)

    def wanted(self, budget: str, period: str) -> None:
        """Another process was refused, and asks for what can be spared. Returns at once."""
        if self._holdings.holds(budget, period):
            self._asked.set()

    async def _answer_for(self, seconds: float) -> None:
        time = asyncio.get_running_loop().time
        end = time() + seconds
        while (left := end - time()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, self._pause(left))):
                    await self._asked.wait()
            if self._asked.is_set() or self.processes > 1:
                self._asked.clear()
                await self._give()
            await asyncio.sleep(BREATH_S)

    def _pause(self, longest: float) -> float:
        if self.processes < 2:
            return longest
        return WANTED_WHILE_TOLD_S if self.is_told() else WANTED_S

    async def _give(self) -> None:
        with suppress(StorageUnavailable):
            await self._holdings.give_to_others()


def _never() -> bool:
    return False
