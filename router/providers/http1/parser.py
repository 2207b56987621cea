"""The answer to one request out of the bytes of a connection: httptools' parser and the rules it does not know. No sockets.

llhttp is strict about line ends, lengths and chunks. What it lets pass and we refuse: a transfer-encoding other than
`chunked`, statuses outside 100-599, a switch of protocols, and heads without bound.
"""

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

MAX_HEADERS = 128
MAX_LINE_BYTES = 8 * 2**10
MAX_HEAD_BYTES = 64 * 2**10
_LONG_HEAD = f"the head is over {MAX_HEAD_BYTES} bytes"
_MAX_KNOWN_NAMES = 4096
_NO_HEADERS: dict[str, str] = {}


class _Names(dict[bytes, str]):
    """Names of headers as they were written, and how they are known here."""

    def __missing__(self, name: bytes) -> str:
        known = name.decode("latin-1").lower()
        if len(self) < _MAX_KNOWN_NAMES:
            self[name] = known
        return known


_known_names = _Names()


class _Refused(Exception):
    """Raised inside a callback: stops the parser, which passes it on as the context of its own error."""


class AnswerParser:
    """One for each connection and all its answers: making one costs more than parsing one. `expect`, then `feed`."""

    __slots__ = (
        "status",
        "headers",
        "pieces",
        "is_whole",
        "keeps_alive",
        "ends_by_close",
        "_is_bodiless",
        "_is_interim",
        "_reason",
        "_lines",
        "_interim_lines",
        "_head_bytes",
        "_parser",
        "on_body",
        "on_status",
    )

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        """What of the body has been fed and not been taken; emptied by whoever takes it."""
        self.on_body = self.pieces.append
        self._reason: list[bytes] = []
        self.on_status = self._reason.append
        self.expect(bodiless=False)
        self._parser: HttpResponseParser | None = HttpResponseParser(self)

    def expect(self, *, bodiless: bool) -> None:
        """The next bytes answer a new request; `bodiless` for HEAD, whose lengths announce what does not follow."""
        self.status = 0
        """0 until the head is here, and `headers` with it."""
        self.headers: dict[str, str] = _NO_HEADERS
        self.is_whole = False
        self.keeps_alive = False
        self.ends_by_close = False
        self._is_bodiless = bodiless
        self._is_interim = False
        self._reason.clear()
        self._lines: list[tuple[bytes, bytes]] = []
        self._interim_lines = 0
        self._head_bytes = 0

    def feed(self, data: bytes) -> str:
        """Take in `data`; returns what is wrong with it, "" if nothing. After a complaint the connection is of no more use,
        but `pieces` and `is_whole` hold for what came before."""
        parser = self._parser
        if parser is None:
            return "the connection is closed"
        if not self.status:
            self._head_bytes += len(data)
        try:
            parser.feed_data(data)
        except HttpParserUpgrade:
            return "a switch of protocols that nobody asked for"
        except HttpParserError as error:
            cause = error.__context__
            if cause is not None and not isinstance(cause, _Refused):
                raise
            return str(cause or error)
        # A line is no longer than all that has been fed.
        if self.status or self._head_bytes <= MAX_LINE_BYTES:
            return ""
        return self._overlong() or (_LONG_HEAD if self._head_bytes > MAX_HEAD_BYTES else "")

    def stop(self) -> None:
        """Nothing more will be fed: the parser holds our methods, and we hold it."""
        self._parser = None

    # -- callbacks --------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.is_whole:
            raise _Refused("more than one answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._lines.append((name, value))
        if self.status:  # a trailer: bounded like the head, and dropped
            self._bound()

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        lines = self._lines
        if len(lines) > MAX_HEADERS or self._head_bytes > MAX_LINE_BYTES:
            self._bound()
        status = parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101:
                raise _Refused(f"an answer with status {status}")
            self._is_interim = True
            return
        if status > 599:
            raise _Refused(f"an answer with status {status}")
        if self._interim_lines:
            lines = lines[self._interim_lines :]
        headers = self.headers = {}
        for name, value in lines:
            headers[_known_names[name]] = value.decode("latin-1").rstrip(" \t")
        encoding = headers.get("transfer-encoding")
        if encoding is not None:
            if encoding.lower() != "chunked":
                raise _Refused("a transfer-encoding other than chunked")
            is_repeated = len(headers) < len(lines)
            if is_repeated and sum(_known_names[name] == "transfer-encoding" for name, _ in lines) > 1:
                raise _Refused("more than one transfer-encoding")
        self.status = status
        self.ends_by_close = encoding is None and "content-length" not in headers
        if self._is_bodiless:
            # httptools cannot be told that no body follows, so that this connection ends here.
            self.is_whole = True
            raise _Refused("the answer to HEAD ends with its head")

    def on_message_complete(self) -> None:
        if self._is_interim:
            self._is_interim = False
            self._interim_lines = len(self._lines)
            return
        parser = self._parser
        assert parser is not None
        self.is_whole = True
        self.keeps_alive = parser.should_keep_alive()

    def _bound(self) -> None:
        if complaint := self._overlong():
            raise _Refused(complaint)

    def _overlong(self) -> str:
        """What of the lines that have come is too much, "" if nothing."""
        lines = self._lines
        if sum(map(len, self._reason)) > MAX_LINE_BYTES:
            return f"the status line is over {MAX_LINE_BYTES} bytes"
        if len(lines) > MAX_HEADERS:
            return f"more than {MAX_HEADERS} headers"
        sizes = [len(name) + len(value) for name, value in lines]
        if max(sizes, default=0) > MAX_LINE_BYTES:
            return f"a header over {MAX_LINE_BYTES} bytes"
        return _LONG_HEAD if sum(sizes) + 4 * len(sizes) > MAX_HEAD_BYTES else ""
