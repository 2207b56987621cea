"""Hard budgets cannot be overshot, whatever happens to requests; what is refused has consumed nothing."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, cast

import pytest

from router.domain.budgets import Budget, BudgetMode, BudgetScope, BudgetTerms, Lease, Period, Standing
from router.domain.errors import (
    BudgetExceeded,
    InvalidRequest,
    PriceUnknown,
    UnsupportedFeature,
    UpstreamFault,
)
from router.domain.flow import pieces_of
from router.domain.ledger import OpenedAttempt, Outcome
from router.domain.limits import UNLIMITED, LimitScope, Refusal, Resource
from router.domain.requests import Api, Kind, parse_request
from router.domain.routes import Alias, Strategy, Target
from router.domain.upstream import FailureKind, TransportFailure
from router.domain.usage import NanoUSD, Price
from router.gateway.admit import OverLimit
from router.gateway.generation import Generation
from router.providers.registry import BoundProvider
from tests.gateway.fakes import DONE, BudgetTable, ListJournal, Scripted, answer, chat, frame, principal, status
from tests.gateway.table import PRICE, Table, alias

HARD = BudgetTerms()
SOFT = BudgetTerms(BudgetMode.SOFT)


class LoopTasks:
    """Spawned work runs on the loop."""

    def __init__(self) -> None:
        self.running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.running.add(task)
        task.add_done_callback(self.running.discard)


class Counting(Table):
    """A table with one tenant budget, whose flush posts what is settled."""

    def __init__(self, limit: int, *aliases: Alias, terms: BudgetTerms = HARD, **scripts: Any) -> None:
        super().__init__(*(aliases or (alias("a", "p"),)), **scripts)
        self.purses._tasks = self.loop_tasks = LoopTasks()
        self.budget = Budget(BudgetScope.TENANT, "t1", NanoUSD(limit), terms)
        self.who = principal(budgets=(self.budget,))

    def flush(self) -> None:
        for entry in self.ledger.entries:
            self.rows.post(entry)
            for attempt in entry.attempts:
                for posting in attempt.postings:
                    self.purses.flushed(posting.budget, posting.period, attempt.cost)
        self.ledger.entries.clear()

    @property
    def spent(self) -> int:
        return sum(a.cost for e in self.ledger.entries for a in e.attempts) + sum(self.rows.posted.values())


def bound(request_bytes: int, cap: int) -> int:
    return -(-((request_bytes + 64) * PRICE.input + cap * PRICE.output) // 10**6)


REQUEST = chat(max_tokens=50)
R = bound(len(REQUEST.body), 50)


async def ask(table: Counting, request: Any = REQUEST) -> Any:
    async with table.open(request, table.who) as got:
        if got.frames is not None:
            async for _ in pieces_of(got.frames):
                pass
        return got


async def ask_until_refused(table: Counting, *, flushing: bool = False) -> None:
    for _ in range(10_000):
        await ask(table)
        if flushing:
            table.flush()


async def test_a_request_within_the_budget_is_held_then_charged_what_it_used() -> None:
    table = Counting(100 * R, p=[answer(prompt=10, completion=5)])
    await ask(table)
    entry = table.entry
    assert entry.attempts[0].held == R and entry.cost == 20
    [posting] = entry.attempts[0].postings
    assert posting.budget == "tenant:t1" and posting.is_leased


async def test_a_request_that_could_pass_the_limit_is_refused_and_nothing_is_sent() -> None:
    table = Counting(R - 1, p=[answer()])
    with pytest.raises(BudgetExceeded, match=r"budget of this tenant has no room for a request that may cost .*: limit"):
        await ask(table)
    assert table.transport.calls == [] and table.limiter.asked == [] and table.ledger.entries == []


async def test_what_the_limiter_refuses_gives_its_money_back() -> None:
    table = Counting(R, p=[answer()])
    table.limiter.refusal = Refusal(LimitScope.KEY, "k1", Resource.REQUESTS, 1, 100, UNLIMITED)
    with pytest.raises(OverLimit):
        await ask(table)
    table.limiter.refusal = None
    await ask(table)


async def test_most_requests_touch_no_database() -> None:
    table = Counting(10_000 * R, p=[answer()])
    for _ in range(100):
        await ask(table)
    assert table.rows.takes <= 3


async def test_a_budget_is_used_up_to_less_than_one_request() -> None:
    table = Counting(10 * R, p=[answer(prompt=10, completion=5)])
    served = 0
    while True:
        try:
            await ask(table)
        except BudgetExceeded:
            break
        served += 1
        table.flush()
        await table.purses.tidy()
    assert served > 10 and table.spent <= 10 * R and 10 * R - table.spent < R


async def test_many_at_once_on_two_processes_never_pass_the_limit() -> None:
    one, two = (
        Counting(10 * R, p=[answer(prompt=100, completion=50)]),
        Counting(10 * R, p=[answer(prompt=100, completion=50)]),
    )
    two.rows = one.rows
    two.purses._store = one.rows
    one.processes = two.processes = 2
    results = await asyncio.gather(*(ask(t) for _ in range(100) for t in (one, two)), return_exceptions=True)
    refused = [r for r in results if isinstance(r, BudgetExceeded)]
    assert len(refused) + sum(not isinstance(r, BaseException) for r in results) == 200
    one.flush()
    two.flush()
    assert 0 < sum(one.rows.posted.values()) <= 10 * R
    assert all(leased >= 0 for leased in one.rows.leased.values())


@pytest.mark.parametrize(
    ("script", "is_charged"),
    [
        (status(500), False),
        (status(400), False),
        (status(429), False),
        (TransportFailure(FailureKind.CONNECT), False),
        (TransportFailure(FailureKind.RESET), True),
        (TransportFailure(FailureKind.FIRST_BYTE_TIMEOUT), True),
    ],
)
async def test_what_a_failed_attempt_costs(script: Any, is_charged: bool) -> None:
    table = Counting(100 * R, alias("a", "p", max_attempts=1), p=[script])
    with suppress(UpstreamFault):
        await ask(table)
    [purse] = table.purses._purses.values()
    assert (table.entry.cost > 0) is is_charged
    assert purse.held == 0 and purse.spent == table.entry.cost


async def test_each_attempt_holds_its_own_and_the_next_one_may_find_the_budget_empty() -> None:
    dear = Target("q/m", "q", "m", price=Price(input=10**9, output=10**9), priority=1)
    cheap = Target("p/m", "p", "m", price=PRICE)
    both = Alias("a", Kind.CHAT, (cheap, dear), Strategy.PRIORITY)
    table = Counting(2 * R, both, p=[status(500)], q=[answer()])
    with pytest.raises(BudgetExceeded):
        await ask(table)
    assert table.transport.hosts == ["p"] and table.entry.status == 402


async def test_a_caller_who_leaves_before_anything_is_sent_pays_nothing() -> None:
    table = Counting(10 * R, p=[answer()])
    opened = asyncio.Event()

    class Waiting(ListJournal):
        """A journal whose disk is slow."""

        def opened(self, line: OpenedAttempt) -> Any:
            opened.set()
            return asyncio.get_running_loop().create_future()

    table.gateway.treasury.journal = Waiting()
    task = asyncio.create_task(ask(table))
    await opened.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert table.transport.calls == [] and table.entry.cost == 0 and table.entry.outcome is Outcome.CANCELLED
    [purse] = table.purses._purses.values()
    assert purse.held == 0


async def test_what_an_attempt_held_is_given_out_again_only_when_its_end_is_recorded() -> None:
    """Else a process that dies in between leaves two attempts that are both charged what they held."""
    table = Counting(R, p=[answer(prompt=0, completion=0)])
    later: list[Callable[[], None]] = []
    table.gateway.settler._later = lambda _delay, flush: later.append(flush)
    recorded: list[int] = []

    class Watching(ListJournal):
        def opened(self, line: OpenedAttempt) -> None:
            recorded.append(len(table.ledger.entries))

    table.gateway.treasury.journal = Watching()
    for _ in range(3):
        await ask(table)
    [purse] = table.purses._purses.values()
    assert recorded == [0, 1, 2] and purse.held == R and purse.spent == 0
    later[-1]()
    assert purse.held == 0


async def test_a_request_that_cannot_be_built_for_its_target_holds_nothing() -> None:
    table = Counting(10 * R, p=[answer()])

    class Unable:
        """A provider whose dialect cannot say what is asked."""

        spec = table.generation.providers["p"].spec
        dialects = table.generation.providers["p"].dialects

        def prepare(self, *_: Any, **__: Any) -> Any:
            raise UnsupportedFeature("it cannot be said", param="x")

    table.generation = Generation(table.generation.snapshot, {"p": cast(BoundProvider, Unable())})
    with pytest.raises(UnsupportedFeature, match="cannot be said"):
        await ask(table)
    [purse] = table.purses._purses.values()
    assert purse.held == 0 and table.entry.cost == 0


class SlowRows(BudgetTable):
    """Takes a lease when the gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.gate = asyncio.Event(), asyncio.Event()

    async def take(self, budget: Budget, period: Period, need: int, processes: int) -> Lease | Standing:
        self.begun.set()
        await self.gate.wait()
        return await super().take(budget, period, need, processes)


