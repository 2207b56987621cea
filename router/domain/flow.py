"""Bytes that come by themselves: each piece is handed over in the turn of the loop in which it came, and nobody is woken."""

from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Protocol

Take = Callable[[bytes], bool]
"""Takes a piece, which is never empty; whether it wants more now. It waits for nothing."""


class Flow(Protocol):
    """A body or a stream on its way to one taker at a time."""

    async def pour(self, take: Take) -> bytes | None:
        """Hand over what has come and what comes, but for what comes with the end: that is returned, and may be empty. None:
        `take` wants no more for now, and until `pour` is called again what comes is held, within bounds.

        Raises what broke the flow, after what came before it was handed over, and what `take` raises. A piece that was
        taken is not handed over again, whether its `pour` returned, raised or was cancelled.
        """
        ...


class Drawn:
    """What an iterator yields, as a flow; one whose `pour` was cancelled is at its end."""

    __slots__ = ("_pieces",)

    def __init__(self, pieces: AsyncIterable[bytes]) -> None:
        self._pieces = aiter(pieces)

    async def pour(self, take: Take) -> bytes | None:
        async for piece in self._pieces:
            if not take(piece):
                return None
        return b""


async def pieces_of(flow: Flow) -> AsyncIterator[bytes]:
    """A flow at the pace of its reader, which may wait between two pieces."""
    pieces: list[bytes] = []

    def take(piece: bytes) -> bool:
        pieces.append(piece)
        return False

    last: bytes | None = None
    while last is None:
        try:
            last = await flow.pour(take)
        except Exception:
            # It may have broken over the very piece that it has handed over.
            for piece in pieces:
                yield piece
            raise
        while pieces:
            yield pieces.pop(0)
    if last:
        yield last
