"""A journal's line comes back as it was, or not at all."""

from zlib import crc32

import pytest
from msgspec.structs import replace

from router.domain.usage import NanoUSD
from router.storage.journal_lines import Ended, Finished, Header, Line, Opened, Progressed, decoded, encoded
from tests.storage.journals import TERMS, ended, finished, opened

LINES: list[Line] = [
    Header(1, "a1"),
    Opened(opened("r1", terms=replace(TERMS, requested_model='with "quotes"\n and ünïcode'))),
    Progressed("r1", 1, 250, 1_750_000_000_000_000),
    Ended("r1", ended(reason="HTTP 500")),
    Finished(finished("r1", 1, 2, tags=(("team", "a"), ("team", "b")), metadata='{"x":1}', draw=0.25)),
]


def checked(text: bytes) -> bytes:
    return b"%b %x" % (text, crc32(text))


@pytest.mark.parametrize("line", LINES, ids=lambda line: type(line).__name__)
def test_a_line_comes_back_as_it_was(line: Line) -> None:
    raw = encoded(line)
    assert raw.count(b"\n") == 1
    assert decoded(raw[:-1]) == line


@pytest.mark.parametrize("line", LINES, ids=lambda line: type(line).__name__)
def test_a_line_torn_anywhere_is_no_line(line: Line) -> None:
    raw = encoded(line)[:-1]
    assert all(decoded(raw[:size]) is None for size in range(len(raw)))


@pytest.mark.parametrize("line", LINES, ids=lambda line: type(line).__name__)
def test_a_line_with_any_byte_changed_is_no_line(line: Line) -> None:
    raw = encoded(line)[:-1]
    assert all(decoded(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]) is None for at in range(len(raw)))


def test_a_line_of_a_kind_unknown_to_this_release_is_no_line() -> None:
    assert decoded(checked(b'["z",1]')) is None


def test_text_and_numbers_that_json_cannot_hold_are_mended() -> None:
    entry = finished("r1", user="\ud800x", cost=NanoUSD(2**70))
    line = decoded(encoded(Finished(entry))[:-1])
    assert isinstance(line, Finished)
    assert (line.entry.id, line.entry.user, line.entry.cost) == ("r1", "?x", 2**63 - 1)
    line = decoded(encoded(Opened(opened("r1", request_id="a\udfffb", terms=replace(TERMS, alias="a\udfffb"))))[:-1])
    assert isinstance(line, Opened)
    assert (line.attempt.request_id, line.attempt.terms) == ("a?b", replace(TERMS, alias="a?b"))
    attempt = ended(reason="\ud800", cost=NanoUSD(2**64))
    line = decoded(encoded(Ended("r1", attempt))[:-1])
    assert line == Ended("r1", replace(attempt, reason="?", cost=NanoUSD(2**63 - 1)))


def test_a_later_release_may_append_fields_and_an_earlier_one_lack_them() -> None:
    raw = encoded(Progressed("r1", 1, 2, 3))
    longer = raw.rpartition(b"]")[0] + b',"new"]'
    assert decoded(checked(longer)) == Progressed("r1", 1, 2, 3)
    shorter = b'["o",["r1",1,5,"q",true,7,8,["t","n","k","kn","","chat","a","m","p","p/x","x","c","f",9,10,true]]]'
    line = decoded(checked(shorter))
    assert isinstance(line, Opened)
    assert (line.attempt.request, line.attempt.terms.price_known, line.attempt.terms.postings) == ("r1", True, ())
