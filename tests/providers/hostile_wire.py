"""Answers that no server should give, byte for byte: those that are refused, and those whose outcome is another."""

from typing import NamedTuple

from router.domain.upstream import FailureKind
from router.providers.http1.parser import MAX_HEAD_BYTES, MAX_HEADERS

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

REFUSED = {
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    "a list of lengths": OK + b"Content-Length: 2, 2\r\n\r\nhi",
    "a signed length": OK + b"Content-Length: +2\r\n\r\nhi",
    "a negative length": OK + b"Content-Length: -2\r\n\r\nhi",
    "an empty length": OK + b"Content-Length: \r\n\r\nhi",
    "a length over 64 bits": OK + b"Content-Length: 99999999999999999999\r\n\r\nhi",
    "length and chunks": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "gzip, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": OK + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "xchunked": OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
    "a folded header": OK + b"A: b\r\n c\r\n\r\n",
    "a space before the colon": OK + b"Content-Length : 2\r\n\r\nhi",
    "a header without name": OK + b": b\r\n\r\n",
    "NUL in a header": OK + b"A: b\0c\r\n\r\n",
    "a control character in a header": OK + b"A: b\x01c\r\n\r\n",
    "a lone CR in a header": OK + b"A: b\rc\r\n\r\n",
    "a chunk size that is none": CHUNKED + b"zz\r\n",
    "a negative chunk size": CHUNKED + b"-2\r\nhi\r\n",
    "a chunk size over 64 bits": CHUNKED + b"ffffffffffffffffff\r\n",
    "a chunk longer than its size": CHUNKED + b"2\r\nhiXX\r\n",
    "a line feed in a chunk extension": CHUNKED + b"2;a\nhi\r\n",
    "a length in the trailers": CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
    "another protocol": b"220 mail.example ESMTP\r\n",
    "HTML alone": b"<html>",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "a switch of protocols": b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "a silent switch of protocols": b"HTTP/1.1 101 Switch\r\n\r\n" + OK,
    "status 99": b"HTTP/1.1 099 Odd\r\n\r\n",
    "status 600": b"HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n",
    "status 1000": b"HTTP/1.1 1000 Odd\r\n\r\n",
    "too many headers": OK + b"A: b\r\n" * (MAX_HEADERS + 1) + b"\r\n",
    "too many headers in hints": (b"HTTP/1.1 103 Hints\r\n" + b"A: b\r\n" * 50 + b"\r\n") * 3,
    "too many trailers": CHUNKED + b"0\r\n" + b"A: b\r\n" * (MAX_HEADERS + 1) + b"\r\n",
    "a long header": OK + b"A: " + b"b" * 9000 + b"\r\n\r\n",
    "a long header name": OK + b"A" * 9000 + b": b\r\n\r\n",
    "a long reason": b"HTTP/1.1 200 " + b"K" * 9000 + b"\r\n\r\n",
    "a long head": OK + (b"A: " + b"b" * 8000 + b"\r\n") * 9 + b"\r\n",
    "a head without end": OK + b"A" * (MAX_HEAD_BYTES + 1),
    "hints without end": b"HTTP/1.1 100 Go\r\n\r\n" * 4000,
}


class Odd(NamedTuple):
    """What comes of an answer. `closes`: its server hangs up behind it. `stays`: the connection may be used again."""

    wire: bytes
    body: bytes = b""
    kind: FailureKind | None = None
    closes: bool = False
    stays: bool = False


_RESET, _PROTOCOL = FailureKind.RESET, FailureKind.PROTOCOL
_TWO = OK + b"Content-Length: 2\r\n"
_HI = b"\r\nhi"

ODD = {
    "nothing at all": Odd(b"", kind=_RESET, closes=True),
    "half a status line": Odd(b"HTTP/1.1 20", kind=_RESET, closes=True),
    "half a head": Odd(_TWO, kind=_RESET, closes=True),
    "a head alone": Odd(_TWO + b"\r\n", kind=_RESET, closes=True),
    "half a body": Odd(OK + b"Content-Length: 5\r\n" + _HI, b"hi", _RESET, closes=True),
    "half a chunk": Odd(CHUNKED + b"5\r\nhi", b"hi", _RESET, closes=True),
    "no last chunk": Odd(CHUNKED + b"2\r\nhi\r\n", b"hi", _RESET, closes=True),
    "half a last chunk": Odd(CHUNKED + b"2\r\nhi\r\n0\r\n", b"hi", _RESET, closes=True),
    "hints and then nothing": Odd(b"HTTP/1.1 103 Wait\r\n\r\n", kind=_RESET, closes=True),
    "neither length nor chunks": Odd(OK + _HI, b"hi", closes=True),
    "gzip unasked": Odd(_TWO + b"Content-Encoding: gzip\r\n" + _HI, kind=_PROTOCOL, stays=True),
    "brotli in chunks": Odd(CHUNKED[:-2] + b"Content-Encoding: br\r\n\r\n", kind=_PROTOCOL),
    "two encodings": Odd(_TWO + b"Content-Encoding: deflate, identity\r\n" + _HI, kind=_PROTOCOL, stays=True),
    "more than its length": Odd(_TWO + b"\r\nhiXX", b"hi"),
    "a second answer behind the first": Odd(_TWO + _HI + _TWO + b"\r\nno", b"hi"),
    "junk behind the last chunk": Odd(CHUNKED + b"2\r\nhi\r\n0\r\n\r\nXX", b"hi"),
    "a length of nothing and something": Odd(OK + b"Content-Length: 0\r\n" + _HI),
    "a body where there is none": Odd(b"HTTP/1.1 204 None\r\nContent-Length: 2\r\n" + _HI),
    "a length where there is no body": Odd(b"HTTP/1.1 304 Same\r\nContent-Length: 2\r\n\r\n", stays=True),
    "close": Odd(_TWO + b"Connection: close\r\n" + _HI, b"hi"),
    "HTTP/1.0": Odd(_TWO.replace(b"1.1", b"1.0") + _HI, b"hi"),
    "cookies and permissions": Odd(_TWO + b"Set-Cookie: a=b\r\nAccess-Control-Allow-Origin: *\r\n" + _HI, b"hi", stays=True),
    "a redirect inside": Odd(
        b"HTTP/1.1 307 Go\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n", stays=True
    ),
    "a page of HTML": Odd(b"HTTP/1.1 502 Bad\r\nContent-Type: text/html\r\nContent-Length: 2\r\n" + _HI, b"hi", stays=True),
    "hints first": Odd(b"HTTP/1.1 103 Wait\r\nLink: x\r\n\r\n" + _TWO + _HI, b"hi", stays=True),
    "trailers": Odd(CHUNKED + b"2\r\nhi\r\n0\r\nX-Evil: 1\r\n\r\n", b"hi", stays=True),
    "a chunk extension": Odd(CHUNKED + b'2;a="b"\r\nhi\r\n0\r\n\r\n', b"hi", stays=True),
    "bytes that are no text": Odd(_TWO + b"X-A: \xff\xfe\r\n" + _HI, b"hi", stays=True),
    "a promise of a long life": Odd(_TWO + b"Keep-Alive: timeout=999999999\r\n" + _HI, b"hi", stays=True),
}
