"""The in-memory limiter against a naive model, over any minute, and over many subjects."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.domain.limits import LimitRule, Limits, LimitScope, Refusal
from router.domain.ports import Reservation
from router.limits.memory import MemoryLimiter
from tests.gateway.fakes import FakeClock


def decide(limiter: MemoryLimiter, rules: Sequence[LimitRule], tokens: int) -> Reservation | Refusal:
    """The limiter in memory never waits: its coroutine ends at the first step."""
    with pytest.raises(StopIteration) as ended:
        limiter.acquire(rules, tokens).send(None)
    decision: Reservation | Refusal = ended.value.value
    return decision


@dataclass
class Event:
    at_us: int
    tokens: int


@dataclass
class Model:
    """One subject, told as plainly as possible: every request ever, and the seconds that have not left the minute."""

    events: list[Event] = field(default_factory=list)
    parallel: int = 0

    def alive(self, now_us: int) -> list[Event]:
        lasts: dict[int, int] = {}
        for event in self.events:
            lasts[event.at_us // 1_000_000] = event.at_us
        return [e for e in self.events if lasts[e.at_us // 1_000_000] > now_us - 60_000_000]

    def held(self, limits: Limits, tokens: int) -> int:
        return tokens if limits.tokens is None else min(tokens, limits.tokens)

    def admits(self, limits: Limits, tokens: int, now_us: int) -> bool:
        alive = self.alive(now_us)
        used = sum(e.tokens for e in alive)
        return (
            (limits.requests is None or len(alive) < limits.requests)
            and (limits.tokens is None or used + self.held(limits, tokens) <= limits.tokens)
            and (limits.parallel is None or self.parallel < limits.parallel)
        )


RULES = (
    LimitRule(LimitScope.KEY, "a", Limits(5, 1000, 2)),
    LimitRule(LimitScope.KEY, "b", Limits(None, 400, None)),
    LimitRule(LimitScope.TENANT, "t", Limits(8, None, 4)),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.sampled_from([1, 250, 999, 1000, 1001, 7000, 29_500, 59_999, 60_000]), st.just(0)),
        st.tuples(st.just("ask"), st.integers(1, 7), st.integers(0, 1500)),
        st.tuples(st.just("settle"), st.integers(0, 5), st.integers(0, 2000)),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_decisions_and_remainders_are_those_of_a_naive_model(steps: list[tuple[str, int, int]]) -> None:
    clock = FakeClock()
    limiter = MemoryLimiter(clock)
    models = {rule.subject: Model() for rule in RULES}
    open_: list[tuple[Reservation, list[tuple[Model, Event]]]] = []
    for kind, number, tokens in steps:
        now_us = int(clock.monotonic() * 1e6)
        if kind == "pass":
            clock.pass_(number / 1000)
        elif kind == "settle" and open_:
            reservation, held = open_.pop(number % len(open_))
            reservation.settle(tokens)
            for model, event in held:
                model.parallel -= 1
                event.tokens = tokens
        elif kind == "ask":
            rules = [rule for bit, rule in enumerate(RULES) if number >> bit & 1]
            decision = decide(limiter, rules, tokens)
            expected = all(models[r.subject].admits(r.limits, tokens, now_us) for r in rules)
            assert isinstance(decision, Refusal) is not expected
            if isinstance(decision, Refusal):
                assert 1 <= decision.retry_after_ms <= 61_000
            else:
                open_.append((decision, [_take(models[r.subject], r.limits, tokens, now_us) for r in rules]))
            _check_remainders(decision, rules, models, now_us)


def _take(model: Model, limits: Limits, tokens: int, now_us: int) -> tuple[Model, Event]:
    event = Event(now_us, model.held(limits, tokens))
    model.events.append(event)
    model.parallel += 1
    return model, event


def _check_remainders(
    decision: Reservation | Refusal, rules: Sequence[LimitRule], models: dict[str, Model], now_us: int
) -> None:
    alive = [(rule.limits, models[rule.subject].alive(now_us)) for rule in rules]
    requests = [limits.requests - len(events) for limits, events in alive if limits.requests is not None]
    tokens = [limits.tokens - sum(e.tokens for e in events) for limits, events in alive if limits.tokens is not None]
    assert decision.allowance.remaining_requests == (max(min(requests), 0) if requests else None)
    assert decision.allowance.remaining_tokens == (max(min(tokens), 0) if tokens else None)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 3, allow_nan=False), max_size=300), st.integers(1, 30))
def test_no_minute_anywhere_sees_more_than_the_limit(pauses: list[float], limit: int) -> None:
    clock = FakeClock()
    limiter = MemoryLimiter(clock)
    rule = LimitRule(LimitScope.KEY, "k", Limits(requests=limit, tokens=limit * 10))
    admitted: list[float] = []
    for pause in pauses:
        clock.pass_(pause)
        if not isinstance(decide(limiter, [rule], 10), Refusal):
            admitted.append(clock.monotonic())
    for first, start in enumerate(admitted):
        assert sum(start <= at < start + 59.999_999 for at in admitted[first:]) <= limit


def test_a_steady_caller_at_exactly_the_limit_is_never_refused() -> None:
    clock = FakeClock()
    limiter = MemoryLimiter(clock)
    rule = LimitRule(LimitScope.KEY, "k", Limits(requests=60))
    for _ in range(600):
        assert not isinstance(decide(limiter, [rule], 0), Refusal)
        clock.pass_(1.0)


def test_ten_thousand_random_requests_leave_nothing_in_flight() -> None:
    chance, clock = random.Random(7), FakeClock()
    limiter = MemoryLimiter(clock)
    keys = [LimitRule(LimitScope.KEY, f"k{n}", Limits(300, 500_000, 20)) for n in range(5)]
    whole = LimitRule(LimitScope.TENANT, "t", Limits(None, None, 60))
    open_: list[Reservation] = []
    refusals = 0
    for _ in range(10_000):
        clock.pass_(chance.random() / 20)
        if open_ and chance.random() < 0.45:
            settled = open_.pop(chance.randrange(len(open_)))
            settled.settle(chance.randrange(3000))
            settled.settle(chance.randrange(3000))
        decision = decide(limiter, [chance.choice(keys), whole], chance.randrange(2000))
        if isinstance(decision, Refusal):
            refusals += 1
        else:
            open_.append(decision)
    assert refusals > 100
    assert limiter.in_flight(LimitScope.TENANT, "t") == len(open_) > 0
    for reservation in open_:
        reservation.settle(1)
    assert [limiter.in_flight(rule.scope, rule.subject) for rule in (*keys, whole)] == [0] * 6


def test_a_hundred_thousand_idle_keys_are_forgotten_and_busy_ones_are_not() -> None:
    clock = FakeClock()
    limiter = MemoryLimiter(clock)
    limits = Limits(10, None, 5)
    busy = LimitRule(LimitScope.KEY, "busy", limits)
    in_flight = decide(limiter, [busy], 0)
    for n in range(100_000):
        decision = decide(limiter, [LimitRule(LimitScope.KEY, f"k{n}", limits)], 0)
        assert not isinstance(decision, Refusal)
        decision.settle(0)
    assert limiter.subjects == 100_001
    clock.pass_(61)
    alone = LimitRule(LimitScope.KEY, "alone", Limits(10**6))
    for _ in range(30_000):
        decide(limiter, [alone], 0)
    assert limiter.subjects == 2
    assert limiter.in_flight(LimitScope.KEY, "busy") == 1
    assert not isinstance(in_flight, Refusal)
    in_flight.settle(0)
    assert limiter.in_flight(LimitScope.KEY, "busy") == 0
