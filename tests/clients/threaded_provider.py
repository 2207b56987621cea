"""A provider on loopback that serves from a thread of its own, for clients that block."""

import asyncio
import threading
from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Self

from aiohttp import web


class Received(NamedTuple):
    """`path` as it came on the wire, with its query; header names in lower case."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class ThreadedProvider(ABC):
    """Serves at `origin` while it is entered. `received` are the requests that were worth an answer."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._serve))
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.origin = f"http://{host}:{port}"

    @abstractmethod
    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse: ...
