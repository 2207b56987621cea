"""The process's own clock, ids, tasks and environment: the one file where they may be read; everyone else is handed them."""

import asyncio
import gc
import os
import random
import time
import traceback
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any

from router.domain.observations import Failure
from router.domain.ports import Observer

VERSION = "0.1.0"
_TAILS = 256


class SystemClock:
    """Implements domain.ports.Clock."""

    now_us = staticmethod(lambda: time.time_ns() // 1000)
    monotonic = staticmethod(time.monotonic)

    boottime = staticmethod(
        partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
    )
    """Seconds on a clock that goes on while the machine sleeps; where there is none, the monotonic one."""


class SystemIds:
    """Implements domain.ports.Ids: 48 bits of milliseconds, 80 random bits. Ids are names, not secrets."""

    def __init__(self) -> None:
        self._random = random.Random(os.urandom(32))
        self.draw = self._random.random
        self._tails: list[str] = []
        self._at = 0
        self._millisecond = ""

    def new(self) -> str:
        at = time.time_ns() // 1_000_000
        if at != self._at:
            self._at, self._millisecond = at, at.to_bytes(6, "big").hex()
        if not self._tails:
            # Taken many at once, a random number costs nothing beside its text.
            digits = self._random.randbytes(10 * _TAILS).hex()
            self._tails = [digits[start : start + 20] for start in range(0, 20 * _TAILS, 20)]
        return self._millisecond + self._tails.pop()


class SystemTasks:
    """Implements domain.ports.Tasks; the app waits for what was spawned before it ends."""

    def __init__(self, observer: Observer) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._observer = observer

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        text = "".join(traceback.format_exception(error))
        self._observer.emit(Failure(request_id="", where=task.get_name(), traceback=text))

    async def stop(self) -> None:
        """Cancel everything that runs and wait for it to end: for loops that have no end of their own."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def wait(self, timeout_s: float) -> None:
        """Wait for everything spawned; what still runs after `timeout_s` is cancelled and waited for."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)
        await self.stop()


def environment() -> Mapping[str, str]:
    """The process's environment as it is now."""
    return dict(os.environ)


def settle_memory() -> None:
    """Take what the start has made out of the garbage collector's sight, and let it look seldom.

    Requests leave no cycles behind, so a collection finds nothing; at the default thresholds it cost a tenth of all CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
