"""What is written to a provider: where a URL leads, and the head of a request. Pure; ValueError for what must not be sent.

`Host`, framing and connection headers are the transport's own. A value with a control character would end its line and
begin one of its author's choosing, so it never leaves.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from router.domain.upstream import TRANSPORT_HEADERS

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OUTSIDE_TARGET = re.compile(r"[^!-~]")
_BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_MAX_KNOWN_NAMES = 1024

_known_names: set[str] = set()


class Origin(NamedTuple):
    """What connections may be shared within: a host trusted by another CA file is another origin.

    So is one that `is_guarded`: a connection that the operator's own calls have opened may lead to a private address.
    """

    host: str
    port: int
    is_tls: bool
    ca_file: str = ""
    ca_digest: str = ""
    is_guarded: bool = False

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def origin_of(url: str, ca_file: str, ca_digest: str = "", *, is_guarded: bool = False) -> tuple[Origin, str]:
    """The origin of an http(s) URL and its request target. Raises ValueError, without the URL's query or userinfo in it."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an absolute http or https URL")
    if "@" in parts.netloc:
        raise ValueError("a URL with user name or password; credentials belong in api_key")
    is_tls = parts.scheme == "https"
    host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode("ascii")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if _OUTSIDE_TARGET.search(target) or _OUTSIDE_TARGET.search(host):
        raise ValueError("a URL with characters that must be percent-encoded")
    port = parts.port or (443 if is_tls else 80)
    trust = (ca_file, ca_digest) if is_tls else ("", "")
    return Origin(host, port, is_tls, *trust, is_guarded), target


def opening(method: str, origin: Origin, target: str) -> bytes:
    """The first two lines of a request."""
    if not _TOKEN.fullmatch(method):
        raise ValueError("a method that is no token")
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    port = "" if origin.port == (443 if origin.is_tls else 80) else f":{origin.port}"
    return f"{method} {target} HTTP/1.1\r\nHost: {host}{port}\r\n".encode("ascii")


def header_lines(headers: Mapping[str, str]) -> bytes:
    """Each with its end. Raises ValueError naming the header, never its value."""
    if not _known_names.issuperset(headers):
        _check_names(headers)
    # One look at all values; what it does not like is looked at closely.
    if not "".join(headers.values()).isprintable():
        _check_values(headers)
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    # Bytes that a caller's header had and that are no text leave as they came.
    return lines.encode("utf-8", "surrogateescape")


def head_end(method: str, length: int | None) -> bytes:
    """How the body is framed, and the empty line; `length` None for chunks."""
    if length:
        return b"Content-Length: %d\r\n\r\n" % length
    if length is None:
        return b"Transfer-Encoding: chunked\r\n\r\n"
    return b"\r\n" if method in _BODILESS else b"Content-Length: 0\r\n\r\n"


def _check_names(headers: Mapping[str, str]) -> None:
    for name in headers:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"a header name that is no token: {name[:64]!r}")
        if name.lower() in TRANSPORT_HEADERS:
            raise ValueError(f"the header {name} is the transport's own")
        if len(_known_names) < _MAX_KNOWN_NAMES:
            _known_names.add(name)


def _check_values(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if _CONTROL.search(value):
            raise ValueError(f"the header {name} has a control character in it")
