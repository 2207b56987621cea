"""The yardstick: the least an aiohttp reverse proxy can do. It reads the body, forwards it, passes the answer on.

No authentication, no parsing, no accounting; event streams are relayed as they arrive.
"""

import argparse
import asyncio
import signal

import uvloop
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web


class Relay:
    """Forwards every request to one origin over pooled connections."""

    def __init__(self, origin: str, session: ClientSession) -> None:
        self._origin = origin
        self._session = session

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        headers = {"Content-Type": request.content_type, "Authorization": "Bearer sk-upstream"}
        async with self._session.request(
            request.method, self._origin + request.path, data=body, headers=headers
        ) as upstream:
            content_type = upstream.headers.get("Content-Type", "")
            if not content_type.startswith("text/event-stream"):
                answer = await upstream.read()
                return web.Response(body=answer, status=upstream.status, headers={"Content-Type": content_type})
            stream = web.StreamResponse(status=upstream.status, headers={"Content-Type": content_type})
            await stream.prepare(request)
            async for piece in upstream.content.iter_any():
                await stream.write(piece)
            await stream.write_eof()
            return stream


async def serve(port: int, origin: str) -> None:
    """Relay on loopback until SIGTERM."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    # What a session adds or decodes by itself is work that a relay of bytes does not need.
    session = ClientSession(
        connector=TCPConnector(limit=0, keepalive_timeout=3600),
        timeout=ClientTimeout(total=600),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
    )
    async with session:
        server = web.Server(Relay(origin, session).handle, access_log=None, keepalive_timeout=3600)
        listener = await loop.create_server(server, "127.0.0.1", port, backlog=4096)
        await stopped.wait()
        listener.close()
        await server.shutdown(1.0)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--origin", required=True)
    given = arguments.parse_args()
    uvloop.run(serve(given.port, given.origin))
