"""Connections to Redis, each carrying one exchange at a time, and every way in which they fail told as one error.

Knows the driver and nothing of limits. A connection is opened beside the requests, never by one that waits.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from redis import DriverInfo
from redis._parsers.base import BaseParser
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from router.limits.redis_scripts import Script
from router.limits.redis_wire import Refused, Word, command, reply, words

OPERATION_TIMEOUT_S = 0.05
CONNECT_TIMEOUT_S = 1.0
IDLE_S = 60.0
GROW_AGAIN_S = 1.0

# Made once: the driver would look for its version on the disk for each connection.
_DRIVER = DriverInfo()
_BROKEN = "the connection broke"


class RedisUnavailable(Exception):
    """Redis did not do what it was asked; it may or may not have done it. `reason` has no secrets and no addresses."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


Told = Callable[[Any], None]
"""Called once with the answer to a command, or with RedisUnavailable."""


class Lane(asyncio.Protocol):
    """One open connection. After RedisUnavailable it is of no more use.

    The driver has connected and logged in; from then on the lane speaks for itself: the driver's way of a command costs more
    than all that is done with it. `asked_at_s` is when it was last used, by the loop's clock.
    """

    def __init__(self, connection: AbstractConnection, timeout_s: float) -> None:
        self._connection = connection
        self._half_s = timeout_s / 2
        self._loop = asyncio.get_running_loop()
        self._told: Told | None = None
        self._called: tuple[Script, Sequence[bytes]] | None = None
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None
        self._is_half_over = self._is_lost = False
        self.asked_at_s = self._loop.time()
        writer = connection._writer  # noqa: SLF001  there is no public way
        assert writer is not None, "a connection that is open"
        self._transport = writer.transport
        self._transport.set_protocol(self)

    def call(self, script: Script, said: Sequence[bytes], told: Told) -> None:
        """Run a script on what is `said` as words: how many keys there are, the keys, the arguments.

        Its text is sent only to a server that does not have it.
        """
        self._called = script, said
        self._ask([*script.known, *said], told)

    async def run(self, script: Script, keys: Sequence[str], *arguments: Word) -> Any:
        """The script's answer. Raises RedisUnavailable."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        self.call(script, words(len(keys), *keys, *arguments), partial(_answer, answer))
        return await self._awaited(answer)

    async def command(self, *said: Word) -> Any:
        """Raises RedisUnavailable."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._called = None
        self._ask(words(*said), partial(_answer, answer))
        return await self._awaited(answer)

    async def _awaited(self, answer: asyncio.Future[Any]) -> Any:
        try:
            return await answer
        finally:
            # Of one who was cancelled, nobody waits for the answer that may come yet.
            self._told = None

    def _ask(self, said: Sequence[bytes], told: Told) -> None:
        """One command, whose answer is told within the operation timeout."""
        if self._is_lost:
            told(RedisUnavailable(_BROKEN))
            return
        # In this order: who is told by what this raises is not told again when the connection ends.
        self._transport.write(command(said))
        self._told = told
        self.asked_at_s, self._is_half_over = self._loop.time(), False
        if self._timer is None:
            self._timer = self._loop.call_later(self._half_s, self._look)

    def _look(self) -> None:
        """Time is measured in two halves: a loop that was away for long reads what has come before it gives up."""
        self._timer = None
        if (told := self._told) is None:
            return
        left_s = self.asked_at_s + self._half_s - self._loop.time()
        if left_s <= 0.0:
            if self._is_half_over:
                self._told = None
                told(RedisUnavailable("no answer in time"))
                return
            self._is_half_over = True
            left_s = self._half_s
        self._timer = self._loop.call_later(left_s, self._look)

    def data_received(self, data: bytes) -> None:
        received = self._received + data
        try:
            found = reply(received)
        except ValueError:
            self._lose()
            return
        if found is None:
            self._received = received
            return
        value, size = found
        if (told := self._told) is None or size != len(received):
            self._lose()
            return
        self._received, self._told = b"", None
        if not isinstance(value, Refused):
            told(value)
        elif self._called is not None and value.is_unknown_script:
            (script, said), self._called = self._called, None
            self._ask([*script.whole, *said], told)
        else:
            error = BaseParser.parse_error(value.text)  # type: ignore[no-untyped-call]  # the driver has no types there
            told(RedisUnavailable(reason_of(error, _BROKEN)))

    def connection_lost(self, _exc: Exception | None) -> None:
        self._lose()

    def _lose(self) -> None:
        """What stands in the connection now cannot be understood, or will not come."""
        self._is_lost = True
        if (told := self._told) is not None:
            self._told = None
            told(RedisUnavailable(_BROKEN))

    def close(self) -> None:
        """Never waits for the other side."""
        self._connection._close()  # type: ignore[no-untyped-call]  # noqa: SLF001  the public way is a coroutine


