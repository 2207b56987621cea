"""Medians of the samples, as one table for people and one document for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from bench.measure import Footprint, Sample


@dataclass(frozen=True, slots=True)
class Results:
    """Everything one run measured. `stream_kb` is memory per open stream by gateway."""

    yardstick: str
    candidate: str
    samples: Sequence[Sample]
    footprints: Sequence[Footprint]
    stream_kb: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity on both sides; `ratio` is candidate over yardstick."""

    quantity: str
    yardstick: float
    candidate: float

    @property
    def ratio(self) -> float:
        return self.candidate / self.yardstick if self.yardstick else float("nan")


def rows_of(results: Results) -> list[Row]:
    scenarios = list(dict.fromkeys(sample.scenario for sample in results.samples))
    rows = []
    for scenario in scenarios:
        for quantity, label in (
            ("cpu_us", "CPU us per request"),
            ("requests_per_s", "requests/s"),
            ("p50_ms", "p50 ms"),
            ("p99_ms", "p99 ms"),
        ):
            sides = [
                median(getattr(s, quantity) for s in results.samples if (s.gateway, s.scenario) == (name, scenario))
                for name in (results.yardstick, results.candidate)
            ]
            rows.append(Row(f"{scenario}: {label}", *sides))
    for quantity, label in (("start_s", "start-up to ready, s"), ("idle_mb", "memory idle, MB")):
        sides = [
            median(getattr(f, quantity) for f in results.footprints if f.gateway == name)
            for name in (results.yardstick, results.candidate)
        ]
        rows.append(Row(label, *sides))
    rows.append(
        Row("memory per open stream, KB", results.stream_kb[results.yardstick], results.stream_kb[results.candidate])
    )
    return rows


def table(results: Results) -> str:
    """Plain text, one line a quantity."""
    rows = rows_of(results)
    width = max(len(row.quantity) for row in rows)
    lines = [f"{'':{width}}  {results.yardstick:>10}  {results.candidate:>10}  {'ratio':>6}"]
    lines += [f"{row.quantity:{width}}  {row.yardstick:10.2f}  {row.candidate:10.2f}  {row.ratio:6.2f}" for row in rows]
    return "\n".join(lines)


def document(results: Results, machine: Mapping[str, str]) -> dict[str, object]:
    """For `--json`: the medians, every sample behind them, and the machine they were taken on."""
    return {
        "machine": dict(machine),
        "medians": [{**asdict(row), "ratio": row.ratio} for row in rows_of(results)],
        "samples": [asdict(sample) for sample in results.samples],
        "footprints": [asdict(footprint) for footprint in results.footprints],
        "stream_kb": dict(results.stream_kb),
    }
