"""`make bench`: routerd against a bare aiohttp proxy, alternating, each alone on one core; prints one table.

Everything runs on loopback and ends by itself. Machines drift: read the ratios; under a quarter is no difference.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import uvloop

from bench.gateways import Gateway, bare, routerd
from bench.measure import SCENARIOS, Footprint, LoadFailure, Sample, measure, stream_memory
from bench.processes import Cores, Process, StartFailure, free_port
from bench.report import Results, document, table

LIMIT_S = 900.0


def main() -> None:
    given = arguments().parse_args()
    if not hasattr(os, "sched_setaffinity") or not Path("/proc/self/stat").exists():
        sys.exit("bench reads CPU times from /proc and pins processes to cores: it needs Linux.")
    candidate = bare("bare again") if given.noise else routerd(given.routerd)
    began = perf_counter()
    try:
        results = uvloop.run(compare(bare(), candidate, rounds=given.rounds, seconds=given.seconds))
    except (LoadFailure, StartFailure, TimeoutError) as failure:
        sys.exit(f"bench: {str(failure) or f'not done within {LIMIT_S:.0f} s'}")
    machine = facts()
    print(f"{table(results)}\n\n{given.rounds} rounds of {given.seconds:g} s, {perf_counter() - began:.0f} s in all")
    print(", ".join(machine.values()))
    if given.json:
        given.json.write_text(json.dumps(document(results, machine), indent=2) + "\n")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=3, choices=range(1, 21), metavar="1..20", help="alternations; medians are over these"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples and medians there")
    parser.add_argument(
        "--routerd", type=Path, default=Path(sys.executable).with_name("routerd"), help="the program to measure"
    )
    parser.add_argument(
        "--noise", action="store_true", help="measure the bare proxy against itself: what this machine calls equal"
    )
    return parser


async def compare(yardstick: Gateway, candidate: Gateway, *, rounds: int, seconds: float) -> Results:
    """Run both in turns, the order swapped each round."""
    cores = Cores.of_this_machine()
    os.sched_setaffinity(0, {cores.load})
    with TemporaryDirectory(prefix="routerd-bench-") as folder:
        port = free_port()
        started = perf_counter()
        command = [sys.executable, "-m", "bench.upstream", "--port", str(port)]
        upstream = Process.start(command, core=cores.load, folder=Path(folder), name="upstream")
        try:
            async with asyncio.timeout(LIMIT_S):
                await upstream.ready(port, "", started)
                turns = ([yardstick, candidate, candidate, yardstick] * rounds)[: 2 * rounds]
                measured = [await announced(gateway, port, cores, seconds) for gateway in turns]
                stream_kb = {g.name: await stream_memory(g, port, cores) for g in (yardstick, candidate)}
        finally:
            await upstream.stop()
    footprints = [footprint for footprint, _ in measured]
    return Results(yardstick.name, candidate.name, [s for _, samples in measured for s in samples], footprints, stream_kb)


async def announced(gateway: Gateway, upstream_port: int, cores: Cores, seconds: float) -> tuple[Footprint, list[Sample]]:
    footprint, samples = await measure(gateway, upstream_port, cores, seconds=seconds)
    say(f"{gateway.name}: {', '.join(f'{sample.cpu_us:.0f}' for sample in samples)} us")
    return footprint, samples


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def facts() -> dict[str, str]:
    """What a reader needs to compare figures of two machines."""
    return {
        "python": f"Python {platform.python_version()}",
        "aiohttp": f"aiohttp {version('aiohttp')}",
        "uvloop": f"uvloop {version('uvloop')}",
        "cores": f"{os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}",
    }


if __name__ == "__main__":
    say("measuring " + "; ".join(scenario.name for scenario in SCENARIOS))
    main()
