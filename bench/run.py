"""`make bench`: routerd, a bare aiohttp proxy and nginx in turns, each alone on one core; prints one table.

Everything runs on loopback and ends by itself. Machines drift: read the ratios; under 15 % is no difference.
"""

import asyncio
import json
import os
import platform
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import uvloop

from bench import ablation, dialects, instructions, scale
from bench.arguments import Options, read_arguments
from bench.compare import Results, compare
from bench.gateways import Gateway, bare, nginx
from bench.measure import LoadFailure, Rig
from bench.peers import installed_peers
from bench.processes import StartFailure
from bench.progress import say
from bench.report import document, table
from bench.routerd import Urls, routerd, sqlite
from bench.scenarios import SCENARIOS
from bench.stores import postgres_and_redis
from bench.variants import measure_variants, variants_table

LIMIT_S = 3600.0


def main() -> None:
    options = read_arguments()
    if not hasattr(os, "sched_setaffinity") or not Path("/proc/self/stat").exists():
        sys.exit("bench reads CPU times from /proc and pins processes to cores: it needs Linux.")
    began = perf_counter()
    try:
        text, is_whole = uvloop.run(_bounded(options))
    except (LoadFailure, StartFailure, TimeoutError) as failure:
        sys.exit(f"bench: {str(failure) or f'not done within {LIMIT_S:.0f} s'}")
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("bench: interrupted; everything it started has ended")
    took = perf_counter() - began
    print(f"{text}\n\n{_how(options)}, {options.store}; {took:.0f} s in all")
    print(", ".join(facts().values()))
    sys.exit(0 if is_whole else 1)


async def _bounded(options: Options) -> tuple[str, bool]:
    """The table, and whether routerd and its yardstick have all their figures; ends on SIGTERM too."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(LIMIT_S), AsyncExitStack() as stack:
        rig = await stack.enter_async_context(Rig.standing(options.seconds))
        urls: Urls = sqlite
        if options.store != "sqlite":
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="routerd-bench-")))
            urls = await stack.enter_async_context(postgres_and_redis(folder, rig.cores.load))
        return await _run(options, rig, urls)


async def _run(options: Options, rig: Rig, urls: Urls) -> tuple[str, bool]:
    match options.mode:
        case "scale":
            samples = await measure_variants(rig, scale.variants(urls), rounds=options.rounds)
            return variants_table(samples, scale.COLUMNS), True
        case "dialects":
            samples = await measure_variants(rig, dialects.variants(urls), rounds=options.rounds)
            return variants_table(samples, dialects.COLUMNS), True
        case "ablation":
            samples = await measure_variants(rig, ablation.variants(urls), rounds=options.rounds)
            return f"{variants_table(samples, ablation.COLUMNS)}\n\n{ablation.NOTE}", True
        case "instructions":
            counted = instructions.contestants(urls, options.program)
            counts = await instructions.count_instructions(rig, counted)
            return f"{instructions.table(counts)}\n\n{instructions.NOTE}", True
        case "noise":
            contestants = [bare(), bare("bare again")]
        case _:
            contestants = await _contestants(options, urls)
    scenarios = [scenario for scenario in SCENARIOS if scenario.group in options.groups]
    results = await compare(rig, contestants, scenarios, rounds=options.rounds, streams=options.streams)
    return _told(options, results)


async def _contestants(options: Options, urls: Urls) -> list[Gateway]:
    """The yardstick first, the candidate second."""
    contestants = [bare(), routerd(program=options.program, urls=urls)]
    relay = nginx()
    if relay is None:
        say("nginx is not installed: its column is left out")
    else:
        contestants.append(relay)
    if options.peers:
        contestants += await asyncio.to_thread(installed_peers)
    return contestants


def _how(options: Options) -> str:
    if options.mode == "instructions":
        return f"one count of {instructions.COUNTED:,} requests each"
    return f"medians of {options.rounds} round(s) of {options.seconds:g} s"


def _told(options: Options, results: Results) -> tuple[str, bool]:
    yardstick, candidate = results.gateways[:2]
    if options.json:
        content = document(results, facts(), candidate=candidate, yardstick=yardstick)
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    is_whole = not any(gateway in {yardstick, candidate} for gateway, _ in results.failures)
    return table(results, candidate=candidate, yardstick=yardstick), is_whole


def facts() -> Mapping[str, str]:
    """What a reader needs to compare figures of two machines."""
    return {
        "python": f"Python {platform.python_version()}",
        "aiohttp": f"aiohttp {version('aiohttp')}",
        "uvloop": f"uvloop {version('uvloop')}",
        "cores": f"{os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}",
    }


if __name__ == "__main__":
    main()
