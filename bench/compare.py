"""All contestants in turns, each through all scenarios, the order reversed each round."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.gateways import Gateway, direct
from bench.measure import Footprint, LoadFailure, Rig, Sample
from bench.processes import StartFailure
from bench.progress import say
from bench.scenarios import Scenario, is_for_direct


@dataclass(slots=True)
class Results:
    """Everything one run measured. `stream_kb` is memory per open stream by gateway; `failures` are gateways with what has
    no figure of them."""

    gateways: Sequence[str]
    scenarios: Sequence[Scenario]
    samples: list[Sample] = field(default_factory=list)
    footprints: list[Footprint] = field(default_factory=list)
    stream_kb: dict[str, float] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)

    def of(self, gateway: str, scenario: str) -> list[Sample]:
        return [sample for sample in self.samples if (sample.gateway, sample.scenario) == (gateway, scenario)]


async def compare(
    rig: Rig, gateways: Sequence[Gateway], scenarios: Sequence[Scenario], *, rounds: int, streams: int
) -> Results:
    """Medians need `rounds` samples of each; `streams` are held open once for each gateway, 0 leaves that out."""
    results = Results([gateway.name for gateway in gateways], scenarios)
    for number in range(rounds):
        turns = [direct(), *(gateway for gateway in gateways if number == 0 or not gateway.once)]
        for gateway in turns if number % 2 == 0 else reversed(turns):
            await _take_turn(rig, gateway, results)
    if streams:
        say(f"{streams:,} open streams")
        for gateway in gateways:
            try:
                results.stream_kb[gateway.name] = await rig.stream_memory(gateway, streams)
            except (LoadFailure, StartFailure) as failure:
                _note(results, gateway, failure)
    return results


async def _take_turn(rig: Rig, gateway: Gateway, results: Results) -> None:
    """A scenario that fails is noted, and the next one is tried."""
    scenarios = [scenario for scenario in results.scenarios if gateway.command is not None or is_for_direct(scenario)]
    if not scenarios:
        return
    costs = []
    try:
        async with rig.running(gateway) as running:
            footprint = await rig.footprint(running)
            if footprint is not None:
                results.footprints.append(footprint)
            for scenario in scenarios:
                try:
                    sample = await rig.sample(running, scenario)
                except LoadFailure as failure:
                    _note(results, gateway, failure)
                    continue
                results.samples.append(sample)
                costs.append(f"{sample.cpu_us:,.0f}")
    except StartFailure as failure:
        _note(results, gateway, failure)
    say(f"{gateway.name}: {', '.join(costs)} us")


def _note(results: Results, gateway: Gateway, failure: Exception) -> None:
    say(f"{gateway.name}: {failure}")
    first_line = str(failure).partition("\n")[0].removesuffix("; the first:")
    results.failures.append((gateway.name, first_line))
