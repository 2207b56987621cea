"""Between a call that runs by itself and the handler that relays it: bounded while somebody listens, nothing afterwards."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

DEPTH = 4

T = TypeVar("T")


class Pipe(Generic[T]):
    """One writer, one reader. The writer waits for `room`; the reader may `close` at any time, and then nobody waits."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._came = asyncio.Event()
        self._taken = asyncio.Event()
        self.is_open = True

    def put(self, item: T) -> None:
        """Hand it over; forgotten if nobody listens."""
        if self.is_open:
            self._items.append(item)
            self._came.set()

    async def room(self) -> None:
        """Until the reader has taken enough, or has left."""
        while self.is_open and len(self._items) >= DEPTH:
            self._taken.clear()
            await self._taken.wait()

    async def get(self) -> T:
        while not self._items:
            self._came.clear()
            await self._came.wait()
        self._taken.set()
        return self._items.popleft()

    def close(self) -> None:
        """The reader has left."""
        self.is_open = False
        self._items.clear()
        self._taken.set()
