"""Between a call that runs by itself and the handler that relays it: bounded while somebody listens, nothing afterwards."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from router.domain.errors import GatewayError
from router.domain.flow import Take

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

    @property
    def has_room(self) -> bool:
        return not self.is_open or len(self._items) < DEPTH

    async def room(self) -> None:
        """Until the reader has taken enough, or has left."""
        while not self.has_room:
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


class PipedFrames(Generic[T]):
    """What follows the head in a pipe: frames, then None or the GatewayError that broke them. A flow."""

    def __init__(self, pipe: Pipe[T]) -> None:
        self._pipe = pipe

    async def pour(self, take: Take) -> bytes | None:
        while (said := await self._pipe.get()) is not None:
            if isinstance(said, GatewayError):
                raise said
            assert isinstance(said, bytes), "frames follow the head"
            if not take(said):
                return None
        return b""
