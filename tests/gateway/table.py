"""A whole gateway on doubles, built in one line inside a test."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from router.config.prices import table_version
from router.domain.alerts import Alert
from router.domain.flow import pieces_of
from router.domain.identity import Principal
from router.domain.ledger import LedgerEntry
from router.domain.requests import Kind, ModelRequest
from router.domain.routes import Alias, ProviderSpec, Target
from router.domain.usage import Price
from router.gateway.answer import Answer
from router.gateway.case import Caller
from router.gateway.generation import Generation
from router.gateway.health import Health
from router.gateway.pipeline import Gateway, Opening, World
from router.gateway.purses import Purses
from router.gateway.reach import Reach
from router.gateway.treasury import Treasury
from router.providers.registry import bind
from router.server.errors import status_of
from tests.gateway.fakes import (
    BudgetTable,
    CollectingObserver,
    CountingIds,
    FakeClock,
    InlineTasks,
    ListJournal,
    ListLedger,
    OpenLimiter,
    Scripted,
    ScriptedTransport,
    chat,
    principal,
    snapshot,
    spec,
)

# The daemon has read the price table before it serves; here nothing else would, and reading a file blocks.
table_version()
PRICE = Price(input=1_000_000, output=2_000_000)


def target(provider: str, **changes: Any) -> Target:
    return Target(f"{provider}/m", provider, "m", price=PRICE, **changes)


def alias(name: str, *providers: str, **changes: Any) -> Alias:
    return Alias(name, Kind.CHAT, tuple(target(p) for p in providers), **changes)


def at_once(_delay_s: float, action: Callable[[], None]) -> None:
    """Later is now: a test sees the record when the request has ended."""
    action()


class Table:
    """`Table(alias(...), p=[answer()])`: one script a provider."""

    def __init__(
        self,
        *aliases: Alias,
        providers: Sequence[ProviderSpec] = (),
        draws: Sequence[float] = (),
        changes: Mapping[str, Any] | None = None,
        **scripts: Sequence[Scripted | Exception],
    ) -> None:
        self.clock = FakeClock()
        self.processes = 1
        self.alerts: list[Alert] = []
        self.ids = CountingIds(*draws)
        self.limiter = OpenLimiter()
        self.ledger = ListLedger()
        self.observer = CollectingObserver()
        self.tasks = InlineTasks()
        self.transport = ScriptedTransport(**scripts)
        snap = snapshot(*aliases, providers=providers, **(changes or {}))
        bound = {name: bind(known, self.transport) for name, known in snap.providers.items()}
        self.generation = Generation(snap, bound)
        self.health = Health(self.clock, self.observer)
        world = World(self.clock, self.ids, self.limiter, self.ledger, self.observer, self.tasks, at_once)
        self.journal = ListJournal()
        self.rows = BudgetTable()
        self.purses = Purses(
            self.rows,
            self.clock,
            self.tasks,
            boottime=self.clock.monotonic,
            processes=lambda: self.processes,
            notify=self.alerts.append,
        )
        self.reach = Reach(self.clock)
        self.gateway = Gateway(world, self.health, Treasury(self.purses, self.journal, self.reach), status_of)

    def open(self, request: ModelRequest | None = None, who: Principal | None = None, **caller: Any) -> Opening:
        return self.gateway.open(
            self.generation, who or principal(), request or chat(), Caller(self.ids.new(), "r1", **caller), forwarded={}
        )

    async def ask(self, request: ModelRequest | None = None, **caller: Any) -> Answer:
        """Open, read everything, leave."""
        async with self.open(request, **caller) as got:
            if got.frames is not None:
                async for _ in pieces_of(got.frames):
                    pass
            return got

    @property
    def entry(self) -> LedgerEntry:
        """The one ledger entry there must be."""
        [entry] = self.ledger.entries
        return entry

    @property
    def outcomes(self) -> list[str]:
        return [a.outcome.value for a in self.entry.attempts]


__all__ = ["PRICE", "Table", "alias", "spec", "target"]
