"""The head of a request: what is written, and what is never written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.upstream import TRANSPORT_HEADERS
from router.providers.http1.request import head_end, header_lines, opening, origin_of


def head(url: str = "http://h/v1", headers: dict[str, str] | None = None, *, method: str = "POST", length: int = 2) -> bytes:
    origin, target = origin_of(url, "")
    return opening(method, origin, target) + header_lines(headers or {}) + head_end(method, length)


@pytest.mark.parametrize(
    ("url", "start"),
    [
        ("http://h", b"POST / HTTP/1.1\r\nHost: h\r\n"),
        ("http://H.example:80/a%20b?x=1&y=%2f#part", b"POST /a%20b?x=1&y=%2f HTTP/1.1\r\nHost: h.example\r\n"),
        ("https://h:443/a", b"POST /a HTTP/1.1\r\nHost: h\r\n"),
        ("https://h:8443/a", b"POST /a HTTP/1.1\r\nHost: h:8443\r\n"),
        ("http://[::1]:8000/a", b"POST /a HTTP/1.1\r\nHost: [::1]:8000\r\n"),
        ("http://b\u00fccher.example/a", b"POST /a HTTP/1.1\r\nHost: xn--bcher-kva.example\r\n"),
    ],
)
def test_a_url_says_where_and_what(url: str, start: bytes) -> None:
    assert head(url) == start + b"Content-Length: 2\r\n\r\n"


def test_the_headers_follow_as_they_were_given() -> None:
    written = head(headers={"content-type": "application/json", "X-K": "v w"})
    assert (
        written == b"POST /v1 HTTP/1.1\r\nHost: h\r\ncontent-type: application/json\r\nX-K: v w\r\nContent-Length: 2\r\n\r\n"
    )


@pytest.mark.parametrize(("method", "has_length"), [("GET", False), ("DELETE", False), ("POST", True)])
def test_only_a_method_that_may_have_a_body_announces_an_empty_one(method: str, has_length: bool) -> None:
    assert (b"Content-Length: 0" in head(method=method, length=0)) is has_length
    assert b"Content-Length: 5" in head(method=method, length=5)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/", "h/v1", "/v1", "http://", "http:///v1", "http://user:secret@h/", "http://h/a b", "http://h/\u00e9",
        "http://h:port/", "http://h:99999/", "http://h/a\x00b", "http://[::1/",
    ],
)  # fmt: skip
def test_a_url_that_leads_nowhere_is_refused_without_being_told(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        head(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", [*sorted(TRANSPORT_HEADERS), "Content-Length", "HOST"])
def test_the_transport_s_own_headers_cannot_be_set(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        head(headers={name: "1"})


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "\u00e9", "a\0", "a\n"])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no token"):
        head(headers={name: "1"})


@pytest.mark.parametrize("control", ["\r", "\n", "\0", "\r\nx: y", "\x1b", "\x7f", "\x0b"])
def test_a_value_with_a_control_character_is_refused_and_not_repeated(control: str) -> None:
    with pytest.raises(ValueError, match="x-a") as caught:
        head(headers={"x-ok": "fine", "x-a": f"secret{control}"})
    assert "secret" not in str(caught.value)


def test_a_tab_text_beyond_ascii_and_bytes_that_are_no_text_leave_as_they_came() -> None:
    came = b"a\tb \xc3\xa9 \xff\xfe"
    written = head(headers={"user-agent": came.decode("utf-8", "surrogateescape")})
    assert b"user-agent: " + came + b"\r\n" in written


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4))
def test_whatever_the_headers_say_there_are_no_more_lines_than_headers(headers: dict[str, str]) -> None:
    try:
        written = head(headers=headers)
    except ValueError:
        return
    assert written.count(b"\r\n") == written.count(b"\n") == written.count(b"\r") == len(headers) + 4
    assert written.endswith(b"\r\n\r\n")
    assert written.count(b"\r\n\r\n") == 1
