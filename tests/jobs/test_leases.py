"""What others ask for is given back at once when they say so, and soon when nobody tells."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from router.domain.errors import StorageUnavailable
from router.jobs.leases import WANTED_S, WANTED_WHILE_TOLD_S, Leases


class Process:
    """Implements Holdings and Register for one process among `living`, and counts what it is asked to do."""

    def __init__(self, living: int) -> None:
        self.living = living
        self.given: list[float] = []
        self.signed = 0
        self.is_down = False
        self.gives = asyncio.Event()

    async def tidy(self) -> None: ...

    async def renew(self) -> None: ...

    async def refresh(self, *, is_alone: bool) -> None: ...

    async def give_to_others(self) -> None:
        self.given.append(time.monotonic())
        self.gives.set()
        if self.is_down:
            raise StorageUnavailable("down")

    def holds(self, budget: str, period: str) -> bool:
        return (budget, period) == ("tenant:t", "month")

    async def sign(self, instance: str, host: str, pid: int) -> None:
        self.signed += 1
        if self.is_down:
            raise StorageUnavailable("down")

    async def live(self) -> Sequence[object]:
        return [object()] * self.living

    async def until_given(self) -> None:
        self.gives.clear()
        async with asyncio.timeout(10):
            await self.gives.wait()


@asynccontextmanager
async def running(process: Process, *, is_told: bool) -> AsyncIterator[Leases]:
    leases = Leases(process, process, ("me", "host", 1))
    leases.is_told = lambda: is_told
    await leases.tick()
    loop = asyncio.create_task(leases.run())
    await asyncio.sleep(0)
    try:
        yield leases
        assert not loop.done(), loop
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


async def test_a_process_among_others_looks_ten_times_a_second_when_nobody_tells_it() -> None:
    process = Process(living=2)
    async with running(process, is_told=False):
        for _ in range(4):
            await process.until_given()
    gaps = [after - before for before, after in zip(process.given, process.given[1:], strict=False)]
    assert WANTED_S * 0.9 < sum(gaps) / len(gaps) < WANTED_WHILE_TOLD_S / 2


async def test_it_looks_seldom_while_it_is_told() -> None:
    process = Process(living=2)
    async with running(process, is_told=True):
        began = time.monotonic()
        await process.until_given()
        assert time.monotonic() - began > WANTED_WHILE_TOLD_S * 0.9


@pytest.mark.parametrize("living", [1, 2])
async def test_what_another_asks_for_is_given_at_once(living: int) -> None:
    """Also by one that has not counted the other yet."""
    process = Process(living)
    async with running(process, is_told=True) as leases:
        began = time.monotonic()
        leases.wanted("tenant:t", "month")
        await process.until_given()
        assert time.monotonic() - began < WANTED_WHILE_TOLD_S / 2


async def test_many_who_ask_at_once_are_answered_once() -> None:
    process = Process(living=2)
    async with running(process, is_told=True) as leases:
        for _ in range(100):
            leases.wanted("tenant:t", "month")
        await process.until_given()
        leases.wanted("tenant:t", "month")
        await process.until_given()
    assert len(process.given) == 2


async def test_who_holds_nothing_of_it_does_not_ask_the_database() -> None:
    process = Process(living=2)
    async with running(process, is_told=True) as leases:
        leases.wanted("tenant:other", "month")
        leases.wanted("tenant:t", "last month")
        began = time.monotonic()
        await process.until_given()
        assert time.monotonic() - began > WANTED_WHILE_TOLD_S / 2


async def test_alone_it_never_looks() -> None:
    process = Process(living=1)
    async with running(process, is_told=False):
        await asyncio.sleep(3 * WANTED_S)
    assert process.given == []


async def test_a_database_that_is_gone_ends_nothing() -> None:
    process = Process(living=2)
    async with running(process, is_told=False):
        process.is_down = True
        await process.until_given()
        await process.until_given()
        assert len(process.given) >= 2
