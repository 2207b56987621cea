"""Medians of the samples, as one table for people and one document for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from bench.compare import Results
from bench.gateways import direct
from bench.lag import pooled
from bench.measure import Sample
from bench.scenarios import Scenario

NOISE = 0.15
"""Two runs of the same program differ by this much on machines that do other work too."""

_BUSY = 0.85
_DIRECT = direct().name
_LABELS = {
    "cpu_us": "CPU us each",
    "requests_per_s": "answers/s",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "added_p50_ms": "added to the provider's p50, ms",
    "added_p99_ms": "added to the provider's p99, ms",
    "first_p50_ms": "p50 ms",
    "added_first_p50_ms": "added to the provider's p50, ms",
    "added_first_p99_ms": "added to the provider's p99, ms",
    "lag_p99_ms": "event loop lag p99, ms",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity by gateway; who has no figure for it is absent. `idle` had a core to spare: others were the limit."""

    title: str
    label: str
    figures: Mapping[str, float]
    idle: frozenset[str] = frozenset()

    def ratio(self, candidate: str, yardstick: str) -> float | None:
        above, below = self.figures.get(candidate), self.figures.get(yardstick)
        return above / below if above is not None and below is not None and above > 0 and below > 0 else None


def rows_of(results: Results) -> list[Row]:
    rows = [_row(results, scenario, quantity) for scenario in results.scenarios for quantity in scenario.rows]
    for quantity, label in (("start_s", "start to ready, s"), ("idle_mb", "memory idle, MB")):
        figures = {
            name: median(values)
            for name in results.gateways
            if (values := [getattr(f, quantity) for f in results.footprints if f.gateway == name])
        }
        rows.append(Row("the process", label, figures))
    if results.stream_kb:
        rows.append(Row("the process", "memory per open stream, KB", results.stream_kb))
    return rows


def _row(results: Results, scenario: Scenario, quantity: str) -> Row:
    figures, idle = {}, set()
    for name in results.gateways:
        samples = results.of(name, scenario.title)
        figure = _figure(samples, results.of(_DIRECT, scenario.title), quantity)
        if figure is None:
            continue
        figures[name] = figure
        is_idle = median(sample.core_busy for sample in samples) < _BUSY
        if quantity == "requests_per_s" and is_idle and sum(part.connections for part in scenario.parts) > 1:
            idle.add(name)
    return Row(scenario.title, _LABELS[quantity], figures, frozenset(idle))


def _figure(samples: Sequence[Sample], alone: Sequence[Sample], quantity: str) -> float | None:
    """The median; of the lag the quantile of all windows together; of what is added the difference of medians."""
    if quantity == "lag_p99_ms":
        return pooled(sample.lag for sample in samples).quantile_ms(0.99)
    attribute = quantity.removeprefix("added_")
    figure = _median(samples, attribute)
    if attribute == quantity or figure is None:
        return figure
    base = _median(alone, attribute)
    return None if base is None else figure - base


def _median(samples: Sequence[Sample], attribute: str) -> float | None:
    values = [value for sample in samples if (value := getattr(sample, attribute)) is not None]
    return median(values) if values else None


def table(results: Results, *, candidate: str, yardstick: str) -> str:
    """Plain text: a line a quantity, the titles of scenarios on lines of their own."""
    rows = rows_of(results)
    width = max(len(row.label) for row in rows) + 2
    lines = ["  ".join([f"{'':{width}}", *(f"{name:>10}" for name in results.gateways), f"{candidate}/{yardstick}"])]
    title = ""
    for row in rows:
        if row.title != title:
            title = row.title
            lines += ["", title]
        cells = [cell(row.figures.get(name), "*" if name in row.idle else "") for name in results.gateways]
        lines.append("  ".join([f"  {row.label:{width - 2}}", *cells, ratio_cell(row.ratio(candidate, yardstick))]))
    notes = [f"~  within {NOISE:.0%} of 1: noise, no difference"]
    if any(row.idle for row in rows):
        notes.append("*  its core was not full: the load, the pace or another program was the limit")
    notes += [f"-  {gateway}: {failure}" for gateway, failure in results.failures]
    return "\n".join([*lines, "", *notes])


def cell(figure: float | None, mark: str = "") -> str:
    """Nine characters and a mark; three digits are worth printing, more are not."""
    if figure is None:
        return f"{'-':>9} "
    digits = 0 if abs(figure) >= 100 else 1 if abs(figure) >= 10 else 2
    return f"{figure:>9,.{digits}f}{mark or ' '}"


def ratio_cell(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:6.2f}{' ~' if is_noise(ratio) else ''}"


def is_noise(ratio: float) -> bool:
    return abs(ratio - 1) <= NOISE


def document(results: Results, machine: Mapping[str, str], *, candidate: str, yardstick: str) -> dict[str, object]:
    """For `--json`: the medians, every sample behind them, and the machine they were taken on."""
    return {
        "machine": dict(machine),
        "medians": [
            {
                "scenario": row.title,
                "quantity": row.label,
                "figures": dict(row.figures),
                "ratio": row.ratio(candidate, yardstick),
            }
            for row in rows_of(results)
        ],
        "samples": [asdict(sample) for sample in results.samples],
        "footprints": [asdict(footprint) for footprint in results.footprints],
        "stream_kb": results.stream_kb,
        "failures": results.failures,
    }
