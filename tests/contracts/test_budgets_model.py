"""Budgets against a simple model: processes take, spend, flush, give back, crash and are replayed, in every order."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from msgspec import structs

from router.domain.budgets import Budget, BudgetScope, Lease, Posting, Standing, lease_amount, period_at
from router.domain.errors import StorageUnavailable
from router.domain.ledger import LedgerEntry, Outcome
from router.domain.usage import NanoUSD
from router.storage.audit import audit
from router.storage.budgets import BudgetRows
from router.storage.database import Database
from router.storage.migrate import migrate
from router.storage.usage import UsageTables
from tests.contracts.processes import StillClock
from tests.contracts.test_budgets import LosesAnswers
from tests.stores import ATTEMPT, NOW, CountingIds, entry, open_database

Run = Callable[[Coroutine[Any, Any, Any]], Any]

SCHEDULES = ("calendar_month", "rolling_3d")
STEPS = 40


@dataclass
class Row:
    """The model's row of one budget in its one period, and what each process holds of it."""

    budget: Budget
    period_key: str
    posted: int = 0
    leases: dict[str, int] = field(default_factory=dict)

    @property
    def leased(self) -> int:
        return sum(self.leases.values())

    @property
    def left(self) -> int:
        return self.budget.limit - self.posted - self.leased

    def post(self, cost: int, instance: str) -> None:
        self.posted += cost
        if instance in self.leases:
            self.leases[instance] -= min(cost, self.leases[instance])


@dataclass
class Process:
    """One process's memory, and its journal, which outlives it."""

    name: str
    store: BudgetRows
    answers: LosesAnswers
    idle: dict[str, int]
    unheard: dict[str, int]  # taken, while the answer was lost
    open: list[tuple[int, int]] = field(default_factory=list)  # number of the request, what it holds
    journal: list[LedgerEntry] = field(default_factory=list)


