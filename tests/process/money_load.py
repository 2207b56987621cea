"""Load in which every request carries a name of its own, and what the simulator's log and the ledger say of those names."""

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from router.storage.database import Database
from tests.daemon import Daemon, Entry, Simulator, chat
from tests.stores import open_database

LEFT = (aiohttp.ClientError, TimeoutError, ConnectionError)


@dataclass(slots=True)
class Load:
    """`statuses` counts the answers by status and code, 0 for a connection that broke; `latest` is the last of each."""

    url: str
    key: str
    seed: int = 0
    sent: list[str] = field(default_factory=list)
    statuses: Counter[tuple[int, str]] = field(default_factory=Counter)
    timeline: list[tuple[float, int, str]] = field(default_factory=list)
    messages: dict[str, str] = field(default_factory=dict)
    is_over: bool = False

    async def run(
        self, callers: int, body: Callable[[str, random.Random], Entry], *, prefix: str, pause_s: float = 0.0
    ) -> None:
        """So many callers at once until `is_over`. Leaves nothing open."""
        timeout = aiohttp.ClientTimeout(total=30)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
            await asyncio.gather(*(self._call_on(http, body, f"{prefix}-{number}", pause_s) for number in range(callers)))

    async def _call_on(
        self, http: aiohttp.ClientSession, body: Callable[[str, random.Random], Entry], name: str, pause_s: float
    ) -> None:
        draws = random.Random(f"{self.seed} {name}")
        turn = 0
        while not self.is_over:
            turn += 1
            case = f"{name}-{turn}"
            self.sent.append(case)
            await self.ask(http, case, body(case, draws))
            await asyncio.sleep(pause_s)

    async def ask(self, http: aiohttp.ClientSession, case: str, body: Entry, url: str = "") -> tuple[int, str]:
        """One request to its end; the status and code of the answer, or of the error event that ended it."""
        status, code = 0, ""
        headers = {"Authorization": f"Bearer {self.key}", "X-Request-Id": case}
        try:
            async with http.post(f"{url or self.url}/v1/chat/completions", json=body, headers=headers) as answer:
                status, text = answer.status, await answer.text()
            last = text.strip().rpartition("data: ")[2]
            if '"error"' in last[:20]:
                error = json.loads(last)["error"]
                code = error["code"] or ""
                self.messages[code] = error["message"]
        except LEFT:
            status = 0
        self.statuses[status, code] += 1
        self.timeline.append((asyncio.get_running_loop().time(), status, code))
        return status, code

    def times(self, status: int, code: str = "") -> list[float]:
        return [at for at, *answer in self.timeline if answer == [status, code]]


def figures(text: str) -> None:
    """What was measured, for who runs the tests with `-s` or `-rP`."""
    sys.stdout.write(f"\n{text}\n")


def mixed(model: str) -> Callable[[str, random.Random], Entry]:
    """Half streams, half JSON, of lengths that differ."""

    def body(case: str, draws: random.Random) -> Entry:
        return chat(model, case=case, stream=draws.random() < 0.5, max_tokens=draws.randint(1, 60))

    return body


def received(*sims: Simulator) -> Counter[str]:
    """How many attempts of each request reached a provider."""
    return Counter(line["metadata"]["case"] for sim in sims for line in sim.log(event="received"))


@dataclass(frozen=True, slots=True)
class Books:
    """The ledger of a moment: attempts by the request's name, and the budgets' rows."""

    requests: list[Entry]
    attempts: list[Entry]
    budgets: list[Entry]
    leases: list[Entry]

    @property
    def by_name(self) -> Counter[str]:
        return Counter(str(attempt["name"]) for attempt in self.attempts)

    @property
    def doubled(self) -> list[str]:
        return [name for name, count in Counter(r["request_id"] for r in self.requests).items() if count > 1]

    def posted(self, budget: str) -> int:
        return sum(int(row["posted_nano"]) for row in self.budgets if str(row["budget"]).startswith(budget))

    @property
    def leased(self) -> int:
        return sum(int(row["leased_nano"]) for row in self.budgets)

    @property
    def cost(self) -> int:
        return sum(int(row["cost_nano"]) for row in self.attempts)

    def lost(self, truth: Counter[str]) -> Counter[str]:
        """Attempts a provider received that are not in the ledger."""
        return truth - self.by_name

    def unsent(self, truth: Counter[str]) -> list[Entry]:
        """Attempts in the ledger of requests of which no provider has seen as many."""
        more = self.by_name - truth
        return [attempt for attempt in self.attempts if attempt["name"] in more]


def database_of(config: Mapping[str, Any], daemon: Daemon) -> str:
    url = str(config["database"]["url"])
    return f"sqlite:///{daemon.folder}/{url.removeprefix('sqlite:///')}" if url.startswith("sqlite") else url


def _plain(row: Any) -> dict[str, Any]:
    """A driver's row as a dictionary; both kinds know their keys."""
    return {name: row[name] for name in row.keys()}  # noqa: SIM118  a row iterates over its values


async def books(url: str) -> Books:
    database: Database = await open_database(url)
    try:
        attempts = "SELECT r.request_id AS name, a.* FROM attempts a JOIN requests r ON r.id = a.request"
        wanted = ["SELECT * FROM requests", attempts, "SELECT * FROM budget_periods", "SELECT * FROM leases"]
        return Books(*[[_plain(row) for row in await database.all(sql)] for sql in wanted])
    finally:
        await database.close()


async def audited(daemon: Daemon) -> Entry:
    """What `routerd audit --json` says; it must have exited with 0."""
    words = "audit", "--json", "--config", str(daemon.file)
    report: Entry = json.loads(await asyncio.to_thread(daemon.command, *words))
    return report


async def settled(url: str, ready: Callable[[Books], bool], timeout_s: float, what: str) -> Books:
    """The books, once they are as `ready` wants them."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        found = await books(url)
        if ready(found):
            return found
        assert asyncio.get_running_loop().time() < deadline, f"waited {timeout_s} s in vain for {what}"
        await asyncio.sleep(0.1)
