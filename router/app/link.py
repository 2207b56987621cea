"""Questions and answers between a supervisor and one of its workers, both ways over one socket pair.

Each end holds the only copy of its socket, so that the end of a process, however it comes, is seen by the other at once.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from itertools import count

import msgspec

from router.domain.ports import Tasks

Answer = Callable[[str], Awaitable[bytes]]
"""From a question to its answer. Raises NoAnswer for one it does not know."""

_LENGTH = struct.Struct("!I")


class NoAnswer(Exception):
    """The other end has gone, is silent, or cannot answer."""


class _Frame(msgspec.Struct, array_like=True):
    """`question` "" is an answer to the question of that number."""

    number: int
    question: str
    body: bytes = b""
    is_good: bool = True


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(_Frame).decode


class Link:
    """One end. `gone` is set when the other end has gone; `run` must be running for anything to be answered."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], answer: Answer, tasks: Tasks) -> None:
        self.gone = asyncio.Event()
        self._reader, self._writer = streams
        self._answer = answer
        self._tasks = tasks
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[bytes]] = {}

    @classmethod
    async def over(cls, end: socket.socket, answer: Answer, tasks: Tasks) -> "Link":
        return cls(await asyncio.open_unix_connection(sock=end), answer, tasks)

    async def ask(self, question: str, timeout_s: float) -> bytes:
        """Raises NoAnswer."""
        if self.gone.is_set():
            raise NoAnswer("the other process has ended")
        number = next(self._numbers)
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[number] = reply
        self._send(_Frame(number, question))
        try:
            async with asyncio.timeout(timeout_s):
                return await reply
        except TimeoutError:
            raise NoAnswer(f"no answer within {timeout_s:g} s") from None
        finally:
            del self._asked[number]

    async def run(self) -> None:
        """Answer and take answers until the other end has gone."""
        try:
            while True:
                (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
                frame = _DECODE(await self._reader.readexactly(length))
                if frame.question:
                    self._tasks.spawn(self._reply(frame), name=f"answer {frame.question}")
                else:
                    self._take(frame)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.gone.set()
            self._writer.close()
            for reply in self._asked.values():
                if not reply.done():
                    reply.set_exception(NoAnswer("the other process has ended"))

    def close(self) -> None:
        self._writer.close()

    async def _reply(self, asked: _Frame) -> None:
        try:
            self._send(_Frame(asked.number, "", await self._answer(asked.question)))
        except NoAnswer:
            self._send(_Frame(asked.number, "", is_good=False))
        except Exception:
            self._send(_Frame(asked.number, "", is_good=False))
            raise

    def _take(self, frame: _Frame) -> None:
        """An answer; nobody waits any more for one that comes too late."""
        reply = self._asked.get(frame.number)
        if reply is None or reply.done():
            return
        if frame.is_good:
            reply.set_result(frame.body)
        else:
            reply.set_exception(NoAnswer("the other process cannot answer"))

    def _send(self, frame: _Frame) -> None:
        if not self._writer.is_closing():
            body = _ENCODE(frame)
            self._writer.write(_LENGTH.pack(len(body)) + body)
