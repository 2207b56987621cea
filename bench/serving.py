"""How the yardsticks serve: aiohttp's low-level server on loopback, until SIGTERM."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

from aiohttp import web


async def serve(port: int, handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    server = web.Server(handle, access_log=None, keepalive_timeout=3600)
    listener = await loop.create_server(server, "127.0.0.1", port, backlog=4096)
    await stopped.wait()
    listener.close()
    await server.shutdown(1.0)
