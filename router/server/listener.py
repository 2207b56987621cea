"""The listening sockets of one daemon: aiohttp's server with its defaults corrected, TLS that follows its files."""

import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Container, Sequence
from pathlib import Path

from aiohttp import http_parser, web

from router.config.snapshot import ServerSettings
from router.domain.errors import InternalError, InvalidRequest
from router.server.errors import error_body, status_of
from router.server.headers import SERVER
from router.server.whole_answer import KEPT

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

MAX_HEADERS = 128
MAX_FIELD_BYTES = 16 * 2**10
BACKLOG = 1024
CLOSING_S = 1.0
"""How long `close` waits for answers still being written, and then for cancelled handlers. aiohttp takes 0 for ever."""


class UnsafeParser(RuntimeError):
    """aiohttp runs on its pure-Python HTTP parser, which has had request-smuggling faults the C parser has not."""


def require_c_parser() -> None:
    """Raises UnsafeParser unless aiohttp's compiled parser is in use."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise UnsafeParser(
            "aiohttp was installed without its compiled HTTP parser (or AIOHTTP_NO_EXTENSIONS is set): "
            "install the binary wheel of aiohttp; serving with the pure-Python parser is not safe"
        )


class _Connection(web.RequestHandler):
    """One connection. What is no HTTP gets our envelope: aiohttp's own page quotes the bytes, a key among them, and names
    its version."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; it cannot become an error")
        is_theirs = status < 500
        error = InvalidRequest("the request is not valid HTTP/1.1") if is_theirs else InternalError("internal error")
        body = error_body(error, "", is_messages=False)
        headers = {"Server": SERVER}
        response = web.Response(status=status_of(error), body=body, content_type="application/json", headers=headers)
        response.force_close()
        return response

    def interrupt(self) -> None:
        """Cancel the handler at work on a request, which answers for itself; an answer that is being sent goes on."""
        if self._current_request is not None and self._task_handler is not None:
            self._task_handler.cancel()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """An answer that has been written is finished, unless bytes behind a declined upgrade wait to be parsed."""
        if resp is KEPT and not self._upgraded:
            return resp, False
        return await super().finish_response(request, resp, start_time)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """A body that was here at once has held nothing up: then there is nothing to parse and no socket to wake."""
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)


class _HttpServer(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)

    def interrupt(self, spared: Container[web.RequestHandler]) -> None:
        for connection in self.connections:
            assert isinstance(connection, _Connection)
            if connection not in spared:
                connection.interrupt()


def base_url(address: Sequence[object], *, is_tls: bool) -> str:
    """`http://127.0.0.1:8080` of what `getsockname` says."""
    host, port = address[:2]
    return f"{'https' if is_tls else 'http'}://{f'[{host}]' if ':' in str(host) else host}:{port}"


class Listener:
    """Accepts connections and hands their requests to `handle` until `close`.

    It binds an address of its own, or listens on `sockets`, which other processes may share.

    Corrected defaults: a handler is cancelled when its caller leaves; idle connections end after `keep_alive` instead of
    an hour; a body is never decompressed; headers are bounded.
    """

    def __init__(self, handle: Handle, settings: ServerSettings, sockets: Sequence[socket.socket] = ()) -> None:
        self._settings = settings
        self._sockets = sockets
        self._server = _HttpServer(
            handle,
            access_log=None,
            handler_cancellation=True,
            keepalive_timeout=settings.keep_alive_s,
            max_headers=MAX_HEADERS,
            max_field_size=MAX_FIELD_BYTES,
            auto_decompress=False,
            lingering_time=2.0,
        )
        self._runner = web.ServerRunner(self._server, shutdown_timeout=CLOSING_S)
        self._tls: ssl.SSLContext | None = None
        self._tls_seen: tuple[float, ...] = ()

    async def start(self) -> str:
        """Bind; return the base URL. Raises OSError (address in use) or ssl.SSLError (bad certificate)."""
        settings = self._settings
        if settings.tls_cert:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
            self._load_certificate(settings)
        await self._runner.setup()
        for site in self._sites():
            await site.start()
        return base_url(self._runner.addresses[0], is_tls=self._tls is not None)

    def _sites(self) -> list[web.BaseSite]:
        if self._sockets:
            return [web.SockSite(self._runner, each, ssl_context=self._tls, backlog=BACKLOG) for each in self._sockets]
        host, port = self._settings.host, self._settings.port
        return [web.TCPSite(self._runner, host, port, ssl_context=self._tls, backlog=BACKLOG, reuse_address=True)]

    def refresh_tls(self, settings: ServerSettings) -> bool:
        """Use the certificate files as they are now for new connections; True if they had changed. Raises like `start`."""
        if self._tls is None or not settings.tls_cert or self._stamp(settings) == self._tls_seen:
            return False
        self._load_certificate(settings)
        return True

    def _load_certificate(self, settings: ServerSettings) -> None:
        assert self._tls is not None
        stamp = self._stamp(settings)
        probe = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        probe.load_cert_chain(settings.tls_cert, settings.tls_key or None)
        self._tls.load_cert_chain(settings.tls_cert, settings.tls_key or None)
        self._tls_seen = stamp

    def _stamp(self, settings: ServerSettings) -> tuple[float, ...]:
        return tuple(os.stat(p).st_mtime for p in (settings.tls_cert, settings.tls_key) if p)

    def interrupt(self, spared: Container[web.RequestHandler]) -> None:
        """Cancel the handlers of all requests but those of the spared connections."""
        self._server.interrupt(spared)

    async def close(self) -> None:
        """Stop accepting and end what is left of the connections."""
        await self._runner.cleanup()


class ControlSocket:
    """A unix socket for the CLI, mode 0600: whoever may write there is the daemon's own user."""

    def __init__(self, app: web.Application, path: Path) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSING_S)
        self._path = path

    async def start(self) -> None:
        """Bind, replacing a socket that a killed daemon left: the database's lock says that nobody listens there."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        await self._runner.setup()
        before = os.umask(0o177)
        try:
            await web.UnixSite(self._runner, str(self._path)).start()
        finally:
            os.umask(before)

    async def close(self) -> None:
        await self._runner.cleanup()
        self._path.unlink(missing_ok=True)
