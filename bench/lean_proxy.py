"""The least that this server and these connections to providers can do: aiohttp's low-level server, `providers/http1`, and
nothing between. What routerd takes above it is what its features take."""

import argparse
import asyncio
import signal

import uvloop
from aiohttp import web

from router.domain.flow import pieces_of
from router.domain.routes import Timeouts
from router.domain.upstream import Destination, UpstreamCall
from router.providers.http1.transport import Http1Transport
from router.server.whole_answer import whole_answer

_MAX_ANSWER = 2**20
_TIMEOUTS = Timeouts()
_STREAM = "text/event-stream"


class LeanRelay:
    """Forwards every request to one URL."""

    def __init__(self, url: str, transport: Http1Transport) -> None:
        headers = {"content-type": "application/json", "authorization": "Bearer sk-upstream"}
        self._to = Destination("POST", url, headers)
        self._transport = transport

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        is_stream = b'"stream":true' in body
        answer = await self._transport.send(UpstreamCall(self._to, body, is_stream, _TIMEOUTS, _TIMEOUTS.total))
        try:
            if not is_stream:
                lines = "Content-Type: application/json\r\n"
                return whole_answer(request, answer.status, lines, await answer.read(_MAX_ANSWER), may_stay=True)
            stream = web.StreamResponse(status=answer.status, headers={"Content-Type": _STREAM})
            await stream.prepare(request)
            async for piece in pieces_of(answer):
                await stream.write(piece)
            await stream.write_eof()
            return stream
        finally:
            answer.close()


async def serve(port: int, url: str) -> None:
    """Relay on loopback until SIGTERM."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    transport = Http1Transport()
    server = web.Server(LeanRelay(url, transport).handle, access_log=None, keepalive_timeout=3600)
    listener = await loop.create_server(server, "127.0.0.1", port, backlog=4096)
    await stopped.wait()
    listener.close()
    await server.shutdown(1.0)
    await transport.close()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--url", required=True)
    given = arguments.parse_args()
    uvloop.run(serve(given.port, given.url))
