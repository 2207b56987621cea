"""`--instructions`: counted by valgrind's callgrind, so that neighbours do not matter, and by the library they are in.

Fifty times slower than life, so rates and times mean nothing here: only the counts do.
"""

import asyncio
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.gateways import Gateway, bare
from bench.load import PATH, Load
from bench.measure import LoadFailure, Rig, Running, come_to_rest, failure_of, quiet
from bench.processes import StartFailure
from bench.progress import say
from bench.report import cell, ratio_cell
from bench.routerd import Urls, routerd
from bench.scenarios import BURST, Scenario, json_scenario

WARM_UP = 400
COUNTED = 1600
_ANSWERS_LIMIT_S = 180.0
_START_LIMIT_S = 120.0
_SWITCH_LIMIT_S = 30.0
_COUNTS = "counts"
_LEAST_SHARE = 0.02
_TOOLS = ("valgrind", "callgrind_control")

SCENARIOS = (json_scenario(16), BURST)
NOTE = "`lean` is aiohttp's server and our connections to providers with nothing between."


@dataclass(frozen=True, slots=True)
class Count:
    """Instructions for a request, or a stream, by the file they are in: a program or a library."""

    gateway: str
    scenario: str
    by_file: Counter[str]

    @property
    def total(self) -> float:
        return sum(self.by_file.values())


def lean() -> Gateway:
    async def command(port: int, upstream: int, _folder: Path) -> list[str]:
        url = f"http://127.0.0.1:{upstream}{PATH}"
        return [sys.executable, "-m", "bench.lean_proxy", "--port", str(port), "--url", url]

    return Gateway("lean", command)


def contestants(urls: Urls, program: Path | None) -> list[Gateway]:
    """The yardstick first, the candidate second, as everywhere. Raises StartFailure where valgrind is not installed."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise StartFailure(
            f"--instructions counts with valgrind, and {' and '.join(missing)} cannot be found: install valgrind"
        )
    return [_watched(gateway) for gateway in (bare(), routerd(program=program, urls=urls), lean())]


def _watched(gateway: Gateway) -> Gateway:
    """The same under callgrind, which does not count yet."""
    plain = gateway.command
    assert plain is not None, "the provider itself has no process to watch"

    async def command(port: int, upstream: int, folder: Path) -> list[str]:
        watch = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={_COUNTS}"]
        return [*watch, *await plain(port, upstream, folder)]

    return replace(gateway, command=command, start_limit_s=_START_LIMIT_S)


async def count_instructions(rig: Rig, gateways: Sequence[Gateway]) -> list[Count]:
    """One count of each: a second one differs by less than one per cent. Raises LoadFailure, StartFailure."""
    counts = []
    for scenario in SCENARIOS:
        for gateway in gateways:
            async with rig.running(gateway) as running:
                requests = await _counted(rig, running, scenario)
                counts_file = running.folder / _COUNTS
                assert running.process is not None
                await running.process.stop()
                with counts_file.open() as lines:
                    by_file = by_file_of(lines)
            each = Counter({name: count // requests for name, count in by_file.items()})
            counts.append(Count(gateway.name, scenario.title, each))
            say(f"{scenario.title}, {gateway.name}: {counts[-1].total / 1000:,.0f} thousand instructions")
    return counts


async def _counted(rig: Rig, running: Running, scenario: Scenario) -> int:
    """The number of requests that were counted: all between two moments at which nothing was left to do."""
    await _answered(rig, running, scenario, WARM_UP)
    await _switch(running, "on")
    requests = await _answered(rig, running, scenario, COUNTED)
    await _switch(running, "off")
    return requests


async def _answered(rig: Rig, running: Running, scenario: Scenario, count: int) -> int:
    """Ask until `count` requests are answered, and until what was put off is done too."""
    async with Load(running.port, rig.calls(running.gateway, scenario.parts)) as load:
        try:
            async with asyncio.timeout(_ANSWERS_LIMIT_S):
                while load.tally.finished < count and not load.tally.failed:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise LoadFailure(f"{scenario.title}: {load.tally.finished} of {count} answers came in time") from None
        await come_to_rest(load, scenario.title)
    if load.tally.failed:
        raise failure_of(running, scenario.title, load.tally)
    await quiet(running)
    return load.tally.finished


async def _switch(running: Running, state: str) -> None:
    assert running.process is not None
    control = await asyncio.create_subprocess_exec(
        *("callgrind_control", "-i", state, str(running.process.pid)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_SWITCH_LIMIT_S):
            told, _ = await control.communicate()
    except TimeoutError:
        control.kill()
        raise StartFailure("callgrind_control did not reach the process that is counted") from None
    if control.returncode:
        raise StartFailure(f"callgrind_control: {told.decode(errors='replace')[-500:]}")


_FILE = re.compile(r"c?ob=\((\d+)\)(?: (.*))?$")
_COST = re.compile(r"[+*\-\d]\S* (\d+)$")


def by_file_of(lines: Iterable[str]) -> Counter[str]:
    """What callgrind wrote, as instructions by the name of the program or library they are in.

    Costs of its functions follow the line `ob=(number) path`; the path is told once for each number, be it with `cob=`
    where another file is called. Behind `calls=` comes what a call cost in all, which is counted where it was spent.
    """
    names: dict[str, str] = {}
    found: Counter[str] = Counter()
    current, is_inclusive = "", False
    for line in lines:
        if file := _FILE.match(line):
            number, path = file.groups()
            if path:
                names[number] = _short(path)
            if line.startswith("ob"):
                current = names[number]
        elif line.startswith("calls="):
            is_inclusive = True
        elif cost := _COST.match(line):
            if not is_inclusive:
                found[current] += int(cost[1])
            is_inclusive = False
    return found


def _short(path: str) -> str:
    """An extension module with its package, for there are many by the name of `_core`; of others the file's name."""
    file = Path(path)
    module, is_extension, _ = file.name.partition(".cpython-")
    return f"{file.parent.name}/{module}" if is_extension else file.name


def table(counts: Sequence[Count]) -> str:
    """Thousands for a request of each contestant, the yardstick first and the candidate second; below, the files in which
    those of the candidate are."""
    gateways = list(dict.fromkeys(count.gateway for count in counts))
    yardstick, candidate = gateways[:2]
    width = 50
    head = f"{'thousand instructions each':{width}}" + "".join(f"{name:>10} " for name in gateways)
    lines = [f"{head} {candidate}/{yardstick}"]
    for scenario in dict.fromkeys(count.scenario for count in counts):
        of = {count.gateway: count for count in counts if count.scenario == scenario}
        ratio = ratio_cell(of[candidate].total / of[yardstick].total)
        lines += ["", _line(scenario, [of[name].total for name in gateways], width) + f"  {ratio}"]
        for file, amount in of[candidate].by_file.most_common():
            if amount >= _LEAST_SHARE * of[candidate].total:
                lines.append(_line(f"  {file}", [of[name].by_file[file] for name in gateways], width))
    return "\n".join(lines)


def _line(label: str, figures: Sequence[float], width: int) -> str:
    return f"{label:{width}}" + " ".join(cell(figure / 1000) for figure in figures)
