"""Provider usage in all its shapes becomes one Usage; what is odd is clamped, what is missing is not 0."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.usage import Usage
from router.providers.usage import MAX_COUNT, Counts, counts_of

CHAT = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def read(usage: Any, *, has_output: bool = True) -> Usage | None:
    counts = counts_of(json.dumps(usage).encode())
    return counts.usage(has_output=has_output) if counts is not None else None


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (CHAT, Usage(10, 5)),
        ({"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}, Usage(10, 5)),
        (
            CHAT | {"prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 2}},
            Usage(10, 5, cached_input_tokens=4, audio_input_tokens=2),
        ),
        (
            CHAT | {"completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 1}},
            Usage(10, 5, reasoning_tokens=3, audio_output_tokens=1),
        ),
        (CHAT | {"prompt_tokens_details": None, "completion_tokens_details": None}, Usage(10, 5)),
        (CHAT | {"prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2}, Usage(10, 5, cached_input_tokens=8)),
        (CHAT | {"num_cached_tokens": 7}, Usage(10, 5, cached_input_tokens=7)),
        (CHAT | {"cached_tokens": 6}, Usage(10, 5, cached_input_tokens=6)),
        (
            CHAT | {"cache_read_input_tokens": 3, "cache_creation_input_tokens": 2},
            Usage(10, 5, cached_input_tokens=3, cache_write_tokens=2),
        ),
        (
            {"input_tokens": 9, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1}},
            Usage(9, 5, cached_input_tokens=4, cache_write_tokens=1),
        ),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage(0, 0)),
        (CHAT | {"cost": 0.1, "queue_time": 0.2, "service_tier": "standard"}, Usage(10, 5)),
    ],
)
def test_a_known_shape_is_read(reported: dict[str, Any], expected: Usage) -> None:
    assert read(reported) == expected


def test_reasoning_that_the_total_shows_beside_the_completion_is_added_to_the_output() -> None:
    beside = {
        "prompt_tokens": 12,
        "completion_tokens": 1,
        "total_tokens": 241,
        "completion_tokens_details": {"reasoning_tokens": 228},
    }
    assert read(beside) == Usage(12, 229, reasoning_tokens=228)


def test_reasoning_inside_the_completion_is_not_added_twice() -> None:
    inside = {
        "prompt_tokens": 12,
        "completion_tokens": 229,
        "total_tokens": 241,
        "completion_tokens_details": {"reasoning_tokens": 228},
    }
    assert read(inside) == Usage(12, 229, reasoning_tokens=228)


def test_audio_that_the_total_shows_beside_the_prompt_is_added_to_the_input() -> None:
    beside = {
        "prompt_tokens": 9,
        "completion_tokens": 248,
        "total_tokens": 632,
        "prompt_tokens_details": {"audio_tokens": 375},
    }
    assert read(beside) == Usage(384, 248, audio_input_tokens=375)


@pytest.mark.parametrize("nothing", [None, {}, [], "12", 3, {"cost": 1}, {"prompt_tokens": None, "total_tokens": None}])
def test_no_count_at_all_is_unknown(nothing: object) -> None:
    assert read(nothing) is None


def test_an_unknown_output_is_marked_for_an_estimate() -> None:
    assert read({"prompt_tokens": 14, "completion_tokens": None, "total_tokens": None}) == Usage(14, 0, estimated=True)


def test_an_unknown_input_leaves_everything_unknown() -> None:
    assert read({"prompt_tokens": None, "completion_tokens": 4}) is None


def test_the_total_gives_the_one_missing_number() -> None:
    assert read({"prompt_tokens": 14, "total_tokens": 20}) == Usage(14, 6)
    assert read({"completion_tokens": 6, "total_tokens": 20}) == Usage(14, 6)
    assert read({"total_tokens": 20}, has_output=False) == Usage(20, 0)


def test_an_api_without_output_needs_no_output_count() -> None:
    assert read({"prompt_tokens": 8, "total_tokens": 8}, has_output=False) == Usage(8, 0)
    assert read({"prompt_tokens": 8}, has_output=False) == Usage(8, 0)


@pytest.mark.parametrize(
    ("odd", "clamped"),
    [(-5, 0), (2**31 + 1, MAX_COUNT), (10**18, MAX_COUNT), (10**30, MAX_COUNT), (7.9, 7), (1e300, MAX_COUNT)],
)
def test_an_absurd_count_is_clamped_and_suspect(odd: float, clamped: int) -> None:
    assert read(CHAT | {"completion_tokens": odd, "total_tokens": None}) == Usage(10, clamped, suspect=True)


@pytest.mark.parametrize("odd", ["5", True, [5], {"n": 5}])
def test_a_count_that_is_no_number_is_unknown_and_suspect(odd: object) -> None:
    assert read({"prompt_tokens": 10, "completion_tokens": odd}) == Usage(10, 0, estimated=True, suspect=True)


def test_an_absurd_detail_does_not_lose_the_rest() -> None:
    odd = CHAT | {"prompt_tokens_details": {"cached_tokens": -1}, "completion_tokens_details": "none"}
    assert read(odd) == Usage(10, 5, suspect=True)


def test_cumulative_counts_are_replaced_not_summed() -> None:
    first, later = Counts(input=10, output=1, cached=4), Counts(input=10, output=7)
    assert first.then(later) == Counts(input=10, output=7, cached=4)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [*CHAT, "input_tokens", "output_tokens", "cached_tokens", "prompt_tokens_details", "completion_tokens_details"]
)


@given(st.dictionaries(NAMES, JSON, max_size=6))
def test_whatever_a_provider_reports_the_counts_stay_in_range(reported: dict[str, Any]) -> None:
    usage = read(reported)
    if usage is not None:
        assert 0 <= usage.input_tokens <= 2 * MAX_COUNT
        assert 0 <= usage.output_tokens <= 2 * MAX_COUNT
        assert 0 <= usage.cached_input_tokens <= MAX_COUNT


@given(st.binary(max_size=60))
def test_bytes_that_are_no_usage_are_unknown(raw: bytes) -> None:
    counts_of(raw)
