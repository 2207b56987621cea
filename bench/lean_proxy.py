"""The least that this server and these connections to providers can do: aiohttp's low-level server, `providers/http1`, and
nothing between. What routerd takes above it is what its features take."""

import argparse

import uvloop
from aiohttp import web

from bench.serving import serve
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


async def relay(port: int, url: str) -> None:
    transport = Http1Transport()
    await serve(port, LeanRelay(url, transport).handle)
    await transport.close()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--url", required=True)
    given = arguments.parse_args()
    uvloop.run(relay(given.port, given.url))
