"""Patterns find what Python's own engine finds, and never hold the process."""

import re
from contextlib import suppress
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.providers.repairs.schemas.patterns import UnknownPattern, compiled


def found(pattern: str, text: str) -> bool:
    return compiled(pattern).found_in(text, lambda steps: None)


_ATOMS = st.sampled_from(
    ["a", "b", ".", "[ab]", "[^a]", "\\d", "\\w", "[a-c1-3]", "\\.", "(?:ab)", "(a|b)", "^", "$", "()", "(|a)"]
)
_PATTERNS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}", "*?"])).map(lambda p: f"(?:{p[0]}){p[1]}"),
    ),
    max_leaves=6,
)


@given(_PATTERNS, st.text("ab1.c", max_size=8))
def test_what_is_found_is_what_pythons_engine_finds(pattern: str, text: str) -> None:
    assert found(pattern, text) is (re.search(pattern.replace("$", r"\Z"), text, re.ASCII) is not None)


@pytest.mark.parametrize(
    "pattern", [r"(a)\1", "(?=a)b", "(?<!a)b", r"\bword", r"\p{L}", "a**", "*a", "(a", "a)", "[a", "a{3,1}", "\\", "a{9999}"]
)
def test_what_is_not_known_is_said(pattern: str) -> None:
    with pytest.raises(UnknownPattern):
        compiled(pattern)


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|aa)+$", "(.*)*x$", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    began = perf_counter()
    assert not found(pattern, "a" * 2000 + "!")
    assert perf_counter() - began < 5.0


@pytest.mark.parametrize(
    "pattern", ["(" * 40 + "a" + ")?" * 40, "((((){999}){999}){999}){999}", "(" * 5000, "((a{90}){90}){90}"]
)
def test_no_pattern_takes_for_ever_to_read(pattern: str) -> None:
    began = perf_counter()
    with suppress(UnknownPattern):
        compiled(pattern)
    assert perf_counter() - began < 5.0


@given(st.text(max_size=30))
def test_any_text_is_a_pattern_or_is_said_to_be_none(text: str) -> None:
    try:
        compiled(text)
    except UnknownPattern:
        return
