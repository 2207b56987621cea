"""One contestant measured: CPU, latency and lag of each scenario, start-up, idle memory, memory per open stream."""

import asyncio
import os
import resource
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

from bench.gateways import Gateway
from bench.lag import Buckets, lag_buckets
from bench.load import Call, Load, Tally
from bench.processes import Cores, Process, fetch, free_port
from bench.scenarios import Part, Scenario, stream_part

WARM_UP_S = 0.5
FIRST_ANSWERS_LIMIT_S = 30.0
WINDOW_LIMIT_S = 20.0
# Quiet is little CPU for a while; the kernel counts it in hundredths of a second.
QUIET_S = 0.3
QUIET_SHARE = 0.05
QUIET_LIMIT_S = 10.0
# Long enough for the slow provider to send each stream a few events.
HOLD_STREAMS_S = 3.0
# Each open stream is a descriptor or two in every process.
_DESCRIPTORS = 8192


class LoadFailure(Exception):
    """Some answers were not good: figures about them would mean nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One scenario on one gateway once. CPU is user + system time of the gateway's processes, from before the first request
    until all of them are dealt with, divided by all of them; rates and latencies are those of a window within."""

    gateway: str
    scenario: str
    requests_per_s: float
    cpu_us: float
    core_busy: float
    p50_ms: float
    p99_ms: float
    first_p50_ms: float | None = None
    first_p99_ms: float | None = None
    lag: Buckets = Buckets()  # noqa: RUF009  an empty tuple


@dataclass(frozen=True, slots=True)
class Footprint:
    gateway: str
    start_s: float
    idle_mb: float


@dataclass(frozen=True, slots=True)
class Running:
    """A contestant that answers on `port`; `process` is None where that is the provider itself."""

    gateway: Gateway
    port: int
    process: Process | None
    folder: Path

    def log_tail(self) -> str:
        return "" if self.process is None else self.process.log_tail()


@dataclass(frozen=True, slots=True)
class Rig:
    """The provider under load, the cores, and how long each measurement takes."""

    upstream_port: int
    cores: Cores
    seconds: float

    @classmethod
    @asynccontextmanager
    async def standing(cls, seconds: float) -> AsyncIterator["Rig"]:
        """The provider runs until the block is left; this process keeps to the core of the load."""
        cores = Cores.of_this_machine()
        with TemporaryDirectory(prefix="routerd-bench-") as folder, _pinned(cores.load), _many_descriptors():
            port, started = free_port(), perf_counter()
            command = [sys.executable, "-m", "bench.upstream", "--port", str(port)]
            upstream = Process.start(command, core=cores.load, folder=Path(folder), name="upstream")
            try:
                await upstream.ready(port, "", started)
                yield cls(port, cores, seconds)
            finally:
                await upstream.stop()

    @asynccontextmanager
    async def running(self, gateway: Gateway) -> AsyncIterator[Running]:
        """The gateway alone on its core, ready; ended and its files removed on the way out. Raises StartFailure."""
        with TemporaryDirectory(prefix="routerd-bench-") as name:
            folder = Path(name)
            if gateway.command is None:
                yield Running(gateway, self.upstream_port, None, folder)
                return
            port = free_port()
            command = await gateway.command(port, self.upstream_port, folder)
            started = perf_counter()
            process = Process.start(
                command, core=self.cores.measured, folder=folder, name=gateway.name, is_quiet=gateway.is_quiet
            )
            try:
                await process.ready(port, gateway.ready_path, started, limit_s=gateway.start_limit_s)
                yield Running(gateway, port, process, folder)
            finally:
                await process.stop()

    async def footprint(self, running: Running) -> Footprint | None:
        """Start-up and memory before its first request; None for the provider itself."""
        if running.process is None:
            return None
        await asyncio.sleep(0.3)
        return Footprint(running.gateway.name, running.process.start_s, running.process.rss_bytes() / 2**20)

    async def sample(self, running: Running, scenario: Scenario) -> Sample:
        """One measurement, longer than `seconds` only where a gateway has not answered everybody by then.

        Raises LoadFailure when an answer was not good.
        """
        gateway, parts = running.gateway, self.calls(running.gateway, scenario.parts)
        callers = sum(connections for _, connections in parts)
        await quiet(running)
        cpu_before = _cpu_s(running)
        async with Load(running.port, parts) as load:
            await _warm_up(load, scenario.title)
            warm, lag_before = load.tally, await _lag(running, scenario)
            load.tally = Tally()
            cpu, began = _cpu_s(running), perf_counter()
            await asyncio.sleep(self.seconds * scenario.stretch)
            await _until_answered(load, callers)
            tally, took = load.tally, perf_counter() - began
            cpu = _cpu_s(running) - cpu
            lag_after = await _lag(running, scenario)
            rest = load.tally = Tally()
            await come_to_rest(load, scenario.title)
        failed = next((window for window in (warm, tally, rest) if window.failed), None)
        if failed is not None or tally.finished < 2:
            raise failure_of(running, scenario.title, failed or tally)
        await quiet(running)
        cpu_in_all, requests = _cpu_s(running) - cpu_before, warm.finished + tally.finished + rest.finished
        latencies, firsts = quantiles(tally.latencies_ms, n=100), quantiles(tally.first_bytes_ms or (0.0, 0.0), n=100)
        is_stream = bool(tally.first_bytes_ms)
        return Sample(
            gateway.name,
            scenario.title,
            requests_per_s=tally.finished / took,
            cpu_us=cpu_in_all / requests * 1e6,
            core_busy=cpu / took,
            p50_ms=latencies[49],
            p99_ms=latencies[98],
            first_p50_ms=firsts[49] if is_stream else None,
            first_p99_ms=firsts[98] if is_stream else None,
            lag=lag_after - lag_before,
        )

    def calls(self, gateway: Gateway, parts: Sequence[Part]) -> list[tuple[Call, int]]:
        headers = tuple(header.format(upstream=self.upstream_port) for header in gateway.headers)
        return [(part.call(gateway.keys, headers), part.connections) for part in parts]

    async def stream_memory(self, gateway: Gateway, streams: int) -> float:
        """KB of memory each of `streams` slow streams takes, above a gateway that has already served some."""
        async with self.running(gateway) as running:
            assert running.process is not None
            async with Load(running.port, self.calls(gateway, (stream_part("", 16),))) as load:
                await _warm_up(load, "before the slow streams")
            before = running.process.rss_bytes()
            async with Load(running.port, self.calls(gateway, (stream_part("-slow", streams),))) as load:
                try:
                    async with asyncio.timeout(FIRST_ANSWERS_LIMIT_S):
                        await load.all_started()
                except TimeoutError:
                    raise LoadFailure(f"{streams} streams did not all start") from None
                await asyncio.sleep(HOLD_STREAMS_S)
                if load.tally.failed:
                    raise failure_of(running, f"{streams} slow streams", load.tally)
                return (running.process.rss_bytes() - before) / streams / 1024


