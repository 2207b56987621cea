"""Money is integers: exact, rounded up once, never negative."""

from dataclasses import fields, replace
from fractions import Fraction

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from router.domain.usage import NanoUSD, Price, Usage, usd_text

counts = st.integers(0, 10**7)
prices = st.one_of(st.none(), st.integers(0, 10**12))
known_prices = st.integers(0, 10**12)
usages = st.builds(
    Usage,
    input_tokens=counts,
    output_tokens=counts,
    cached_input_tokens=counts,
    cache_write_tokens=counts,
    reasoning_tokens=counts,
    audio_input_tokens=counts,
    audio_output_tokens=counts,
)
price_lists = st.builds(
    Price,
    known_prices,
    known_prices,
    cached_input=prices,
    cache_write=prices,
    reasoning=prices,
    audio_input=prices,
    audio_output=prices,
)


def test_a_plain_call_costs_its_tokens_times_the_price() -> None:
    price = Price(input=250_000_000, output=2_000_000_000)
    assert price.of(Usage(input_tokens=1000, output_tokens=500)) == 250_000 + 1_000_000


def test_a_fraction_of_a_nano_dollar_is_rounded_up_once() -> None:
    assert Price(input=37_500_000, output=0).of(Usage(input_tokens=1)) == 38
    assert Price(input=37_500_000, output=0).of(Usage(input_tokens=2)) == 75


def test_cached_tokens_cost_their_own_price_and_only_that() -> None:
    price = Price(input=1_000_000, output=0, cached_input=100_000)
    assert price.of(Usage(input_tokens=10, cached_input_tokens=4)) == 7  # 6 x 1 + 4 x 0.1 = 6.4


def test_reasoning_is_charged_as_output_where_it_has_no_price_of_its_own() -> None:
    usage = Usage(output_tokens=10, reasoning_tokens=10)
    assert Price(input=0, output=2_000_000).of(usage) == 20
    assert Price(input=0, output=2_000_000, reasoning=0).of(usage) == 0


@given(price_lists, usages)
def test_a_cost_is_never_negative_and_never_above_the_dearest_price_for_every_token(price: Price, usage: Usage) -> None:
    cost = price.of(usage)
    all_prices = [getattr(price, name) or 0 for name in Price.__dataclass_fields__]
    assert 0 <= cost <= -(-usage.total_tokens * max(all_prices) // 10**6)


@given(price_lists, usages, st.sampled_from(["input_tokens", "output_tokens"]), st.integers(1, 1000))
def test_more_tokens_never_cost_less_whatever_their_parts_are_said_to_be(
    price: Price, usage: Usage, what: str, more: int
) -> None:
    grown = msgspec.structs.replace(usage, **{what: getattr(usage, what) + more})
    assert price.of(grown) >= price.of(usage)


INPUT_PARTS = ("cached_input_tokens", "cache_write_tokens", "audio_input_tokens")
OUTPUT_PARTS = ("reasoning_tokens", "audio_output_tokens")


@given(price_lists, st.lists(counts, min_size=7, max_size=7), st.sampled_from([*INPUT_PARTS, *OUTPUT_PARTS]), counts)
def test_more_of_any_part_never_costs_less(price: Price, some: list[int], part: str, more: int) -> None:
    parts = dict(zip((*INPUT_PARTS, *OUTPUT_PARTS), some, strict=False))
    sums = [some[n] + sum(parts[name] for name in names) for n, names in ((5, INPUT_PARTS), (6, OUTPUT_PARTS))]
    whole = msgspec.structs.replace(Usage(sums[0], sums[1]), **parts)
    side = "input_tokens" if part in INPUT_PARTS else "output_tokens"
    grown = msgspec.structs.replace(whole, **{part: getattr(whole, part) + more, side: getattr(whole, side) + more})
    assert price.of(grown) >= price.of(whole)


@given(price_lists, usages, st.sampled_from([f.name for f in fields(Price) if f.init]), st.integers(1, 10**12))
def test_a_dearer_price_never_costs_less(price: Price, usage: Usage, name: str, more: int) -> None:
    before = getattr(price, name)
    if before is not None:
        assert replace(price, **{name: before + more}).of(usage) >= price.of(usage)


@given(price_lists, usages, st.integers(1, 50))
def test_a_cost_in_pieces_is_never_below_the_cost_of_the_whole(price: Price, usage: Usage, times: int) -> None:
    """Each attempt is rounded up by itself, so nothing is gained by cutting."""
    whole = msgspec.structs.replace(
        usage, input_tokens=usage.input_tokens * times, output_tokens=usage.output_tokens * times
    )
    plain = Price(price.input, price.output)
    assert plain.of(whole) <= plain.of(usage) * times < plain.of(whole) + times


@given(st.integers(-(10**18), 10**18))
def test_money_as_text_is_exact(amount: int) -> None:
    assert Fraction(usd_text(NanoUSD(amount))) == Fraction(amount, 10**9)


def test_money_as_text_has_no_exponent() -> None:
    assert usd_text(NanoUSD(1)) == "0.000000001"
    assert usd_text(NanoUSD(0)) == "0.0"
    assert usd_text(NanoUSD(12 * 10**9)) == "12.0"
