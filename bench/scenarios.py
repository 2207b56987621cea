"""What is asked of every contestant: calls, connections, and the group that `--only` names."""

from dataclasses import dataclass

from bench.load import Call

GROUPS = {
    "json": "1 KB chat requests at 1, 16, 64 and 256 connections",
    "stream": "streams of 20 and of 500 events, time to first byte",
    "large": "1 MB requests, alone and among small ones",
    "memory": "memory of open streams",
}
"""Start-up time and idle memory come with any of them."""

MEGABYTE = 2**20


@dataclass(frozen=True, slots=True)
class Part:
    """`connections` that make one kind of request."""

    connections: int
    models: tuple[str, ...] = ("gpt-4o-mini",)
    stream: bool = False
    body_bytes: int = 1024
    image: bool = False

    def call(self, keys: tuple[str, ...], headers: tuple[str, ...]) -> Call:
        return Call.chat(
            self.models, keys, stream=self.stream, body_bytes=self.body_bytes, image=self.image, headers=headers
        )


@dataclass(frozen=True, slots=True)
class Scenario:
    """`rows` are the quantities of its samples that are shown; `stretch` multiplies the length of a measurement."""

    group: str
    title: str
    parts: tuple[Part, ...]
    rows: tuple[str, ...]
    stretch: float = 1.0


_RATES = ("cpu_us", "requests_per_s", "p50_ms", "p99_ms")
_COSTS = ("cpu_us", "requests_per_s")


def stream_part(kind: str, connections: int) -> Part:
    return Part(connections, (f"gpt-4o-mini{kind}",), stream=True)


def json_scenario(connections: int) -> Scenario:
    named = "1 connection" if connections == 1 else f"{connections} connections"
    rows = (*_RATES, "added_p50_ms", "added_p99_ms") if connections == 1 else _RATES
    return Scenario("json", f"1 KB JSON, {named}", (Part(connections),), rows)


BURST = Scenario("stream", "20-event streams in one burst, 16 connections", (stream_part("", 16),), _COSTS)
LONG_BURST = Scenario("stream", "500-event streams in one burst, 16 connections", (stream_part("-long", 16),), _COSTS)
FIRST_BYTE = Scenario(
    "stream",
    "time to a stream's first byte, 1 connection",
    (stream_part("-first", 1),),
    ("first_p50_ms", "added_first_p50_ms", "added_first_p99_ms"),
)
SCENARIOS = (
    *map(json_scenario, (1, 16, 64, 256)),
    BURST,
    Scenario(
        "stream", "20-event streams, 5 ms between events, 64 connections", (stream_part("-paced", 64),), (*_COSTS, "p99_ms")
    ),
    LONG_BURST,
    FIRST_BYTE,
    Scenario("large", "1 MB with an image, 4 connections", (Part(4, body_bytes=MEGABYTE, image=True),), _COSTS),
    Scenario(
        "large",
        "1 KB JSON, 64 connections, and 1 MB, 2 connections",
        (Part(64), Part(2, body_bytes=MEGABYTE, image=True)),
        ("cpu_us", "p99_ms", "lag_p99_ms"),
        stretch=3.0,
    ),
)


def is_for_direct(scenario: Scenario) -> bool:
    """Whether the provider alone is measured in it too: others are shown as what they add."""
    return any(row.startswith("added_") for row in scenario.rows)
