"""Any sequence of requests, a death at any moment: the ledger is what a simple model says, nothing lost, nothing double."""

import asyncio
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from router.domain.errors import StorageUnavailable
from router.domain.ledger import AttemptEntry, LedgerEntry, OpenedAttempt, Outcome
from router.domain.usage import NanoUSD
from router.jobs.adoption import Adoption
from router.storage.journal import Journal, JournalSettings
from router.storage.journal_disk import Disk
from router.storage.journal_estates import find_estates
from tests.gateway.fakes import CollectingObserver, FakeClock
from tests.storage.journals import InsertOnce, die, ended, finished, opened, turns

REQUESTS = 6
HELD = 5_000_000


class Killed(BaseException):
    """The process is no more."""


class MortalDisk(Disk):
    """Dies in its `life`th call that changes anything, having written `share` percent of what it was to write.

    Calls in `full` fail as on a full disk instead.
    """

    def __init__(self, life: int, share: int, full: frozenset[int] = frozenset()) -> None:
        self.life = life
        self.share = share
        self.full = full
        self.calls = 0

    @property
    def is_dead(self) -> bool:
        return self.life <= 0

    def _live(self) -> bool:
        """Whether this call is the last."""
        if self.life <= 0:
            raise Killed
        self.calls += 1
        if self.calls in self.full:
            raise OSError(28, os.strerror(28))
        self.life -= 1
        return self.life == 0

    def create(self, path: Path) -> int:
        if self._live():
            raise Killed
        return super().create(path)

    def write_some(self, descriptor: int, content: bytes) -> int:
        if self._live():
            super().write_some(descriptor, content[: len(content) * self.share // 100])
            raise Killed
        return super().write_some(descriptor, content)

    def allocate(self, path: Path, size: int) -> None:
        if self._live():
            path.write_bytes(bytes(size * self.share // 100))
            raise Killed
        super().allocate(path, size)

    def rename(self, path: Path, new: Path) -> None:
        if self._live():
            raise Killed
        super().rename(path, new)

    def remove(self, path: Path) -> None:
        if self._live():
            raise Killed
        super().remove(path)


class Step(NamedTuple):
    """One line of the model's journal."""

    what: str
    request: str
    value: OpenedAttempt | AttemptEntry | LedgerEntry | tuple[int, int, int]


def ledger_of(steps: Sequence[Step]) -> dict[str, LedgerEntry | tuple[tuple[int, Outcome, int], ...]]:
    """The reference: a finished request as it is; else each attempt's number, outcome and cost."""
    ledger: dict[str, LedgerEntry | tuple[tuple[int, Outcome, int], ...]] = {}
    for request in {step.request for step in steps}:
        mine = [step for step in steps if step.request == request]
        ends = [step.value for step in mine if step.what == "finished"]
        if ends:
            assert isinstance(ends[0], LedgerEntry)
            ledger[request] = ends[0]
            continue
        attempts = {}
        sent = [step.value for step in mine if isinstance(step.value, OpenedAttempt)]
        for line in sent:
            seen = [s.value[1:] for s in mine if isinstance(s.value, tuple) and s.value[0] == line.attempt]
            attempts[line.attempt] = (line.attempt, Outcome.RECOVERED, _charge(line, seen))
        for step in mine:
            if isinstance(step.value, AttemptEntry):
                attempts[step.value.attempt] = (step.value.attempt, step.value.outcome, step.value.cost)
        if sent:
            ledger[request] = tuple(attempts[number] for number in sorted(attempts))
    return ledger


def _charge(line: OpenedAttempt, seen: list[tuple[int, int]]) -> int:
    if not line.stream:
        return line.held
    points = [(line.at, 0), *seen]
    more = 64
    if seen:
        (at, tokens), (later, more_tokens) = points[-2:]
        more = max(1, -(-(more_tokens - tokens) * 1_000_000 // (later - at)))
    return min(line.held, line.input_tokens * 250 + (points[-1][1] + more) * 2000)


def seen_of(rows: dict[str, LedgerEntry]) -> dict[str, LedgerEntry | tuple[tuple[int, Outcome, int], ...]]:
    return {
        request: entry
        if entry.outcome is not Outcome.RECOVERED
        else tuple((attempt.attempt, attempt.outcome, attempt.cost) for attempt in entry.attempts)
        for request, entry in rows.items()
    }


class World:
    """A journal and the gateway that uses it, with the model beside it: `sure` is on disk, `now` is this turn's."""

    def __init__(self, root: Path, disk: MortalDisk) -> None:
        self.root, self.disk = root, disk
        self.clock, self.store = FakeClock(), InsertOnce()
        self.sure: list[Step] = []
        self.now: list[Step] = []
        self.attempts: dict[str, int] = {}
        self.tokens: dict[str, int] = {}
        self.queue: list[LedgerEntry] = []
        self.over: set[str] = set()
        self.waits: list[tuple[Step, asyncio.Future[None]]] = []
        self.observer = CollectingObserver()

    async def open(self) -> None:
        small = JournalSettings(self.root, max_mb=1, segment_bytes=1000, retry_s=0)
        self.journal = await Journal.open(small, "a1", self.clock, self.observer, disk=self.disk)

    def act(self, what: str, number: int) -> None:
        request = f"r{number}"
        if request in self.over:
            return
        attempt = self.attempts.get(request, 0)
        match what:
            case "opened":
                line = opened(request, attempt + 1, stream=number % 2 == 1, at=self.clock.now_us(), held=NanoUSD(HELD))
                step = Step("opened", request, line)
                if self.journal.accepting():
                    self.attempts[request] = attempt + 1
                    self.tokens[request] = 0
                    self.waits.append((step, asyncio.ensure_future(self.journal.opened(line))))
                    self.now.append(step)
            case "progressed" if attempt:
                self.tokens[request] += 37
                self.clock.pass_(0.5)
                self.journal.progressed(request, attempt, self.tokens[request])
                self.now.append(Step("progressed", request, (attempt, self.clock.now_us(), self.tokens[request])))
            case "ended" if attempt:
                end = ended(attempt, cost=NanoUSD(attempt))
                self.journal.ended(request, end)
                self.now.append(Step("ended", request, end))
            case "finished" | "deferred" if attempt:
                entry = finished(request, *range(1, attempt + 1), metadata="x" * 300)
                self.journal.finished([entry])
                self.over.add(request)
                self.now.append(Step("finished", request, entry))
                if what == "deferred":
                    self.journal.defer(entry)
                else:
                    self.queue.append(entry)

    async def turn(self) -> None:
        await turns()
        self.clock.pass_(1)
        if not self.disk.is_dead:
            self.sure += self.now
            self.now = []

    async def flush(self) -> None:
        """As the ledger's queue does it. A death may come between the database and the journal."""
        try:
            batch = [*self.queue, *await self.journal.reread()]
        except StorageUnavailable:
            batch = self.queue
        if self.disk.is_dead:
            return
        await self.store.write_requests(batch)
        self.queue = []
        if not self.disk.is_dead:
            self.journal.flushed(batch)

    async def live(self, acts: Sequence[tuple[str, int]]) -> None:
        for what, number in acts:
            if self.disk.is_dead:
                break
            if what == "turn":
                await self.turn()
            elif what == "flush":
                await self.turn()
                await self.flush()
            else:
                self.act(what, number)
        if not self.disk.is_dead:
            await self.turn()

    async def adopt(self) -> None:
        """First one that dies half-way, then one that lives."""

        async def settled(instance: str) -> None:
            assert instance == "a1"

        await die(self.journal)
        for limit in (self.disk.share % 5, 2**40):
            await Adoption(lambda: find_estates(self.root, ""), Dying(self.store, limit), settled, self.observer).tick()

    def unexplained(self) -> list[str]:
        """Requests that the ledger has otherwise than the model. Of the turn in which the process died any number of lines
        may stand, in their order."""
        last = self.now
        found = seen_of(self.store.rows)
        wrong = []
        for request in {step.request for step in (*self.sure, *last)} | found.keys():
            sure = [step for step in self.sure if step.request == request]
            unsure = [step for step in last if step.request == request]
            options = [ledger_of([*sure, *unsure[:count]]).get(request) for count in range(len(unsure) + 1)]
            if found.get(request) not in options:
                wrong.append(request)
        return wrong


class Dying:
    """A ledger store that is gone after so many writes."""

    def __init__(self, store: InsertOnce, limit: int) -> None:
        self.store = store
        self.limit = limit

    async def write_requests(self, entries: Sequence[LedgerEntry]) -> None:
        if not self.limit:
            raise StorageUnavailable("gone")
        self.limit -= 1
        await self.store.write_requests(entries)


WEIGHTS = {"opened": 4, "turn": 4, "progressed": 2, "ended": 1, "finished": 3, "deferred": 1, "flush": 2}


def acts_of(chance: Random) -> list[tuple[str, int]]:
    names = chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=chance.randrange(10, 250))
    return [(name, chance.randrange(REQUESTS)) for name in names]


def renamed(acts: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Each finished request makes room for another, so that a long sequence goes on and on."""
    lives = dict.fromkeys(range(REQUESTS), 0)
    out = []
    for what, number in acts:
        out.append((what, number + 2 * REQUESTS * lives[number]))
        if what in ("finished", "deferred"):
            lives[number] += 1
    return out


def live_and_die(acts: Sequence[tuple[str, int]], life: int, share: int) -> None:
    async def run(root: Path) -> None:
        world = World(root, MortalDisk(10**6, share))
        await world.open()
        world.disk.life = life
        with suppress(Killed):
            await world.live(renamed(acts))
        before = dict(world.store.rows)
        await world.adopt()
        assert world.unexplained() == []
        assert [request for request, entry in before.items() if world.store.rows[request] != entry] == []
        assert list(root.iterdir()) == []

    with tempfile.TemporaryDirectory(dir=RAM) as root:
        quiet_run(run(Path(root)))


def fail_and_die(acts: Sequence[tuple[str, int]], full: frozenset[int]) -> None:
    """On a disk that is full again and again: what was let through is there, what has ended is as it ended."""

    async def run(root: Path) -> None:
        world = World(root, MortalDisk(10**6, 50, full))
        await world.open()
        await world.live(renamed(acts))
        kept = {wait[0].request for wait in world.waits if wait[1].done() and wait[1].exception() is None}
        written = not world.journal.fault
        await world.adopt()
        ends = {step.request: step.value for step in world.sure if step.what == "finished"}
        rows = world.store.rows
        assert sorted(kept - rows.keys()) == []
        assert sorted(rows.keys() - kept - ends.keys()) == []
        for request, entry in rows.items():
            is_lost_end = request in ends and entry.outcome is Outcome.RECOVERED
            assert not (is_lost_end and written), request
            is_right = entry.outcome is Outcome.RECOVERED or entry == ends[request]
            assert is_right, request
        assert list(root.iterdir()) == []

    with tempfile.TemporaryDirectory(dir=RAM) as root:
        quiet_run(run(Path(root)))


RAM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@contextmanager
def explained(seed: int) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise


def quiet_run(work: object) -> None:
    with asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(lambda loop, context: None)  # the deaths are meant
        runner.run(work)  # type: ignore[arg-type]  # a coroutine


SEEDS = [pytest.param(range(200), id="short"), pytest.param(range(200, 10_200), id="long", marks=pytest.mark.torture)]


@pytest.mark.parametrize("seeds", SEEDS)
def test_after_a_death_at_any_moment_the_ledger_is_the_models(seeds: range) -> None:
    for seed in seeds:
        chance = Random(seed)
        with explained(seed):
            acts = acts_of(chance)
            live_and_die(acts, life=chance.randrange(1, len(acts) + 20), share=chance.randrange(101))


@pytest.mark.parametrize("seeds", SEEDS)
def test_on_a_disk_that_fails_now_and_then_nothing_is_lost(seeds: range) -> None:
    for seed in seeds:
        chance = Random(seed)
        with explained(seed):
            acts = acts_of(chance)
            fail_and_die(acts, frozenset(chance.choices(range(1, len(acts) + 20), k=chance.randrange(30))))
