"""An event loop in which time is a number and processes can be killed between any two steps: the same seed, the same run.

Nothing waits: when nobody is ready, the clock jumps to the next timer. What would run in a thread runs in the loop, later.
"""

import asyncio
import concurrent.futures
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from itertools import count
from queue import Empty, SimpleQueue
from random import Random
from typing import Any, Protocol, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START_S = 1000.0
PATIENCE_S = 0.02


class Mortal(Protocol):
    """A process as the loop sees it: `stepped` is told after each of its steps, and may kill it."""

    is_dead: bool

    def stepped(self) -> None: ...


OWNER: ContextVar[Mortal] = ContextVar("owner")
"""The process a step belongs to; the world outside has none. Tasks and timers inherit it."""


class Pool:
    """A thread pool of one: what was submitted runs in its order."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop
        self._jobs: deque[Callable[[], None]] = deque()

    def submit(self, work: Callable[..., object], *args: object) -> None:
        def job() -> None:
            work(*args)

        self._jobs.append(job)
        self._loop.call_later(self._loop.latency(), self._next)

    def shutdown(self) -> None:
        while self._jobs:
            self._next()

    def _next(self) -> None:
        if self._jobs:
            self._jobs.popleft()()


class VirtualLoop(asyncio.AbstractEventLoop):
    """What coroutines, tasks, futures, timeouts and `to_thread` need of a loop. `failures` are exceptions nobody took."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self._is_over = False
        self.failures: list[dict[str, Any]] = []
        self._now = START_S
        self._soon: deque[asyncio.Handle] = deque()
        self._later: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = count()
        self._tasks: list[asyncio.Task[Any]] = []
        self._abroad = 0
        self._arrived: SimpleQueue[asyncio.Handle] = SimpleQueue()

    def latency(self) -> float:
        """Seconds something outside takes: often next to nothing, sometimes long."""
        kind = self.chance.random()
        if kind < 0.4:
            return 0.0
        return self.chance.random() * (0.002 if kind < 0.85 else 0.03 if kind < 0.98 else 0.4)

    async def pause(self) -> None:
        await asyncio.sleep(self.latency())

    # -- what runs --------------------------------------------------------------------------------------------

    def run(self, main: Coroutine[Any, Any, T], limit_s: float) -> T:
        """Run `main` to its end. AssertionError when it takes more than `limit_s` of the loop's time."""
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            task = self.create_task(main)
            while not task.done():
                assert self._now < START_S + limit_s, f"not over after {limit_s} virtual seconds"
                self._turn()
            result: T = task.result()
            return result
        finally:
            events._set_running_loop(before)

    def outside(self, job: "concurrent.futures.Future[T]") -> "asyncio.Future[T]":
        """What another thread works on. The clock stands still for it, but not for long: it may wait for one of us."""
        future = self.create_future()
        handle = asyncio.Handle(_answer, (job, future), self, copy_context())
        self._abroad += 1
        job.add_done_callback(lambda _: self._arrived.put(handle))
        return future

    def _hear(self) -> None:
        patience_s = 0 if self._soon else PATIENCE_S
        while self._abroad:
            try:
                self._soon.append(self._arrived.get(timeout=patience_s) if patience_s else self._arrived.get_nowait())
            except Empty:
                return
            self._abroad -= 1
            patience_s = 0

    def _turn(self) -> None:
        self._hear()
        if not self._soon:
            assert self._later or self._abroad, "everybody waits for something that cannot come"
            self._now = max(self._now, self._later[0][0] if self._later else self._now)
        while self._later and self._later[0][0] <= self._now:
            self._soon.append(heapq.heappop(self._later)[2])
        for _ in range(len(self._soon)):
            handle = self._soon.popleft()
            context: Context = handle._context  # type: ignore[attr-defined]  # the stubs do not know it
            owner = context.get(OWNER)
            if handle.cancelled() or (owner is not None and owner.is_dead):
                continue
            handle._run()
            if owner is not None:
                owner.stepped()

    def bury(self) -> None:
        """Take apart what still waits. The dead have no say: their coroutines are closed, and must not be heard."""
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # it was not forgotten, it was killed
                coroutine: Any = task.get_coro()
                with suppress(BaseException):
                    coroutine.close()
        self._soon.clear()
        self._later.clear()
        self._is_over = True

    # -- asyncio's own interface ------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._soon.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._later, (when, next(self._numbers), handle))
        return handle

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **_: Any
    ) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        return task

    def run_in_executor(self, executor: Any, func: Callable[[*Ts], T], *args: *Ts) -> "asyncio.Future[T]":
        future: asyncio.Future[T] = self.create_future()

        def work() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001  the future's to tell
                future.set_exception(error)

        if isinstance(executor, Pool):
            executor.submit(work)
        else:
            self.call_later(self.latency(), work)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return self._is_over

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""


def _answer(job: "concurrent.futures.Future[T]", future: "asyncio.Future[T]") -> None:
    if future.done():
        return
    if job.cancelled():
        future.cancel()
    elif (error := job.exception()) is not None:
        future.set_exception(error)
    else:
        future.set_result(job.result())