async def test_a_cancelled_lease_is_booked_all_the_same() -> None:
    table = Counting(100 * R, p=[answer()])
    table.purses._store = rows = SlowRows()
    task = asyncio.create_task(ask(table))
    await rows.begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    rows.gate.set()
    await asyncio.gather(*table.loop_tasks.running)
    await table.purses.close()
    assert sum(rows.leased.values()) == 0


async def test_a_stream_that_ignores_its_cap_ends_with_an_error_one_event_past_its_hold() -> None:
    request = chat(stream=True, max_tokens=3)
    table = Counting(100 * R, p=[Scripted(pieces=[frame(f"w{i}") for i in range(50)] + [DONE])])
    seen = b""

    async def read() -> None:
        nonlocal seen
        async with table.open(request, table.who) as got:
            assert got.frames is not None
            async for part in pieces_of(got.frames):
                seen += part

    with pytest.raises(BudgetExceeded):
        await read()
    assert seen.count(b"data:") == 4
    assert table.entry.outcome is Outcome.OVERRUN and table.entry.usage.output_tokens == 4


async def test_an_answer_above_its_hold_is_charged_in_full() -> None:
    table = Counting(3 * R, p=[answer(prompt=10, completion=10**6)])
    await ask(table)
    attempt = table.entry.attempts[0]
    assert attempt.cost > attempt.held
    table.flush()
    assert all(leased >= 0 for leased in table.rows.leased.values())
    with pytest.raises(BudgetExceeded):
        await ask(table)