@contextmanager
def _pinned(core: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _many_descriptors() -> Iterator[None]:
    """As many as are needed, as far as this user may have them; children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _warm_up(load: Load, what: str) -> None:
    """Until everybody has an answer, and `WARM_UP_S` at least. Raises LoadFailure."""
    await asyncio.sleep(WARM_UP_S)
    try:
        async with asyncio.timeout(FIRST_ANSWERS_LIMIT_S):
            await load.all_finished_once()
    except TimeoutError:
        raise LoadFailure(f"{what}: not everybody had an answer after {FIRST_ANSWERS_LIMIT_S:.0f} s") from None


async def come_to_rest(load: Load, what: str) -> None:
    """Until the requests under way are answered. Raises LoadFailure."""
    try:
        async with asyncio.timeout(FIRST_ANSWERS_LIMIT_S):
            await load.come_to_rest()
    except TimeoutError:
        raise LoadFailure(f"{what}: not every request was answered after {FIRST_ANSWERS_LIMIT_S:.0f} s") from None


async def quiet(running: Running) -> None:
    """Until what was put off, such as a ledger's rows, is done: or it would be charged to who comes next, or to nobody."""
    deadline, used = perf_counter() + QUIET_LIMIT_S, _cpu_s(running)
    while running.process is not None and perf_counter() < deadline:
        await asyncio.sleep(QUIET_S)
        before, used = used, _cpu_s(running)
        if used - before <= QUIET_S * QUIET_SHARE:
            return


async def _until_answered(load: Load, count: int) -> None:
    """A slow gateway gets time for as many answers as there are callers."""
    deadline = perf_counter() + WINDOW_LIMIT_S
    while load.tally.finished < count and not load.tally.failed and perf_counter() < deadline:
        await asyncio.sleep(0.02)


def failure_of(running: Running, what: str, tally: Tally) -> LoadFailure:
    first = tally.first_failure.decode(errors="replace")
    return LoadFailure(f"{what}: {tally.failed} failed, {tally.finished} good; the first:\n{first}\n{running.log_tail()}")


def _cpu_s(running: Running) -> float:
    return 0.0 if running.process is None else running.process.cpu_s()


async def _lag(running: Running, scenario: Scenario) -> Buckets:
    """The lag histogram so far; empty for who has none or where it is not asked for."""
    if "lag_p99_ms" not in scenario.rows or not running.gateway.metrics_path:
        return Buckets()
    return lag_buckets((await fetch(running.port, running.gateway.metrics_path)).decode())
