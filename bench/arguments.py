"""The command line of the bench as one value, with all that `--quick` changes already in it."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.scenarios import GROUPS

STORES = ("sqlite", "postgres-redis")
MODES = {
    "scale": "cost by number of keys, aliases, targets",
    "ablation": "cost of each feature of routerd",
    "dialects": "cost of translation",
    "instructions": "instructions instead of time, counted by valgrind",
    "noise": "the bare proxy against itself",
}
"""Instead of the comparison."""


@dataclass(frozen=True, slots=True)
class Options:
    """`mode` is `compare` or one of MODES; `groups` are those of the scenarios; `seconds` a measurement."""

    mode: str
    groups: tuple[str, ...]
    rounds: int
    seconds: float
    streams: int
    store: str
    json: Path | None
    program: Path | None
    peers: bool


def read_arguments(words: Sequence[str] | None = None) -> Options:
    """Ends the program with a message where they make no sense."""
    parser = _parser()
    given = parser.parse_args(words)
    modes = [name for name in MODES if getattr(given, name)]
    if len(modes) > 1:
        parser.error(f"--{modes[0]} and --{modes[1]} are two runs: choose one")
    if modes and given.peers:
        parser.error(f"--peers is for the comparison: it does not go with --{modes[0]}")
    quick = given.quick
    return Options(
        mode=modes[0] if modes else "compare",
        groups=given.only,
        rounds=given.rounds or (1 if quick else 3),
        seconds=given.seconds or (0.6 if quick else 1.5),
        streams=0 if "memory" not in given.only else 200 if quick else 1000,
        store=given.store,
        json=given.json,
        program=given.routerd,
        peers=given.peers,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench", description="routerd, a bare aiohttp proxy and nginx in turns, each alone on one core; one table."
    )
    kinds = "; ".join(f"{name}: {meaning}" for name, meaning in GROUPS.items())
    parser.add_argument("--rounds", type=_rounds, help="alternations that medians are of, 1 to 20 (default 3)")
    parser.add_argument("--seconds", type=_seconds, help="length of each measurement, 0.1 to 60 (default 1.5)")
    parser.add_argument(
        "--only", type=_groups, default=tuple(GROUPS), metavar="GROUP,...", help=f"scenarios to run; {kinds}"
    )
    parser.add_argument("--quick", action="store_true", help="one round of short measurements: does it run at all")
    parser.add_argument("--store", choices=STORES, default=STORES[0], help="where routerd keeps its ledger and limits")
    for name, meaning in MODES.items():
        parser.add_argument(f"--{name}", action="store_true", help=f"instead: {meaning}")
    parser.add_argument("--peers", action="store_true", help="install LiteLLM and Portkey, and measure them too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write samples and medians there (comparison only)")
    parser.add_argument("--routerd", type=Path, metavar="PROGRAM", help="the installed program to measure, not this tree")
    return parser


def _rounds(text: str) -> int:
    return int(_between(text, 1, 20, whole=True))


def _seconds(text: str) -> float:
    return _between(text, 0.1, 60)


def _between(text: str, least: float, most: float, *, whole: bool = False) -> float:
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a number from {least:g} to {most:g}")
    return value


def _groups(text: str) -> tuple[str, ...]:
    """In the order of the table, each once."""
    named = text.split(",")
    unknown = [name for name in named if name not in GROUPS]
    if unknown:
        raise argparse.ArgumentTypeError(f"found {unknown[0]!r}; expected some of {', '.join(GROUPS)}")
    return tuple(name for name in GROUPS if name in named)
