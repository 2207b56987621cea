"""A journal that cannot be written, a database that is gone: refused before anything is sent, and over by itself."""

import asyncio
import random
import resource
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from tests.daemon import KEY, Daemon, Entry, Simulator, Workplace, chat, settings, until
from tests.process.money_load import Books, Load, audited, books, figures, mixed, received, settled
from tests.servers import PostgresServer

pytestmark = pytest.mark.process

CALLERS = 16
# A lease is a twentieth of what remains: so much lasts this load for a second or two.
LIMIT = 0.4
RECOVERY_S = 5.0
FULL = (503, "storage_unavailable")


def money(url: str, sim: Simulator, limit_usd: float = 1000, **sections: object) -> Entry:
    config = settings(
        {"sim": sim.provider},
        {"m": "sim"},
        database={"url": url},
        server={"secret": "0123456789abcdef" * 2},
        **sections,
    )
    config["bootstrap"]["tenant_budgets"] = [{"tenant": "demo", "budget_usd": limit_usd}]
    return config


@pytest.mark.timeout(300)
@pytest.mark.parametrize("outage_s", [6.0, pytest.param(60.0, marks=pytest.mark.torture)])
async def test_without_its_database_it_serves_from_leases_then_refuses_and_loses_nothing(
    folder: Workplace, restartable_postgres: PostgresServer, outage_s: float
) -> None:
    url = restartable_postgres.url(tcp=True)
    with Simulator(folder, "sim", "--tokens-per-second", "100") as sim, Daemon(folder, money(url, sim, LIMIT)) as routerd:
        load = Load(routerd.url, KEY)
        clock = asyncio.get_running_loop().time
        running = asyncio.create_task(load.run(CALLERS, mixed("m"), prefix="c", pause_s=0.02))
        await until(lambda: load.statuses[200, ""] > 2 * CALLERS)
        assert set(load.statuses) == {(200, "")}, load.statuses
        await asyncio.to_thread(restartable_postgres.stop)
        stopped_at = clock()
        await asyncio.sleep(outage_s)
        known = received(sim)
        await asyncio.to_thread(restartable_postgres.start)
        started_at = clock()
        await settled(url, lambda now: not now.lost(known), RECOVERY_S, "what the journal kept")
        flushed_s = clock() - started_at
        await asyncio.sleep(1.5)
        load.is_over = True
        await running
        assert set(load.statuses) == {(200, ""), (503, "storage_unavailable")}, load.statuses
        refused = [at for at in load.times(503, "storage_unavailable") if at > stopped_at]
        leased = [at for at in load.times(200) if stopped_at < at < refused[0]]
        assert len(leased) > CALLERS, "nothing was served from the lease"
        assert max(refused) < started_at + RECOVERY_S
        assert max(load.times(200)) > started_at + 1
        truth = received(sim)
        found = await settled(url, lambda now: not now.lost(truth), 5, "the ledger")
        _is_whole(found, truth)
        assert (await audited(routerd))["holds"] is True
        assert any("cannot be reached" in entry.get("hint", "") for entry in routerd.lines()), "no reason in the log"
    assert (await books(url)).leased == 0
    told = load.messages["storage_unavailable"]
    figures(
        f"{outage_s:g} s without a database: {len(leased)} served from the lease, {len(refused)} refused ({told!r}), last "
        f"{max(refused) - started_at:.2f} s after its return, {len(truth)} attempts, flushed {flushed_s:.2f} s after it"
    )


def _is_whole(found: Books, truth: Counter[str]) -> None:
    assert found.lost(truth) == {}
    # Who was admitted when the disk broke is in the ledger, refused and free.
    assert [attempt for attempt in found.unsent(truth) if attempt["cost_nano"]] == []
    assert found.doubled == []
    assert found.posted("tenant:") == found.cost


class NoFileMayGrow:
    """Every write of the daemon to a file fails, that to its log included, as on a disk that is full everywhere."""

    journal = "data/journal"

    def __init__(self) -> None:
        self._pid = 0

    def begin(self, routerd: Daemon) -> None:
        self._pid = routerd.process.pid
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def end(self) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


