"""Connections to Redis, each carrying one exchange at a time, and every way in which they fail told as one error.

Knows the driver and nothing of limits. A connection is opened beside the requests, never by one that waits.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis import DriverInfo
from redis._parsers.base import BaseParser
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, InvalidResponse, NoScriptError, RedisError, ResponseError

from router.limits.redis_scripts import Script
from router.limits.redis_wire import Refused, command, reply, words

OPERATION_TIMEOUT_S = 0.05
CONNECT_TIMEOUT_S = 1.0
IDLE_S = 60.0
GROW_AGAIN_S = 1.0

# Made once: the driver would look for its version on the disk for each connection.
_DRIVER = DriverInfo()


class RedisUnavailable(Exception):
    """Redis did not do what it was asked; it may or may not have done it. `reason` has no secrets and no addresses."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Lane(asyncio.Protocol):
    """One open connection. After RedisUnavailable it is of no more use.

    The driver has connected and logged in; from then on the lane speaks for itself: the driver's way of a command costs more
    than all that is done with it.
    """

    def __init__(self, connection: AbstractConnection, timeout_s: float) -> None:
        self._connection = connection
        self._half_s = timeout_s / 2
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Any] | None = None
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None
        self._asked_at_s = 0.0
        self._is_half_over = self._is_lost = False
        self.idle_since = 0.0
        writer = connection._writer  # noqa: SLF001  there is no public way
        assert writer is not None, "a connection that is open"
        self._transport = writer.transport
        self._transport.set_protocol(self)

    async def run(self, script: Script, keys: Sequence[str], *arguments: bytes | str | int) -> Any:
        """The script's answer; its text is sent only to a server that does not have it. Raises RedisUnavailable."""
        try:
            return await self._exchange(*script.call, *words(len(keys), *keys, *arguments))
        except NoScriptError:
            return await self.command("EVAL", script.text, len(keys), *keys, *arguments)

    async def command(self, *said: bytes | str | int) -> Any:
        """Raises RedisUnavailable."""
        try:
            return await self._exchange(*words(*said))
        except NoScriptError as error:
            raise RedisUnavailable("refused: NOSCRIPT") from error

    async def _exchange(self, *said: bytes) -> Any:
        """One command and its answer within the operation timeout. Raises NoScriptError, RedisUnavailable."""
        if self._is_lost:
            raise RedisUnavailable("the connection broke")
        answer = self._answer = self._loop.create_future()
        self._transport.write(command(said))
        self._asked_at_s, self._is_half_over = self._loop.time(), False
        if self._timer is None:
            self._timer = self._loop.call_later(self._half_s, self._look)
        try:
            return await answer
        except NoScriptError:
            raise
        except TimeoutError as error:
            raise RedisUnavailable("no answer in time") from error
        except (RedisError, OSError) as error:
            raise RedisUnavailable(reason_of(error, "the connection broke")) from error
        finally:
            self._answer = None

    def _look(self) -> None:
        """Time is measured in two halves: a loop that was away for long reads what has come before it gives up."""
        self._timer = None
        answer = self._answer
        if answer is None or answer.done():
            return
        left_s = self._asked_at_s + self._half_s - self._loop.time()
        if left_s <= 0.0:
            if self._is_half_over:
                answer.set_exception(TimeoutError())
                return
            self._is_half_over = True
            left_s = self._half_s
        self._timer = self._loop.call_later(left_s, self._look)

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            found = reply(self._received)
        except ValueError:
            self._lose(InvalidResponse())
            return
        if found is None:
            return
        value, size = found
        if self._answer is None or size != len(self._received):
            self._lose(InvalidResponse())
            return
        self._received = b""
        if self._answer.done():
            return
        if isinstance(value, Refused):
            error = BaseParser.parse_error(value.text)  # type: ignore[no-untyped-call]  # the driver has no types there
            self._answer.set_exception(error)
        else:
            self._answer.set_result(value)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(exc if isinstance(exc, OSError) else ConnectionResetError())

    def _lose(self, error: Exception) -> None:
        """What stands in the connection now cannot be understood, or will not come."""
        self._is_lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    async def close(self) -> None:
        """Never waits for the other side, never raises."""
        await self._connection.disconnect(nowait=True)


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
                await self.give(waiter.result())
            raise

    async def give(self, lane: Lane) -> None:
        """Put back a lane whose exchange went well; one that was dropped meanwhile is closed."""
        if lane not in self._all:
            await lane.close()
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(lane)
                return
        lane.idle_since = asyncio.get_running_loop().time()
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
            await lane.close()
            raise RedisUnavailable("closed")
        self._all.add(lane)
        return lane

    @asynccontextmanager
    async def using(self, lane: Lane) -> AsyncIterator[Lane]:
        """A lane that was taken, given back if all went well and closed otherwise."""
        try:
            yield lane
        except BaseException:
            await self.discard(lane)
            raise
        await self.give(lane)

    async def discard(self, lane: Lane) -> None:
        """Close a lane whose exchange failed."""
        self._all.discard(lane)
        if not self._all:
            self._disappoint()
        await lane.close()

    async def trim(self) -> None:
        """Close lanes that nobody has needed for a minute, all but the one used last."""
        since = asyncio.get_running_loop().time() - IDLE_S
        while len(self._idle) > 1 and self._idle[0].idle_since < since:
            await self.discard(self._idle.pop(0))

    async def drop(self) -> None:
        """Close what is idle, disown what is under way, which is closed when it is given back, and tell those who wait."""
        idle, self._idle = self._idle, []
        self._all.clear()
        self._disappoint()
        for lane in idle:
            await lane.close()

    async def close(self) -> None:
        """Drop everything, also what is only just being opened."""
        self._is_closed = True
        await self.drop()

    def _disappoint(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_exception(RedisUnavailable("the connection broke"))


def reason_of(error: Exception, otherwise: str) -> str:
    """In words for a log: the driver's own texts hold addresses and, now and then, what was sent."""
    if isinstance(error, AuthenticationError):
        return "it refuses the user or the password"
    if isinstance(error, ResponseError):
        return f"it refuses: {type(error).__name__} {str(error).partition(' ')[0][:40]}"
    return otherwise
