"""What is measured on one gateway: CPU and latency per scenario, start-up, idle memory, memory per open stream."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

from bench.gateways import KEY, Gateway
from bench.load import Call, Load, Tally
from bench.processes import Cores, Process, free_port

WARM_UP_S = 0.7
OPEN_STREAMS = 500
# Long enough for the slow provider to send each stream a few events.
HOLD_STREAMS_S = 3.0


class LoadFailure(Exception):
    """Some answers were not good: figures about them would mean nothing."""


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    call: Call
    connections: int


SCENARIOS = (
    Scenario("JSON 1 KB, 16 connections", Call.chat("gpt-4o-mini", KEY), 16),
    Scenario("JSON 1 KB, 64 connections", Call.chat("gpt-4o-mini", KEY), 64),
    Scenario("20-event streams in one burst, 16", Call.chat("gpt-4o-mini", KEY, stream=True), 16),
    Scenario("20-event streams, 5 ms apart, 64", Call.chat("gpt-4o-mini-paced", KEY, stream=True), 64),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One scenario on one gateway once. CPU is user + system time of the gateway's processes."""

    gateway: str
    scenario: str
    requests_per_s: float
    cpu_us: float
    core_busy: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Footprint:
    gateway: str
    start_s: float
    idle_mb: float


@asynccontextmanager
async def running(gateway: Gateway, upstream_port: int, cores: Cores) -> AsyncIterator[tuple[Process, int]]:
    """The gateway alone on its core, ready, with its port; ended and its files removed on the way out."""
    with TemporaryDirectory(prefix="routerd-bench-") as folder:
        port = free_port()
        started = perf_counter()
        command = gateway.command(port, upstream_port, Path(folder))
        process = Process.start(command, core=cores.measured, folder=Path(folder), name=gateway.name)
        try:
            await process.ready(port, gateway.ready_path, started)
            yield process, port
        finally:
            await process.stop()


async def measure(
    gateway: Gateway, upstream_port: int, cores: Cores, *, seconds: float, scenarios: Sequence[Scenario] = SCENARIOS
) -> tuple[Footprint, list[Sample]]:
    """Start the gateway, take its idle footprint, run each scenario for `seconds`."""
    async with running(gateway, upstream_port, cores) as (process, port):
        await asyncio.sleep(0.3)
        footprint = Footprint(gateway.name, process.start_s, process.rss_bytes() / 2**20)
        samples = [await _run(gateway.name, process, port, scenario, seconds) for scenario in scenarios]
    return footprint, samples


async def _run(name: str, process: Process, port: int, scenario: Scenario, seconds: float) -> Sample:
    async with Load(port, scenario.call, scenario.connections) as load:
        await asyncio.sleep(WARM_UP_S)
        warm, load.tally = load.tally, Tally()
        cpu, began = process.cpu_s(), perf_counter()
        await asyncio.sleep(seconds)
        tally, took = load.tally, perf_counter() - began
        cpu = process.cpu_s() - cpu
    failed = warm.failed + tally.failed
    if failed or tally.finished < 2:
        first = (warm.first_failure or tally.first_failure).decode(errors="replace")
        raise LoadFailure(
            f"{name}, {scenario.name}: {failed} failed, {tally.finished} good; the first:\n{first}\n{process.log_tail()}"
        )
    percentiles = quantiles(tally.latencies_ms, n=100)
    return Sample(
        name,
        scenario.name,
        requests_per_s=tally.finished / took,
        cpu_us=cpu / tally.finished * 1e6,
        core_busy=cpu / took,
        p50_ms=percentiles[49],
        p99_ms=percentiles[98],
    )


async def stream_memory(gateway: Gateway, upstream_port: int, cores: Cores) -> float:
    """KB of memory each of `OPEN_STREAMS` slow streams takes, above a gateway that has already served some."""
    async with running(gateway, upstream_port, cores) as (process, port):
        async with Load(port, Call.chat("gpt-4o-mini", KEY, stream=True), 16):
            await asyncio.sleep(WARM_UP_S)
        before = process.rss_bytes()
        async with Load(port, Call.chat("gpt-4o-mini-slow", KEY, stream=True), OPEN_STREAMS) as load, asyncio.timeout(30):
            await load.all_started()
            await asyncio.sleep(HOLD_STREAMS_S)
            if load.tally.failed:
                raise LoadFailure(
                    f"{gateway.name}: {load.tally.failed} of {OPEN_STREAMS} slow streams failed\n{process.log_tail()}"
                )
            return (process.rss_bytes() - before) / OPEN_STREAMS / 1024