class SmallDisk:
    """A file system of its own at `place`, for as long as its test. Only root can make one."""

    def __init__(self, place: Path, request: pytest.FixtureRequest) -> None:
        self.place = place
        place.mkdir()
        # Whatever happens to the test: a file system that stays behind disturbs every later run.
        request.addfinalizer(self._remove)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(place)], check=False, capture_output=True, text=True
        )
        if mounted.returncode != 0:
            pytest.skip(f"no file system of our own can be mounted here: {mounted.stderr.strip()}")

    def fill(self) -> None:
        with (self.place / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))

    def empty(self) -> None:
        (self.place / "filler").unlink(missing_ok=True)

    def remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.place)], check=True)

    def _remove(self) -> None:
        subprocess.run(["umount", "-l", str(self.place)], check=False, capture_output=True)


@pytest.fixture
def small_disk(folder: Workplace, request: pytest.FixtureRequest) -> Callable[[str], SmallDisk]:
    """Makes a small file system in the folder of the processes."""
    return lambda name: SmallDisk(folder.path / name, request)


class FullDisk:
    """The disk of the journal, or of the whole data folder, is filled by somebody else."""

    def __init__(self, disk: SmallDisk) -> None:
        self._disk = disk
        self.journal = f"{disk.place.name}/journal"

    def begin(self, routerd: Daemon) -> None:
        self._disk.fill()

    def end(self) -> None:
        self._disk.empty()


Fault = NoFileMayGrow | FullDisk


@pytest.fixture(params=["no-file-may-grow", "full-data", pytest.param("full-journal", marks=pytest.mark.torture)])
def fault(request: pytest.FixtureRequest, small_disk: Callable[[str], SmallDisk]) -> Fault:
    if request.param == "no-file-may-grow":
        return NoFileMayGrow()
    return FullDisk(small_disk("small" if request.param == "full-journal" else "data"))


