"""The order of targets is a pure function of alias, health and draw."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.requests import Kind
from router.domain.routes import (
    ALL_WELL,
    Alias,
    HealthView,
    Strategy,
    Target,
    dice_of,
    first_choice_chances,
    order_targets,
    weighted_order,
)
from router.domain.usage import Price


def target(name: str, weight: int = 1, priority: int = 0, price: Price | None = None) -> Target:
    return Target(f"{name}/m", name, "m", weight=weight, priority=priority, price=price)


def alias(*targets: Target, strategy: Strategy = Strategy.WEIGHTED) -> Alias:
    return Alias("a", Kind.CHAT, targets, strategy)


def names(targets: Sequence[Target]) -> list[str]:
    return [t.provider for t in targets]


def order(of: Alias, draw: float = 0.5, health: HealthView = ALL_WELL, key: str = "") -> list[str]:
    return names(order_targets(of, of.targets, health, draw, key))


def test_weights_are_the_chances_of_being_first() -> None:
    targets = [target("a", 80), target("b", 20)]
    steps = 10_000
    first = Counter(weighted_order(targets, i / steps)[0][0].provider for i in range(steps))
    assert first == {"a": 8000, "b": 2000}


def test_the_second_place_is_drawn_by_weight_among_the_rest() -> None:
    targets = [target("a", 50), target("b", 30), target("c", 20)]
    steps = 30_000
    orders = Counter("".join(names(weighted_order(targets, (i + 0.5) / steps)[0])) for i in range(steps))
    assert orders["abc"] / steps == pytest.approx(0.5 * 0.6, abs=0.01)
    assert orders["acb"] / steps == pytest.approx(0.5 * 0.4, abs=0.01)
    assert orders["bac"] / steps == pytest.approx(0.3 * 5 / 7, abs=0.01)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=8), st.floats(0, 1, exclude_max=True))
def test_every_target_is_in_the_order_once(weights: list[int], draw: float) -> None:
    targets = [target(str(i), w) for i, w in enumerate(weights)]
    assert sorted(names(weighted_order(targets, draw)[0])) == sorted(names(targets))


_MANY = st.lists(
    st.builds(
        lambda weight, priority, cost: target("t", weight, priority, Price(cost, cost) if cost else None),
        *(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)),
    ),
    min_size=1,
    max_size=12,
)


@given(_MANY, st.floats(0, 1, exclude_max=True), st.sampled_from(Strategy))
def test_the_dice_know_the_first_without_the_others(targets: list[Target], draw: float, strategy: Strategy) -> None:
    of = alias(*(replace(each, id=f"{i}") for i, each in enumerate(targets)), strategy=strategy)
    some = {each.id: number % 2 for number, each in enumerate(of.targets) if number % 3}
    health = HealthView(busy=some, latency_ms={known: 100.0 * value for known, value in some.items()})
    dice = dice_of(strategy, of.targets, health)
    total = sum(each.weight for each in targets)
    for at in (draw, *(edge / total for edge in range(total))):
        assert of.targets[dice.throw(at)] == order_targets(of, of.targets, health, at, "")[0]


def test_who_is_first_tells_nothing_of_who_follows_in_the_next_rank() -> None:
    of = alias(target("a"), target("b"), target("c", priority=1), target("d", priority=1))
    steps = 4000
    pairs = Counter("".join(order(of, (i + 0.5) / steps)[::2]) for i in range(steps))
    assert pairs == dict.fromkeys(("ac", "ad", "bc", "bd"), steps // 4)


def test_a_target_of_weight_zero_is_only_a_last_resort() -> None:
    of = alias(target("off", 0), target("on", 1))
    assert all(order(of, i / 100) == ["on", "off"] for i in range(100))


def test_weighted_targets_of_a_lower_priority_number_come_first() -> None:
    of = alias(target("spare", 100, priority=1), target("main", 1))
    assert all(order(of, i / 100) == ["main", "spare"] for i in range(100))


def test_priority_keeps_the_file_order_among_equals() -> None:
    of = alias(target("a", 1, 2), target("b", 9, 1), target("c", 9, 1), strategy=Strategy.PRIORITY)
    assert {tuple(order(of, i / 10)) for i in range(10)} == {("b", "c", "a")}


def test_least_busy_goes_by_load_per_weight() -> None:
    of = alias(target("a", 1), target("b", 4), strategy=Strategy.LEAST_BUSY)
    health = HealthView(busy={"a/m": 2, "b/m": 4})
    assert order(of, 0.0, health) == ["b", "a"]


def test_latency_goes_to_the_fastest_and_tries_the_unmeasured_first() -> None:
    of = alias(target("slow"), target("fast"), target("new"), strategy=Strategy.LATENCY)
    assert order(of, 0.1, HealthView(latency_ms={"slow/m": 900.0, "fast/m": 80.0})) == ["new", "fast", "slow"]


def test_cost_goes_to_the_cheapest_and_unknown_prices_come_last() -> None:
    of = alias(
        target("unknown"), target("dear", price=Price(9, 9)), target("cheap", price=Price(1, 1)), strategy=Strategy.COST
    )
    assert order(of) == ["cheap", "dear", "unknown"]


def test_a_half_open_target_is_tried_first() -> None:
    of = alias(target("a", 100), target("b", 1))
    assert order(of, 0.0, HealthView(trial=frozenset({"b/m"}))) == ["b", "a"]


def test_an_affinity_key_always_leads_to_the_same_target_and_others_do_not_move_it() -> None:
    three = alias(target("a"), target("b"), target("c"))
    homes = {f"k{i}": order(three, key=f"k{i}")[0] for i in range(300)}
    assert len(set(homes.values())) == 3
    without_c = alias(target("a"), target("b"))
    moved = [k for k, home in homes.items() if home != "c" and order(without_c, key=k)[0] != home]
    assert moved == []


def test_the_chances_that_explain_prints_are_those_of_the_draw() -> None:
    of = alias(target("a", 3), target("b", 1), target("c", 5, priority=1))
    steps = 4000
    first = Counter(order(of, (i + 0.5) / steps)[0] for i in range(steps))
    chances = first_choice_chances(of, of.targets, ALL_WELL)
    chances_by_name = {t: chances[f"{t}/m"] for t in "abc"}
    assert chances_by_name == {"a": 0.75, "b": 0.25, "c": 0.0}
    assert {t: first[t] / steps for t in "abc"} == pytest.approx(chances_by_name, abs=0.001)
