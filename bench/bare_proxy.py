"""The yardstick: the least an aiohttp reverse proxy can do. It reads the body, forwards it, passes the answer on.

No authentication, no parsing, no accounting; event streams are relayed as they arrive.
"""

import argparse

import uvloop
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

from bench.serving import serve


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


async def relay(port: int, origin: str) -> None:
    # What a session adds or decodes by itself is work that a relay of bytes does not need.
    session = ClientSession(
        connector=TCPConnector(limit=0, keepalive_timeout=3600),
        timeout=ClientTimeout(total=600),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
    )
    async with session:
        await serve(port, Relay(origin, session).handle)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--origin", required=True)
    given = arguments.parse_args()
    uvloop.run(relay(given.port, given.origin))
