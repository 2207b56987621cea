"""A seed's whole life: processes on one database, requests, outages and deaths; at the end the books against the model."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Protocol

from router.domain.budgets import Budget, BudgetMode, BudgetScope, BudgetTerms
from router.domain.errors import BudgetExceeded, GatewayError
from router.domain.flow import pieces_of
from router.domain.limits import UNLIMITED, LimitScope, Refusal, Resource
from router.domain.requests import Kind
from router.domain.routes import Alias, FallbackReason, Target
from router.domain.usage import NanoUSD, Price
from router.gateway.bounds import Bound
from router.gateway.case import Caller
from router.storage.audit import AuditReport, audit
from router.storage.journal import JournalSettings
from tests.gateway.fakes import chat, principal
from tests.money.database import Weather
from tests.money.loop import VirtualLoop
from tests.money.model import Case, Row, breaches_of, posted_by
from tests.money.process import ModelDisk, Process, VirtualClock
from tests.money.provider import Providers
from tests.storage.test_journal_crash import Killed

BUSY_S = 12.0
MIDNIGHT_US = 1_750_032_000_000_000
PRICES = {
    "p": Price(1_500_001, 2_000_003, cached_input=3_000_000, cache_write=500_000, reasoning=2_500_000),
    "q": Price(2_000_000, 4_000_000, cached_input=200_000, cache_write=2_500_000, reasoning=0),
}
TYPICAL = 500
"""About what one request holds, nano-USD."""


class Site(Protocol):
    """A database that several processes share. `has_order`: what is looked at after a commit is what it left."""

    has_order: bool

    def connect(self, loop: VirtualLoop, weather: Weather, committed: Callable[[], None]) -> Any:
        """The database as a new process has it. `committed` is called after each commit, before anybody learns of it."""

    def look(self, sql: str) -> list[Any]:
        """What is committed, at once."""


class Run:
    """What one seed decides, and everything it leads to."""

    def __init__(self, seed: int, folder: Path, site: Site) -> None:
        self.chance = chance = Random(seed)
        self.loop = VirtualLoop(chance)  # type: ignore[abstract]  # it has what is called
        self.folder = folder
        self.site = site
        self.weather = Weather()
        # Some runs cross midnight while requests are under way.
        before_s = chance.choice((3_600, 3_600, 4)) + 1000
        self.clock = VirtualClock(self.loop, MIDNIGHT_US - before_s * 1_000_000, chance.choice((1, 1, 600)))
        self.providers = Providers(self.loop, is_honest=chance.random() < 0.5)
        self.is_synced = chance.random() < 0.3
        self.deadliness = chance.choice((0.0, 0.05, 0.15, 0.4))
        self.is_over = False
        self.cases: dict[str, Case] = {}
        self.processes: list[Process] = []
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()
        self.leased: dict[tuple[str, str], int] = {}
        self.hard, self.soft = self._budgets()
        self.alias_budgets = {
            name: Budget(BudgetScope.MODEL, name, NanoUSD(chance.randint(1, 15) * TYPICAL), _terms(chance)) for name in "mb"
        }
        self.aliases = self._aliases()
        every = (*self.hard, *self.soft, *self.alias_budgets.values())
        self.limits = {budget.id: budget.limit for budget in every}
        self.hard_ids = {budget.id for budget in every if budget.terms.mode is BudgetMode.HARD}

    def _aliases(self) -> list[Alias]:
        """`m` may hand over to `b` when its budget is used up."""
        targets = tuple(Target(f"{name}/m", name, "m", price=price) for name, price in PRICES.items())
        plain = Alias("a", Kind.CHAT, targets, max_output_tokens=20)
        after = {FallbackReason.BUDGET: ("b",)} if self.chance.random() < 0.5 else {}
        m, b = (replace(plain, name=name, budget=budget) for name, budget in self.alias_budgets.items())
        return [plain, replace(m, fallbacks=after), b]

    def _budgets(self) -> tuple[list[Budget], list[Budget]]:
        chance = self.chance
        hard = [
            Budget(BudgetScope.TENANT, "t1", NanoUSD(chance.randint(1, 25) * TYPICAL), _terms(chance)),
            Budget(BudgetScope.MEMBER, "u1", NanoUSD(chance.randint(2, 30) * TYPICAL), _terms(chance)),
            Budget(BudgetScope.KEY, "k1", NanoUSD(chance.randint(0, 15) * TYPICAL + 7), _terms(chance)),
        ]
        soft = [Budget(BudgetScope.TENANT, "t2", NanoUSD(5 * TYPICAL), BudgetTerms(BudgetMode.SOFT))]
        return hard, soft

    # -- what happens -----------------------------------------------------------------------------------------

    async def play(self) -> None:
        chance, loop = self.chance, self.loop
        if chance.random() < 0.3:
            begins = loop.time() + chance.random() * BUSY_S
            self.weather.outages.append((begins, begins + chance.random() * 5))
        self.weather.lost = chance.choice((0.0, 0.0, 0.02, 0.2))
        if chance.random() < 0.2:
            loop.call_later(chance.random() * BUSY_S, self._change_limits)
        lives = [self._live(chance.random() * (0 if number == 0 else 4)) for number in range(chance.randint(1, 3))]
        asking = [self._ask(f"r{number}", self._moment()) for number in range(chance.randint(5, 40))]
        asked = asyncio.gather(*asking)
        await asyncio.gather(*lives)
        self.is_over = True
        await asked
        self.weather.clear()
        for process in self.processes:
            if not process.is_dead:
                await self._end(process)
        await self._take_stock(await self._start("last"))

    def _change_limits(self) -> None:
        """The operator does; `limits` keeps the larger one, since what was taken under it stays."""
        self.hard = [replace(b, limit=NanoUSD(b.limit * self.chance.randint(0, 30) // 10)) for b in self.hard]
        for budget in self.hard:
            self.limits[budget.id] = max(self.limits[budget.id], budget.limit)

    async def _live(self, after_s: float) -> None:
        """One place for a process: when it is killed, another one starts there."""
        loop = self.loop
        await asyncio.sleep(after_s)
        ends = loop.time() + BUSY_S
        while loop.time() < ends:
            process = await self._start(f"i{len(self.processes)}")
            while not process.is_dead and loop.time() < ends:
                await asyncio.sleep(0.05)
            self.counts["killed"] += process.is_dead

    def _moment(self) -> float:
        """Requests come in crowds."""
        return (self.chance.randrange(6) + self.chance.random() ** 4) * BUSY_S / 6

    def _doom(self, process: Process) -> None:
        """It dies soon: between two steps, or while it writes to its journal."""
        if self.chance.random() < 0.25:
            process.disk.life = self.chance.randint(1, 12)
        else:
            process.steps_left = self.chance.randint(1, self.chance.choice((15, 60, 200)))

    async def _start(self, name: str) -> Process:
        loop, chance = self.loop, self.chance
        db = self.site.connect(loop, self.weather, self._committed)
        process = Process(name, loop, db, ModelDisk(chance.randint(0, 100)))
        self.processes.append(process)
        if chance.random() < 0.1 and name != "last":
            process.steps_left = chance.randint(1, 200)
        settings = JournalSettings(self.folder / "journal", 1, self.is_synced, segment_bytes=3000, segment_s=2.0)
        task = loop.create_task(
            process.start(settings, self.clock, self.providers, self.aliases), context=process.context.copy()
        )
        if await self._ended(task, process):
            task.result()
            process.has_started = True
        return process

    async def _ask(self, name: str, after_s: float) -> None:
        """A caller: it asks whatever process serves, and may leave at any moment."""
        chance, loop = self.chance, self.loop
        await asyncio.sleep(after_s)
        while not (serving := [p for p in self.processes if p.has_started and not p.is_dead]):
            if self.is_over:
                return
            await asyncio.sleep(0.1)
        process = chance.choice(serving)
        if chance.random() < self.deadliness:
            self._doom(process)
        task = loop.create_task(self._open(process, name), context=process.context.copy())
        leaves_at = loop.time() + (loop.latency() * 3 if chance.random() < 0.25 else 1000)
        while not task.done() and not process.is_dead:
            await asyncio.sleep(0.02 if leaves_at > loop.time() + 900 else loop.latency() / 4)
            if loop.time() >= leaves_at and not task.done() and not self.cases[name].has_left:
                self.cases[name].has_left = True
                task.cancel()
        self.counts["cancelled"] += self.cases[name].has_left
        if task.done() and not task.cancelled() and not isinstance(task.exception(), Killed):
            task.result()

    async def _open(self, process: Process, name: str) -> None:
        chance, loop = Random(f"{name} {self.chance.random()}"), self.loop
        model = chance.choice(("a", "a", "m"))
        choices: dict[str, object] = {"n": 2} if chance.random() < 0.1 else {}
        text = {"messages": [{"role": "user", "content": "hello " * chance.randint(1, 20)}], "metadata": {"case": name}}
        stream = chance.random() < 0.5
        request = chat(stream, model=model, max_tokens=chance.randint(1, 20), **text, **choices)
        mine = chance.choice((self.hard, self.hard, self.hard[:1], self.hard[1:], self.soft, ()))
        who = principal(budgets=tuple(mine))
        now = self.clock.now_us()
        of_alias = {alias: (b, b.period_at(now)) for alias, b in self.alias_budgets.items()}
        case = self.cases[name] = Case(name, request, [(b, b.period_at(now)) for b in mine], of_alias, PRICES, process)
        case.sent = self.providers.sent.setdefault(name, [])
        if chance.random() < 0.05:
            process.limiter.refusal = Refusal(LimitScope.KEY, "k1", Resource.REQUESTS, 1, 100, UNLIMITED)
            loop.call_later(0.05, lambda: setattr(process.limiter, "refusal", None))
        caller = Caller(name, name)
        try:
            async with process.gateway.open(process.generation, who, request, caller, forwarded={}) as got:
                if got.frames is not None:
                    async for _ in pieces_of(got.frames):
                        pass
        except GatewayError as error:
            case.refusal = error.code
            self.counts[error.code] += 1
        finally:
            case.ended_at = loop.time()

    async def _end(self, process: Process) -> None:
        """In good order, or not."""
        if self.chance.random() < 0.3:
            process.die()
            return
        await asyncio.sleep(0.2)
        self._check_quiet(process)
        closing = self.loop.create_task(process.close(), context=process.context.copy())
        if await self._ended(closing, process) and (left := closing.result()):
            self.wrong.append(f"{process.name} could not write {left} requests")
        process.die()

    async def _ended(self, task: "asyncio.Task[Any]", process: Process) -> bool:
        """Whether it came to its end before its process did."""
        while not task.done() and not process.is_dead:
            await asyncio.sleep(0.01)
        return task.done() and not isinstance(task.exception(), Killed)

    # -- what must hold ---------------------------------------------------------------------------------------

    def _committed(self) -> None:
        """After every commit: whoever took money found room for it."""
        rows = self.site.look("SELECT budget, period, posted_nano, leased_nano FROM budget_periods")
        for row in rows:
            name = row["budget"], row["period"]
            grown = row["leased_nano"] > self.leased.get(name, 0)
            self.leased[name] = row["leased_nano"]
            if grown and self.site.has_order:
                self.counts["leases"] += 1
                used = sum(r["posted_nano"] + r["leased_nano"] for r in rows if _counts_with(r, row))
                if used > self.limits[name[0]]:
                    self.wrong.append(f"{used} taken and spent of {name}, limit {self.limits[name[0]]}")
        if self.providers.is_honest:
            self._check_cover()

    def _check_cover(self) -> None:
        """What requests hold in a process's memory is covered by what the database has set aside for it."""
        rows = self.site.look("SELECT instance, budget, period, remaining_nano FROM leases")
        leases = {(row["instance"], row["budget"], row["period"]): row["remaining_nano"] for row in rows}
        for process in self.processes:
            if process.is_dead or not process.has_started:
                continue
            for (budget, period), purse in process.money.purses._purses.items():
                if not 0 <= purse.held <= purse.leased <= leases.get((process.name, budget, period), 0):
                    self.wrong.append(f"{process.name} holds {purse.held} of {purse.leased}, more than {budget} gave it")

    def _check_quiet(self, process: Process) -> None:
        """No request is under way: nothing is held of any limit or budget."""
        for purse in process.money.purses._purses.values():
            if purse.held or purse.leased < 0:
                self.wrong.append(f"{process.name} holds {purse.held} of {purse.budget.id} for nobody")
        if any(len(reservation.settled) != 1 for reservation in process.limiter.reservations):
            self.wrong.append(f"{process.name} did not give back what it held of a limit")

    async def _take_stock(self, last: Process) -> None:
        """Everything has been adopted by the last process; it leaves nothing behind either."""
        run = last.context.copy()
        await self.loop.create_task(self._use_up(last), context=run)
        await self.loop.create_task(last.adopt(), context=run)
        if await self.loop.create_task(last.close(), context=run):
            self.wrong.append("the last process could not write everything")
        if left := sorted(path.name for path in (self.folder / "journal").iterdir()):
            self.wrong.append(f"journals are left: {left}")
        self.wrong += [f"audit: {breach}" for breach in (await self._audit()).breaches]
        self._check_ledger()
        self.wrong += [f"{p.name} failed: {failure}" for p in self.processes for failure in p.failures]

    async def _audit(self) -> AuditReport:
        db = self.site.connect(self.loop, self.weather, lambda: None)
        try:
            return await audit(db, self.clock.now_us())
        finally:
            db.die()

    async def _use_up(self, last: Process) -> None:
        """What is not spent can be held to the last nano, and no more."""
        for budget in (*self.hard, *self.alias_budgets.values()):
            period = budget.period_at(self.clock.now_us())
            standing = await last.money._rows.standing(budget, period)
            if standing.leased:
                self.wrong.append(f"{standing.leased} of {budget.id} is still leased")
            left = budget.limit - standing.posted
            if left < 0:
                continue
            purses = last.money.purses
            funds = purses.of([budget], self.clock.now_us())
            hold = await purses.hold(funds, Bound(NanoUSD(left), None, None))
            with suppress(BudgetExceeded):
                await purses.hold(funds, Bound(NanoUSD(1), None, None))
                self.wrong.append(f"{budget.id} gave more than its limit")
            hold.cancel()

    def _check_ledger(self) -> None:
        look = self.site.look
        attempts: dict[str, list[Row]] = defaultdict(list)
        for row in look("SELECT * FROM attempts ORDER BY request, attempt"):
            attempts[row["request"]].append(row)
        for name, case in self.cases.items():
            self.wrong += [f"{name}: {breach}" for breach in breaches_of(case, attempts.get(name, ()))]
        if strangers := attempts.keys() - self.cases.keys():
            self.wrong.append(f"the ledger has requests that nobody made: {strangers}")
        rows = look("SELECT budget, period, posted_nano, leased_nano FROM budget_periods")
        found = {(row["budget"], row["period"]): row["posted_nano"] for row in rows if row["posted_nano"]}
        expected = {name: cost for name, cost in posted_by(self.cases, attempts).items() if cost}
        if found != expected:
            self.wrong.append(f"posted {found}, but the ledger's attempts cost {expected}")
        self.wrong += [f"{row['leased_nano']} of {row['budget']} is still leased" for row in rows if row["leased_nano"]]
        self._check_limits(rows, attempts)
        self.counts["handed over"] += sum(row["alias"] == "b" for mine in attempts.values() for row in mine)
        self.counts["attempts"] += sum(map(len, attempts.values()))
        self.counts["recovered"] += sum(row["outcome"] == "recovered" for mine in attempts.values() for row in mine)

    def _check_limits(self, rows: Sequence[Row], attempts: dict[str, list[Row]]) -> None:
        over: Counter[str] = Counter()
        for name, mine in attempts.items():
            for row in mine:
                for budget, _ in self.cases[name].counted(row):
                    over[budget.id] += max(0, row["cost_nano"] - row["held_nano"])
        for row in rows:
            spent = sum(r["posted_nano"] for r in rows if _counts_with(r, row))
            if row["budget"] in self.hard_ids and spent > self.limits[row["budget"]] + over[row["budget"]]:
                self.wrong.append(f"{spent} spent of {row['budget']}: its limit and its overruns are passed")
        self.counts["overruns"] += sum(r["cost_nano"] > r["held_nano"] > 0 for mine in attempts.values() for r in mine)

    def end(self) -> None:
        self.loop.bury()
        for process in self.processes:
            process.die()


def _terms(chance: Random) -> BudgetTerms:
    return BudgetTerms(schedule=chance.choice(("calendar_month", "daily", "rolling_3d", "lifetime")))


def _counts_with(one: Any, other: Any) -> bool:
    """Whether two rows share a limit: the same period, or days of one rolling window."""
    is_rolling = other["period"].startswith("rolling")
    return bool(one["budget"] == other["budget"] and (is_rolling or one["period"] == other["period"]))