def _answer(waiting: asyncio.Future[Any], answer: Any) -> None:
    if waiting.done():
        return
    if isinstance(answer, RedisUnavailable):
        waiting.set_exception(answer)
    else:
        waiting.set_result(answer)


class Lanes:
    """At most `pool_size` lanes. The one used last is used next, so that those not needed fall idle and are closed."""

    def __init__(self, url: str, pool_size: int, *, timeout_s: float = OPERATION_TIMEOUT_S) -> None:
        """Raises ValueError for a URL that the driver cannot use; its text may hold parts of the URL."""
        self._driver = ConnectionPool.from_url(
            url,
            protocol=2,
            client_name="routerd",
            driver_info=_DRIVER,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
        )
        try:
            self._connection()
        except (TypeError, RedisError) as error:
            raise ValueError("an unknown option, or a value that is none") from error
        self._pool_size = pool_size
        self._timeout_s = timeout_s
        self._idle: list[Lane] = []
        self._all: set[Lane] = set()
        self._is_closed = False
        self._opening = 0
        self._grow_from_s = 0.0
        self._waiting: deque[asyncio.Future[Lane]] = deque()

    def _connection(self) -> Any:
        """Not connected yet; of the class that the URL's scheme asks for."""
        return self._driver.connection_class(**self._driver.connection_kwargs)

    @property
    def count(self) -> int:
        return len(self._all)

    @property
    def may_grow(self) -> bool:
        """One at a time: what waits may well go with the next lane that falls free, where there is one."""
        has_room = self._opening == 0 and len(self._all) < self._pool_size
        return has_room and (not self._all or asyncio.get_running_loop().time() >= self._grow_from_s)

    def take(self) -> Lane | None:
        """A lane that is free now."""
        return self._idle.pop() if self._idle else None

    async def borrow(self) -> Lane:
        """A lane, as soon as one is free. Raises RedisUnavailable when all are dropped."""
        if (lane := self.take()) is not None:
            return lane
        waiter: asyncio.Future[Lane] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.give(waiter.result())
            raise

    def give(self, lane: Lane) -> None:
        """Put back a lane whose exchange went well; one that was dropped meanwhile is closed."""
        if lane not in self._all:
            lane.close()
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(lane)
                return
        self._idle.append(lane)

    async def open(self) -> Lane:
        """A new lane, taken. Raises RedisUnavailable."""
        self._opening += 1
        connection = self._connection()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await connection.connect()
        except (RedisError, OSError, TimeoutError) as error:
            await connection.disconnect(nowait=True)
            self._grow_from_s = asyncio.get_running_loop().time() + GROW_AGAIN_S
            raise RedisUnavailable(reason_of(error, "cannot connect")) from error
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            self._opening -= 1
        lane = Lane(connection, self._timeout_s)
        if self._is_closed:
            lane.close()
            raise RedisUnavailable("closed")
        self._all.add(lane)
        return lane

    @asynccontextmanager
    async def using(self, lane: Lane) -> AsyncIterator[Lane]:
        """A lane that was taken, given back if all went well and closed otherwise."""
        try:
            yield lane
        except BaseException:
            self.discard(lane)
            raise
        self.give(lane)

    def discard(self, lane: Lane) -> None:
        """Close a lane whose exchange failed."""
        self._all.discard(lane)
        if not self._all:
            self._disappoint()
        lane.close()

    def trim(self) -> None:
        """Close lanes that nobody has needed for a minute, all but the one used last."""
        since = asyncio.get_running_loop().time() - IDLE_S
        while len(self._idle) > 1 and self._idle[0].asked_at_s < since:
            self.discard(self._idle.pop(0))

    def drop(self) -> None:
        """Close what is idle, disown what is under way, which is closed when it is given back, and tell those who wait."""
        idle, self._idle = self._idle, []
        self._all.clear()
        self._disappoint()
        for lane in idle:
            lane.close()

    def close(self) -> None:
        """Drop everything, also what is only just being opened."""
        self._is_closed = True
        self.drop()

    def _disappoint(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_exception(RedisUnavailable(_BROKEN))


def reason_of(error: Exception, otherwise: str) -> str:
    """In words for a log: the driver's own texts hold addresses and, now and then, what was sent."""
    if isinstance(error, AuthenticationError):
        return "it refuses the user or the password"
    if isinstance(error, ResponseError):
        return f"it refuses: {type(error).__name__} {str(error).partition(' ')[0][:40]}"
    return otherwise