async def test_a_journal_that_cannot_be_written_refuses_before_anything_is_sent(
    folder: Workplace, fault: Fault, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{folder.path}/data/router.db"
    with Simulator(folder, "sim", "--tokens-per-second", "100") as sim:
        config = money("sqlite:///data/router.db", sim, journal={"path": fault.journal})
        with Daemon(folder, config) as routerd:
            load = Load(routerd.url, KEY)
            async with aiohttp.ClientSession() as http:
                begun = [asyncio.create_task(load.ask(http, f"long-{n}", stream_of(f"long-{n}", 150))) for n in range(8)]
                await until(lambda: len(sim.log(event="received")) == 8)
                fault.begin(routerd)
                await _refuses(load, http, sim)
                status, reasons = await _readiness(routerd)
                assert (status, any("cannot be written" in reason for reason in reasons)) == (503, True), reasons
                assert set(await asyncio.gather(*begun)) == {(200, "")}
                fault.end()
                took = await _ready(routerd)
                assert await load.ask(http, "again", chat("m", case="again")) == (200, "")
            truth = received(sim)
            found = await settled(url, lambda now: not now.lost(truth), 5, "the ledger")
            _is_whole(found, truth)
            assert (await audited(routerd))["holds"] is True
            await routerd.event("journal", level="info")
            # On a disk that is full everywhere the first line of the log is lost, and those after it are not.
            assert isinstance(fault, NoFileMayGrow) or routerd.events("journal", level="error")
        assert (await books(url)).leased == 0
    case = request.node.callspec.id
    figures(f"{case}: {len(truth)} attempts, 0 lost, none sent in vain, ready {took:.2f} s after its end")


async def _refuses(load: Load, http: aiohttp.ClientSession, sim: Simulator) -> None:
    """Every request but perhaps the first few, for whose lines a block still had room; and nothing of them is sent."""
    for number in range(40):
        answer = await load.ask(http, f"first-{number}", chat("m", case=f"first-{number}"))
        if answer != (200, ""):
            break
    sent = len(sim.log(event="received"))
    for number in range(20):
        answer = await load.ask(http, f"no-{number}", chat("m", case=f"no-{number}", stream=number % 2 == 0))
        assert answer == (503, "storage_unavailable")
    assert len(sim.log(event="received")) == sent, "a request was sent that could not be recorded"


async def _ready(routerd: Daemon) -> float:
    """Seconds until it is ready."""
    since = time.monotonic()
    while (await _readiness(routerd))[0] != 200:
        assert time.monotonic() - since < RECOVERY_S, await _readiness(routerd)
        await asyncio.sleep(0.05)
    return time.monotonic() - since


@pytest.mark.torture
@pytest.mark.timeout(600)
@pytest.mark.parametrize("place", ["small", "data"])
async def test_a_disk_that_fills_up_again_and_again_under_load_loses_nothing(
    folder: Workplace, small_disk: Callable[[str], SmallDisk], place: str
) -> None:
    url, draws, fault = f"sqlite:///{folder.path}/data/router.db", random.Random(place), FullDisk(small_disk(place))
    slowest = 0.0
    with Simulator(folder, "sim", "--tokens-per-second", "100") as sim:
        config = money("sqlite:///data/router.db", sim, journal={"path": fault.journal})
        with Daemon(folder, config) as routerd:
            load = Load(routerd.url, KEY)
            running = asyncio.create_task(load.run(CALLERS, mixed("m"), prefix="c", pause_s=0.02))
            for _ in range(20):
                await asyncio.sleep(draws.uniform(0.2, 2))
                fault.begin(routerd)
                await _refused(load, 50)
                fault.end()
                slowest = max(slowest, await _ready(routerd))
            load.is_over = True
            await running
            truth = received(sim)
            found = await settled(url, lambda now: not now.lost(truth), 5, "the ledger")
            _is_whole(found, truth)
            assert (await audited(routerd))["holds"] is True
    assert set(load.statuses) == {(200, ""), FULL}, load.statuses
    assert (await books(url)).leased == 0
    figures(
        f"{place}: full 20 times: {len(truth)} attempts, {load.statuses[FULL]} refused, 0 lost, 0 double, "
        f"ready at most {slowest:.2f} s after its end"
    )


async def _refused(load: Load, times: int) -> None:
    enough = load.statuses[FULL] + times
    await until(lambda: load.statuses[FULL] >= enough or None, 20.0, what=f"{times} refusals")


class Obstacle:
    """Where the journal's folder should be, there is a file."""

    journal = "store/journal"

    def __init__(self, folder: Workplace) -> None:
        self._file = folder.path / "store"
        self._file.write_text("a file where the journal's folder should be")

    def end(self) -> None:
        self._file.unlink()


class ReadOnlyDisk:
    """The file system of the journal may be read and not written."""

    journal = "small/journal"

    def __init__(self, disk: SmallDisk) -> None:
        self._disk = disk
        disk.remount("ro")

    def end(self) -> None:
        self._disk.remount("rw")


@pytest.mark.parametrize("kind", ["obstacle", "read-only"])
async def test_a_journal_that_cannot_be_made_at_the_start_is_made_when_it_can(
    folder: Workplace, small_disk: Callable[[str], SmallDisk], kind: str
) -> None:
    fault = Obstacle(folder) if kind == "obstacle" else ReadOnlyDisk(small_disk("small"))
    with Simulator(folder, "sim", "--tokens-per-second", "0") as sim:
        config = money("sqlite:///data/router.db", sim, journal={"path": fault.journal})
        with Daemon(folder, config) as routerd:
            status, reasons = await _readiness(routerd)
            assert (status, any(fault.journal in reason for reason in reasons)) == (503, True), reasons
            async with routerd.client() as http:
                refused = await http.post("/v1/chat/completions", json=chat("m"))
                assert (refused.status, (await refused.json())["error"]["code"]) == (503, "storage_unavailable")
                assert sim.log() == []
                assert routerd.events("journal", level="error")
                fault.end()
                await _ready(routerd)
                assert (await http.post("/v1/chat/completions", json=chat("m"))).status == 200


def test_a_data_folder_that_cannot_be_written_is_named_before_anything_else_begins(
    folder: Workplace, small_disk: Callable[[str], SmallDisk]
) -> None:
    small_disk("data").remount("ro")
    config = settings({"sim": {"type": "simulated"}}, {"m": "sim"})
    with pytest.raises(AssertionError, match=r"ended with 2 before start: error: .*Read-only file system.*database\.url"):
        Daemon(folder, config)


def stream_of(case: str, tokens: int) -> Entry:
    return chat("m", f"output_tokens={tokens}", case=case, stream=True, max_tokens=tokens)


async def _readiness(routerd: Daemon) -> tuple[int, list[str]]:
    async with routerd.client(None) as http, http.get("/readyz") as ready:
        return ready.status, (await ready.json())["reasons"]