async def test_under_a_hard_budget_the_alias_cap_is_sent_where_the_caller_gave_none() -> None:
    table = Counting(10**12, alias("a", "p", max_output_tokens=77), p=[answer()])
    await ask(table, chat())
    body = table.transport.calls[0].body
    assert isinstance(body, bytes) and b'"max_tokens":77' in body


async def test_without_any_cap_a_hard_budget_says_what_is_missing() -> None:
    table = Counting(10**12, p=[answer()])
    with pytest.raises(InvalidRequest, match="max_output_tokens of 'a'"):
        await ask(table, chat())


async def test_a_soft_budget_never_refuses_but_counts() -> None:
    table = Counting(1, p=[answer()], terms=SOFT)
    for _ in range(2):
        await ask(table, chat())
    got = await ask(table, chat())
    assert got.purse is not None and got.purse.spent == 60
    assert not table.ledger.entries[0].attempts[0].postings[0].is_leased
    assert table.rows.takes == 0


async def test_an_unknown_price_is_refused_under_a_hard_budget() -> None:
    table = Counting(10**9, Alias("a", Kind.CHAT, (Target("p/m", "p", "m"),)), p=[answer()])
    with pytest.raises(PriceUnknown):
        await ask(table)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ],
)
async def test_content_of_unknown_size_is_refused_by_name_unless_the_alias_says_what_it_may_cost(
    part: dict[str, Any],
) -> None:
    request = chat(messages=[{"role": "user", "content": [part]}], max_tokens=5)
    with pytest.raises(UnsupportedFeature, match="cannot be known under a hard budget"):
        await ask(Counting(10**12, p=[answer()]), request)
    table = Counting(10**12, alias("a", "p", max_request=NanoUSD(5 * R)), p=[answer()])
    await ask(table, request)
    assert table.entry.attempts[0].held == 5 * R


async def test_an_embedding_needs_no_output_cap() -> None:
    vectors = Alias("v", Kind.EMBEDDINGS, (Target("p/m", "p", "m", price=PRICE),))
    body = b'{"data":[],"usage":{"prompt_tokens":3,"total_tokens":3}}'
    table = Counting(10**9, vectors, p=[Scripted(body=body)])
    await ask(table, parse_request(Api.EMBEDDINGS, b'{"model":"v","input":"hello"}'))
    assert table.entry.cost == 3


async def test_several_budgets_are_held_together_or_not_at_all() -> None:
    table = Counting(100 * R, p=[answer()])
    small = Budget(BudgetScope.KEY, "k1", NanoUSD(R - 1))
    table.who = principal(budgets=(table.budget, small))
    with pytest.raises(BudgetExceeded, match="of this key"):
        await ask(table)
    assert all(purse.held == 0 for purse in table.purses._purses.values())
