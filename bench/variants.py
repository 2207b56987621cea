"""routerd against itself in variants: each series begins with the variant that the others are divided by."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.gateways import Gateway
from bench.measure import Rig, Sample
from bench.progress import say
from bench.report import NOISE, cell, ratio_cell
from bench.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Variant:
    """`prepare` acts on the folder of the running daemon before the load."""

    series: str
    name: str
    gateway: Gateway
    scenarios: tuple[Scenario, ...]
    prepare: Callable[[Path], Awaitable[None]] | None = None


Samples = Mapping[tuple[str, str], Sequence[Sequence[Sample]]]
"""(series, name) to a list of samples for each of the variant's scenarios."""


async def measure_variants(rig: Rig, variants: Sequence[Variant], *, rounds: int) -> Samples:
    """Every variant once a round, the order reversed each round. Raises LoadFailure, StartFailure."""
    found: dict[tuple[str, str], list[list[Sample]]] = {(v.series, v.name): [[] for _ in v.scenarios] for v in variants}
    for number in range(rounds):
        for variant in variants if number % 2 == 0 else reversed(variants):
            async with rig.running(variant.gateway) as running:
                if variant.prepare is not None:
                    await variant.prepare(running.folder)
                for scenario, samples in zip(variant.scenarios, found[variant.series, variant.name], strict=True):
                    samples.append(await rig.sample(running, scenario))
            costs = ", ".join(f"{samples[-1].cpu_us:.0f}" for samples in found[variant.series, variant.name])
            say(f"{variant.series}, {variant.name}: {costs} us")
    return found


def variants_table(samples: Samples, columns: Sequence[str]) -> str:
    """CPU of each scenario in the order of `columns`, the difference from the first of the series, and the ratio to it."""
    width = max(len(name) for _, name in samples) + 2
    head = f"{'CPU us each':{width}}" + "".join(f"  {column:>10}{'+/-':>8}{'ratio':>8}  " for column in columns)
    lines, first, current = [head], list[float](), ""
    for (series, name), measured in samples.items():
        costs = [median(sample.cpu_us for sample in each) for each in measured]
        if series != current:
            current, first = series, costs
            lines += ["", series]
        pairs = zip(costs, first, strict=True)
        cells = [_cells(cost, base, is_first=costs is first) for cost, base in pairs]
        lines.append(f"  {name:{width - 2}}{''.join(cells)}".rstrip())
    return "\n".join([*lines, "", f"~  within {NOISE:.0%} of 1: noise, no difference"])


def _cells(cost: float, base: float, *, is_first: bool) -> str:
    compared = "" if is_first else f"{cost - base:>+8.1f}  {ratio_cell(cost / base)}"
    return f"  {cell(cost)}{compared:18}"
