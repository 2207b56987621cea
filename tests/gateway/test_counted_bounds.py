"""Near the end of a budget a request is held at its tokens where they are certain, and at its bytes everywhere else."""

from collections.abc import Sequence
from typing import Any

import pytest

from router.domain.alerts import Alert
from router.domain.budgets import Budget, BudgetMode, BudgetScope, BudgetTerms
from router.domain.errors import BudgetExceeded
from router.domain.requests import Api, Kind, parse_request
from router.domain.routes import Alias, Candidate, Target
from router.domain.usage import NanoUSD, Price
from router.gateway.bounds import bound_of
from router.gateway.purses import Hold, Purses
from router.gateway.reach import Reach
from router.gateway.texts import texts_of
from router.gateway.treasury import Treasury
from tests.gateway.fakes import BudgetTable, FakeClock, ListJournal, chat
from tests.gateway.test_budgets import LoopTasks

PRICE = Price(input=1_000_000, output=2_000_000)
TEXT = "four " * 1000
REQUEST = chat(messages=[{"role": "user", "content": TEXT}], max_tokens=50)
TOKENS = 1001


class Counter:
    """Implements domain.ports.TokenCounter with one answer."""

    def __init__(self, answer: int | None = TOKENS) -> None:
        self.answer = answer
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    async def count(self, tokenizer: str, texts: Sequence[str]) -> int | None:
        self.asked.append((tokenizer, tuple(texts)))
        return self.answer


def candidate(model: str = "gpt-4o", provider_type: str = "openai", **changes: Any) -> Candidate:
    target = Target("p/m", "p", model, price=PRICE, provider_type=provider_type)
    return Candidate(target, Alias("a", Kind.CHAT, (target,), **changes), model, "a")


BY_BYTES = bound_of(REQUEST, candidate()).amount
TEXTS = texts_of(REQUEST)
assert TEXTS is not None
BY_TOKENS = bound_of(REQUEST, candidate(), TEXTS.rest + TOKENS).amount


class Desk:
    """A treasury on doubles, and one budget of a tenant."""

    def __init__(self, limit: int, counter: Counter | None, mode: BudgetMode = BudgetMode.HARD) -> None:
        clock = FakeClock()
        self.alerts: list[Alert] = []
        self.rows = BudgetTable()
        purses = Purses(
            self.rows,
            clock,
            LoopTasks(),
            boottime=clock.monotonic,
            processes=lambda: 1,
            notify=self.alerts.append,
        )
        self.treasury = Treasury(purses, ListJournal(), Reach(clock), counter)
        budget = Budget(BudgetScope.TENANT, "t1", NanoUSD(limit), BudgetTerms(mode))
        self.budgets = purses.of([budget], clock.now_us())

    async def secure(self, at: Candidate | None = None, request: Any = REQUEST) -> Hold:
        secured = await self.treasury.secure(self.budgets, at or candidate(), request)
        assert secured is not None
        return secured

    @property
    def told(self) -> list[str]:
        return [type(alert).__name__ for alert in self.alerts]


def test_the_count_is_far_below_the_bytes() -> None:
    assert BY_TOKENS < BY_BYTES // 3


async def test_where_the_bytes_have_room_nothing_is_counted() -> None:
    counter = Counter()
    secured = await Desk(BY_BYTES, counter).secure()
    assert (secured.bound.amount, secured.funds.hard[0].held, counter.asked) == (BY_BYTES, BY_BYTES, [])


async def test_where_they_have_none_the_tokens_are_held() -> None:
    counter = Counter()
    desk = Desk(BY_BYTES - 1, counter)
    secured = await desk.secure()
    assert (secured.bound.amount, secured.funds.hard[0].held) == (BY_TOKENS, BY_TOKENS)
    assert secured.bound.output_tokens == 50
    assert counter.asked == [("o200k_base", ("user", TEXT))]
    assert desk.told == []


async def test_the_last_room_is_found_to_the_nano() -> None:
    assert (await Desk(BY_TOKENS, Counter()).secure()).bound.amount == BY_TOKENS
    with pytest.raises(BudgetExceeded, match="may cost"):
        await Desk(BY_TOKENS - 1, Counter()).secure()


async def test_requests_go_on_until_the_tokens_have_no_room() -> None:
    desk = Desk(BY_BYTES + 2 * BY_TOKENS, Counter())
    held = [(await desk.secure()).bound.amount for _ in range(3)]
    assert held == [BY_BYTES, BY_TOKENS, BY_TOKENS]
    with pytest.raises(BudgetExceeded):
        await desk.secure()


@pytest.mark.parametrize(
    "at",
    [
        candidate(provider_type="openai-compatible"),
        candidate(provider_type="simulated"),
        candidate("claude-sonnet-4"),
        candidate("gpt-4o-search-preview"),
        candidate(max_request=NanoUSD(BY_BYTES)),
    ],
)
async def test_what_is_not_certain_is_refused_by_its_bytes(at: Candidate) -> None:
    counter = Counter()
    with pytest.raises(BudgetExceeded):
        await Desk(BY_BYTES - 1, counter).secure(at)
    assert counter.asked == []


@pytest.mark.parametrize("counter", [None, Counter(None), Counter(10**9)])
async def test_without_a_count_or_with_one_that_helps_nothing_the_bytes_decide(counter: Counter | None) -> None:
    with pytest.raises(BudgetExceeded):
        await Desk(BY_BYTES - 1, counter).secure()


async def test_content_that_is_no_text_is_not_counted() -> None:
    counter = Counter()
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5000}}]
    with pytest.raises(BudgetExceeded):
        await Desk(5_000, counter).secure(request=chat(messages=[{"role": "user", "content": picture}], max_tokens=50))
    assert counter.asked == []


async def test_a_budget_that_is_used_up_costs_no_count() -> None:
    """Whoever asks on after the end must not keep a core busy."""
    counter = Counter()
    desk = Desk(BY_TOKENS // 20, counter)
    for _ in range(3):
        with pytest.raises(BudgetExceeded):
            await desk.secure()
    assert counter.asked == []


async def _secure_until_refused(desk: Desk, held: list[NanoUSD]) -> None:
    while True:
        held.append((await desk.secure()).bound.amount)


async def test_who_wants_alerts_is_told_of_the_end_only_when_the_count_has_not_helped() -> None:
    desk = Desk(100 * BY_BYTES, Counter())
    [purse] = desk.budgets.purses
    desk.rows.posted[purse.budget.id, purse.period.key] = 99 * BY_BYTES + 1
    held = [(await desk.secure()).bound.amount]
    assert desk.told == []
    with pytest.raises(BudgetExceeded):
        await _secure_until_refused(desk, held)
    assert set(held) == {BY_TOKENS}
    assert desk.told == ["BudgetExhausted"]


async def test_a_soft_budget_counts_nothing() -> None:
    counter = Counter()
    assert (await Desk(1, counter, BudgetMode.SOFT).secure()).bound.amount == 0
    assert counter.asked == []


async def test_an_embedding_is_held_at_its_tokens_too() -> None:
    request = parse_request(Api.EMBEDDINGS, b'{"model":"a","input":["' + TEXT.encode() + b'"]}')
    at = candidate("text-embedding-3-small")
    counter = Counter()
    secured = await Desk(bound_of(request, at).amount - 1, counter).secure(at, request)
    assert counter.asked == [("cl100k_base", (TEXT,))]
    assert secured.bound.amount < bound_of(request, at).amount
