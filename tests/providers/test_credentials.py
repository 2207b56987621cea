"""Choosing a provider key by weight, and keeping it out of what comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.routes import Credential
from router.providers.credentials import MAX_ERROR_BYTES, api_key, bearer, choose, scrub

A, B, C = (
    Credential("a", "sk-aaaaaaaaaaaa", 1),
    Credential("b", "key-bbbbbbbbbbb", 3),
    Credential("c", "0123456789abcdef", 0),
)


def test_the_choice_follows_the_weights() -> None:
    drawn = [choose((A, B, C), (), i / 1000) for i in range(1000)]
    assert (drawn.count(A), drawn.count(B), drawn.count(C)) == (250, 750, 0)


def test_a_resting_credential_is_left_out() -> None:
    assert choose((A, B, C), frozenset({"b"}), 0.99) == A


def test_a_credential_of_weight_zero_is_used_when_the_rest_rest() -> None:
    assert choose((A, B, C), {"a", "b"}, 0.5) == C


def test_nobody_is_chosen_where_all_rest_or_none_is_configured() -> None:
    assert choose((A, B), {"a", "b"}, 0.0) is None
    assert choose((), (), 0.0) is None


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5), st.floats(0, 1, exclude_max=True))
def test_every_draw_chooses_somebody(weights: list[int], draw: float) -> None:
    pool = [Credential(str(i), "k", w) for i, w in enumerate(weights)]
    chosen = choose(pool, (), draw)
    assert chosen is not None
    assert chosen.weight > 0 or not any(weights)


def test_headers_differ_by_provider_type() -> None:
    assert bearer(A) == ("authorization", "Bearer sk-aaaaaaaaaaaa")
    assert api_key(A) == ("api-key", "sk-aaaaaaaaaaaa")


@pytest.mark.parametrize(
    "said",
    [
        b"Incorrect API key provided: sk-aaaaaaaaaaaa.",
        b"Incorrect API key provided: sk-aaaaa****aaaa.",
        b"Incorrect API key provided: sk-proj-1234567890.",
        b"Incorrect API key provided: sk-aa...aaaa.",
        b"bad key key-bbbbbbbbbbb",
        b"bad key ke*********bb",
        b"token 0123456789abcdef",
        b"token 01************ef",
        b"hf_abcdefghijkl gsk_abcdefghijkl",
    ],
)
def test_a_providers_error_loses_every_trace_of_a_key(said: bytes) -> None:
    cleaned = scrub(said, (A, B, C))
    assert b"***" in cleaned
    for trace in (b"aaaa", b"bbbb", b"bb", b"0123", b"ef", b"12345", b"abcdefgh"):
        assert trace not in cleaned.replace(b"***", b"")


def test_an_innocent_error_is_untouched() -> None:
    said = b'{"error":{"message":"max_tokens is too large: risk-averse skip","type":"invalid_request_error","code":null}}'
    assert scrub(said, (A, B, C)) == said


def test_an_error_body_is_cut_at_its_cap() -> None:
    assert len(scrub(b"x" * (MAX_ERROR_BYTES + 9), ())) == MAX_ERROR_BYTES
