"""What a process does with what it has leased, and what it writes and tells of it."""

from collections.abc import Callable
from typing import Any

import pytest

from router.domain.budgets import BudgetTerms
from router.domain.errors import BudgetExceeded, StorageUnavailable
from router.domain.routes import Strategy
from router.gateway.purses import IDLE_S
from tests.gateway.fakes import DONE, USAGE_FRAME, Scripted, answer, chat, frame, status
from tests.gateway.table import alias
from tests.gateway.test_budgets import Counting, R, ask, ask_until_refused


async def test_without_the_database_requests_go_on_within_what_is_leased() -> None:
    table = Counting(1000 * R, p=[answer(prompt=10, completion=40)])
    await ask(table)
    leased = sum(table.rows.leased.values())
    table.rows.failure = StorageUnavailable("gone")
    with pytest.raises(StorageUnavailable):
        await ask_until_refused(table)
    assert leased - 2 * R < table.spent <= leased


async def test_an_idle_lease_is_given_back_and_so_is_one_somebody_else_wants() -> None:
    table = Counting(1000 * R, p=[answer()])
    await ask(table)
    table.flush()
    table.clock.pass_(IDLE_S + 1)
    await table.purses.tidy()
    assert sum(table.rows.leased.values()) == 0
    await ask(table)
    table.flush()
    table.rows.asked_back = list(table.rows.leased)
    await table.purses.give_to_others()
    assert sum(table.rows.leased.values()) == 0


async def test_an_expired_lease_reserves_nothing_until_it_is_taken_anew() -> None:
    table = Counting(1000 * R, p=[answer()])
    await ask(table)
    takes = table.rows.takes
    table.clock.pass_(3601)
    await ask(table)
    assert table.rows.takes == takes + 1


async def test_the_journal_has_the_attempt_before_it_is_sent_and_nothing_is_sent_without_it() -> None:
    table = Counting(1000 * R, alias("a", "p", "q", strategy=Strategy.PRIORITY), p=[status(500)], q=[answer()])
    await ask(table)
    assert table.journal.kinds() == ["opened", "ended", "opened"]
    table.journal.is_full = True
    before = len(table.transport.calls)
    with pytest.raises(StorageUnavailable):
        await ask(table)
    assert len(table.transport.calls) == before


async def test_a_long_stream_leaves_a_checkpoint_a_second() -> None:
    clock: list[Callable[[float], None]] = []

    class Slow(Scripted):
        async def chunks(self) -> Any:
            for piece in self.pieces:
                clock[0](0.5)
                yield piece

    script = Slow(pieces=[frame(f"w{i}") for i in range(6)] + [frame(finish="stop"), USAGE_FRAME + DONE])
    table = Counting(1000 * R, p=[script])
    clock.append(table.clock.pass_)
    await ask(table, chat(stream=True, max_tokens=50))
    tokens = [line[2] for kind, line in table.journal.lines if kind == "progressed" and isinstance(line, tuple)]
    assert len(tokens) >= 3 and tokens == sorted(tokens)


async def test_past_the_threshold_and_at_the_end_somebody_is_told_once() -> None:
    table = Counting(40 * R, p=[answer(prompt=10, completion=45)], terms=BudgetTerms(warning_ppm=500_000))
    with pytest.raises(BudgetExceeded):
        await ask_until_refused(table, flushing=True)
    kinds = [type(alert).__name__ for alert in table.alerts]
    assert kinds == ["BudgetThreshold", "BudgetExhausted"]