class Budgets(RuleBasedStateMachine):
    """`world` is the database and how to run a coroutine on it; every example has budgets and processes of its own."""

    world: tuple[Database, Run]
    numbers = count(1)

    @initialize(limit=st.integers(20, 400), schedule=st.sampled_from(SCHEDULES))
    def begin(self, limit: int, schedule: str) -> None:
        self.db, self.run = self.world
        self.period = period_at(schedule, "UTC", NOW)
        serial = next(self.numbers)
        budgets = (
            Budget(BudgetScope.TENANT, f"t{serial}", NanoUSD(limit)),
            Budget(BudgetScope.KEY, f"k{serial}", NanoUSD(150)),
        )
        self.rows = [Row(budget, self.period.key) for budget in budgets]
        self.postings = tuple(Posting(budget.id, self.period.key, is_leased=True) for budget in budgets)
        self.living: list[Process] = []
        self.dead: list[Process] = []
        self.costs: dict[str, int] = {}
        self.overrun = 0
        for _ in range(2):
            self.start()

    def process(self, chosen: int) -> Process:
        return self.living[chosen % len(self.living)]

    def start(self) -> None:
        name = f"process-{next(self.numbers)}"
        answers = LosesAnswers(self.db)
        store = BudgetRows(cast(Database, answers), name, StillClock())
        nothing = dict.fromkeys((row.budget.id for row in self.rows), 0)
        self.living.append(Process(name, store, answers, nothing, dict(nothing)))

    @precondition(lambda self: len(self.living) < 3)
    @rule()
    def a_process_starts(self) -> None:
        self.start()

    @rule(who=st.integers(0, 2), which=st.integers(0, 1), need=st.integers(0, 60), is_lost=st.booleans())
    def takes(self, who: int, which: int, need: int, is_lost: bool) -> None:
        process, row = self.process(who), self.rows[which]
        name = row.budget.id
        unheard, before, held = process.unheard[name], row.left, row.leases.get(process.name, 0)
        process.answers.is_losing = is_lost
        try:
            answer = self.run(process.store.take(row.budget, self.period, need, len(self.living)))
        except StorageUnavailable:
            answer = None
        process.answers.is_losing = False
        is_enough = unheard > 0 and unheard >= need
        fits = is_enough or need - unheard <= before
        amount = lease_amount(need - unheard, before, len(self.living)) if fits and not is_enough else 0
        row.leases[process.name] = held + amount
        assert not amount or row.posted + row.leased <= row.budget.limit
        if answer is None:
            process.unheard[name] += amount
            return
        standing = Standing(NanoUSD(row.posted), NanoUSD(row.leased))
        assert answer == (Lease(NanoUSD(unheard + amount), standing) if fits else standing)
        if isinstance(answer, Lease):
            process.idle[name] += answer.amount
            process.unheard[name] = 0

    @rule(who=st.integers(0, 2), held=st.integers(1, 40))
    def a_request_begins(self, who: int, held: int) -> None:
        process = self.process(who)
        if all(idle >= held for idle in process.idle.values()):
            for budget in process.idle:
                process.idle[budget] -= held
            process.open.append((next(self.numbers), held))

    @rule(who=st.integers(0, 2), share=st.integers(0, 100), excess=st.sampled_from((0, 0, 0, 15)))
    def a_request_ends(self, who: int, share: int, excess: int) -> None:
        process = self.process(who)
        if process.open:
            number, held = process.open.pop(0)
            cost = held * share // 100 + excess
            process.journal.append(self.entry(number, cost, held))
            for budget in process.idle:
                process.idle[budget] = max(process.idle[budget] + held - cost, 0)

    def entry(self, number: int, cost: int, held: int, outcome: Outcome = Outcome.OK) -> LedgerEntry:
        attempt = structs.replace(
            ATTEMPT, cost=NanoUSD(cost), held=NanoUSD(held), outcome=outcome, postings=self.postings, usage=ATTEMPT.usage
        )
        return entry(number, cost=NanoUSD(cost), attempts=(attempt,), outcome=outcome, tags=())

    @rule(who=st.integers(0, 2), skipped=st.integers(0, 3), is_forgotten=st.booleans())
    def flushes(self, who: int, skipped: int, is_forgotten: bool) -> None:
        """Some of the journal, one of them twice, some perhaps again; what is not forgotten will be flushed again."""
        process = self.process(who)
        batch = process.journal[skipped:]
        self.write(batch + batch[:1], process.name)
        if is_forgotten:
            del process.journal[skipped:]

    def write(self, batch: list[LedgerEntry], instance: str) -> None:
        self.run(UsageTables(self.db, instance).write_requests(batch))
        for ended in batch:
            if ended.id not in self.costs:
                self.costs[ended.id] = ended.cost
                self.overrun += max(ended.cost - ended.attempts[0].held, 0)
                for row in self.rows:
                    row.post(ended.cost, instance)

    @rule(who=st.integers(0, 2), which=st.integers(0, 1), amount=st.integers(0, 60), is_lost=st.booleans())
    def gives_back(self, who: int, which: int, amount: int, is_lost: bool) -> None:
        process, row = self.process(who), self.rows[which]
        given = min(amount, process.idle[row.budget.id])
        process.idle[row.budget.id] -= given
        process.answers.is_losing = is_lost
        try:
            self.run(process.store.give_back(row.budget.id, row.period_key, given))
        except StorageUnavailable:
            self.run(process.store.wanted())
        process.answers.is_losing = False
        if process.name in row.leases:
            row.leases[process.name] -= min(given, row.leases[process.name])

    @precondition(lambda self: len(self.living) > 1)
    @rule(who=st.integers(0, 2))
    def crashes(self, who: int) -> None:
        process = self.process(who)
        self.living.remove(process)
        self.dead.append(process)

    @precondition(lambda self: self.dead)
    @rule(tries=st.integers(1, 2))
    def a_journal_is_adopted(self, tries: int) -> None:
        process = self.dead.pop(0)
        recovered = [self.entry(number, held, held, Outcome.RECOVERED) for number, held in process.open]
        for _ in range(tries):
            self.write(process.journal + recovered, "")
            self.run(self.living[0].store.settle_instance(process.name))
            for row in self.rows:
                row.leases.pop(process.name, None)

    @precondition(lambda self: self.dead)
    @rule()
    def a_process_is_abandoned(self) -> None:
        process = self.dead.pop(0)
        made = self.run(self.living[0].store.abandon(process.name, Serials(self.numbers)))
        assert sorted(e.cost for e in made) == sorted(n for row in self.rows if (n := row.leases.get(process.name)))
        for row in self.rows:
            row.posted += row.leases.pop(process.name, 0)

    async def check(self, row: Row) -> None:
        expected = Standing(NanoUSD(row.posted), NanoUSD(row.leased))
        assert await self.living[0].store.standing(row.budget, self.period) == expected
        sql = "SELECT instance, remaining_nano FROM leases WHERE budget = $1 AND remaining_nano > 0"
        leases = {found["instance"]: found["remaining_nano"] for found in await self.db.all(sql, row.budget.id)}
        assert leases == {name: left for name, left in row.leases.items() if left}
        assert row.posted + row.leased <= row.budget.limit + self.overrun

    def teardown(self) -> None:
        """Everybody ends in good order; then nothing is leased, and every cost was posted once."""
        for row in self.rows:
            self.run(self.check(row))
        while self.dead:
            self.a_journal_is_adopted(1)
        for process in self.living:
            ended = [self.entry(number, 0, held) for number, held in process.open]
            self.write(process.journal + ended, process.name)
            self.run(process.store.settle_instance(process.name))
            for row in self.rows:
                row.leases.pop(process.name, None)
        for row in self.rows:
            assert row.leased == 0
            self.run(self.check(row))


class Serials(CountingIds):
    def __init__(self, numbers: "count[int]") -> None:
        self._next = numbers


def explore(database_url: str, examples: int) -> None:
    with asyncio.Runner() as runner:
        db = runner.run(open_database(database_url))
        try:
            runner.run(migrate(db, NOW))
            run_state_machine_as_test(
                type("BudgetsHere", (Budgets,), {"world": (db, runner.run), "numbers": count(1)}),
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=STEPS,
                    deadline=None,
                    derandomize=True,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
            assert runner.run(audit(db, NOW)).breaches == ()
        finally:
            runner.run(db.close())


def test_budgets_do_what_the_model_says(database_url: str) -> None:
    explore(database_url, 150 if database_url.startswith("sqlite") else 25)


@pytest.mark.torture
@pytest.mark.timeout(1800)
def test_budgets_do_what_the_model_says_ten_thousand_times(tmp_path: Path) -> None:
    explore(f"sqlite:///{tmp_path}/router.db", 10_000)
