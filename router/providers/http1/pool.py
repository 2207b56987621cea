"""Connections between requests: kept for each origin, last in first out, bounded for each origin and in all.

A slot is counted from the moment somebody may open a connection until that connection is closed. Who finds neither a free
connection nor a free slot waits, and is served in order of arrival by whatever comes first. While slots are short, a free
connection to one origin is closed for those who wait for another.
"""

import asyncio
from collections import deque

from router.domain.upstream import FailureKind, TransportFailure
from router.providers.http1.connection import Http1Connection
from router.providers.http1.request import Origin


class _Waiter:
    __slots__ = ("future", "ticket")

    def __init__(self, future: "asyncio.Future[Http1Connection | None]", ticket: int) -> None:
        self.future = future
        self.ticket = ticket


class OriginPool:
    """The connections to one origin. Implements http1_connection.Owner."""

    def __init__(self, pool: "Pool", origin: Origin) -> None:
        self.origin = origin
        self.keep_alive_s = pool.keep_alive_s
        self.open = 0
        self.waiting: deque[_Waiter] = deque()
        self.idle: list[Http1Connection] = []
        self._pool = pool

    def take(self) -> Http1Connection | None:
        """Of the free connections the one used last, None if there is none."""
        while self.idle:
            connection = self.idle.pop()
            if connection.is_open:
                return connection
        return None

    async def acquire(self) -> Http1Connection | None:
        """A free connection; or None, which is a slot: `dial` and `undo` are its two ends.

        Waits for as long as it takes, the caller has the timer; cancelled, it holds nothing. TransportFailure CONNECT
        once the pool is closed.
        """
        pool = self._pool
        pool.require_open()
        if (found := self.take()) is not None:
            return found
        if pool.has_slot(self):  # then nobody waits for it
            pool.count(self, 1)
            return None
        waiter = pool.queue(self)
        try:
            return await waiter.future
        except asyncio.CancelledError:
            self._leave(waiter)
            raise

    def dial(self) -> Http1Connection:
        """The protocol of a new connection, for the slot that `acquire` gave."""
        connection = Http1Connection(self._pool.loop, self)
        self._pool.connections.add(connection)
        return connection

    def undo(self, connection: Http1Connection) -> None:
        """Dialling failed: give the slot back. uvloop may close a connection that it has told of its beginning, and never
        tell it of its end."""
        connection.drop()
        self.lost(connection)

    def hand(self, granted: Http1Connection | None) -> bool:
        """Give a connection, or a slot, to the first who still waits; False if nobody does."""
        while self.waiting:
            waiter = self.waiting.popleft()
            if not waiter.future.done():  # cancelled, and not yet gone
                waiter.future.set_result(granted)
                return True
        return False

    def drop_idle(self) -> None:
        """None of the free connections is to be trusted."""
        for connection in self.idle:
            connection.drop()
        self.idle.clear()

    def _leave(self, waiter: _Waiter) -> None:
        """Somebody who waited was cancelled; what he had just been granted goes to the next."""
        if waiter in self.waiting:
            self.waiting.remove(waiter)
        elif not waiter.future.cancelled() and waiter.future.exception() is None:
            granted = waiter.future.result()
            if granted is None:
                self._pool.count(self, -1)
                self._pool.grant()
            elif granted.is_open:
                self.released(granted)

    # -- the connections --------------------------------------------------------------------------------------

    def released(self, connection: Http1Connection) -> None:
        if self.waiting and self.hand(connection):
            return
        self.idle.append(connection)
        connection.rest()
        pool = self._pool
        if pool.open >= pool.max_connections:  # somebody may wait for its slot
            pool.grant()

    def lost(self, connection: Http1Connection) -> None:
        if connection not in self._pool.connections:
            return
        self._pool.connections.remove(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        self._pool.count(self, -1)
        self._pool.grant()


class Pool:
    """All connections of one transport."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, keep_alive_s: float, max_connections: int, max_per_origin: int
    ) -> None:
        self.loop = loop
        self.keep_alive_s = keep_alive_s
        self.connections: set[Http1Connection] = set()
        self._origins: dict[Origin, OriginPool] = {}
        self.max_connections = max_connections
        self._max_per_origin = max_per_origin
        self.open = 0
        self._tickets = 0
        self._is_evicting = False
        self._is_closed = False

    def at(self, origin: Origin) -> OriginPool:
        found = self._origins.get(origin)
        if found is None:
            found = self._origins[origin] = OriginPool(self, origin)
        return found

    def require_open(self) -> None:
        if self._is_closed:
            raise _closed()

    def close(self) -> None:
        """End every connection; who waits is told."""
        self._is_closed = True
        for line in self._origins.values():
            for waiter in line.waiting:
                if not waiter.future.done():
                    waiter.future.set_exception(_closed())
            line.waiting.clear()
        for connection in list(self.connections):
            connection.break_off(FailureKind.RESET, "the transport was closed")

    # -- slots ------------------------------------------------------------------------------------------------

    def has_slot(self, line: OriginPool) -> bool:
        return line.open < self._max_per_origin and self.open < self.max_connections

    def count(self, line: OriginPool, change: int) -> None:
        line.open += change
        self.open += change

    def queue(self, line: OriginPool) -> _Waiter:
        """A place at the end of `line`."""
        self._tickets += 1
        waiter = _Waiter(self.loop.create_future(), self._tickets)
        line.waiting.append(waiter)
        self.grant()
        return waiter

    def grant(self) -> None:
        """Give what slots there are to those who have waited longest; where there are none, make one."""
        if self.open < self.max_connections:
            self._is_evicting = False
        while (line := self._longest_waiting()) is not None:
            if self.open >= self.max_connections:
                self._evict()
                return
            if line.hand(None):
                self.count(line, 1)

    def _longest_waiting(self) -> OriginPool | None:
        lines = (line for line in self._origins.values() if line.waiting and line.open < self._max_per_origin)
        return min(lines, key=lambda line: line.waiting[0].ticket, default=None)

    def _evict(self) -> None:
        """Close the connection that has been free for longest, one at a time: its slot is free when it is closed."""
        free = (line.idle[0] for line in self._origins.values() if line.idle)
        oldest = min(free, key=lambda connection: connection.idle_since, default=None)
        if oldest is not None and not self._is_evicting:
            self._is_evicting = True
            oldest.drop()


def _closed() -> TransportFailure:
    return TransportFailure(FailureKind.CONNECT, "the transport is closed")
