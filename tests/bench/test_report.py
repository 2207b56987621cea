"""What the tables say: medians, ratios, what is noise, what was not the gateway's doing, what has no figure."""

from dataclasses import replace

import pytest

from bench.compare import Results
from bench.lag import Buckets
from bench.measure import Footprint, Sample
from bench.report import Row, cell, document, is_noise, rows_of, table
from bench.scenarios import Part, Scenario
from bench.variants import variants_table

JSON = Scenario("json", "json", (Part(16),), ("cpu_us", "requests_per_s"))
ALONE = Scenario("json", "alone", (Part(1),), ("p50_ms", "added_p50_ms", "requests_per_s"))
FIRST = Scenario("stream", "first byte", (Part(1, stream=True),), ("first_p50_ms", "added_first_p50_ms"))
MIXED = Scenario("large", "mixed", (Part(64),), ("lag_p99_ms",))


def sample(gateway: str, scenario: Scenario, cpu_us: float = 100, p50_ms: float = 1) -> Sample:
    return Sample(
        gateway, scenario.title, requests_per_s=1e6 / cpu_us, cpu_us=cpu_us, core_busy=1.0, p50_ms=p50_ms, p99_ms=9.0
    )


def results(scenario: Scenario, *samples: Sample) -> Results:
    return Results(["bare", "routerd"], [scenario], list(samples))


def row(found: Results, label: str) -> Row:
    (only,) = (each for each in rows_of(found) if each.label == label)
    return only


def test_the_ratio_is_of_medians_and_compares_like_with_like() -> None:
    found = results(
        JSON,
        *(sample("bare", JSON, cpu) for cpu in (100, 110, 900)),
        *(sample("routerd", JSON, cpu) for cpu in (130, 132, 90)),
    )
    assert row(found, "CPU us each").figures == {"bare": 110, "routerd": 130}
    assert row(found, "CPU us each").ratio("routerd", "bare") == pytest.approx(130 / 110)


def test_what_a_gateway_adds_is_above_the_provider_alone() -> None:
    found = results(
        ALONE, *(sample(name, ALONE, p50_ms=p50) for name, p50 in (("direct", 1), ("bare", 1.5), ("routerd", 2)))
    )
    assert row(found, "p50 ms").figures == {"bare": 1.5, "routerd": 2}
    assert row(found, "added to the provider's p50, ms").figures == {"bare": 0.5, "routerd": 1}


def test_the_first_byte_is_a_figure_of_streams_only() -> None:
    stream = [replace(sample(name, FIRST), first_p50_ms=first) for name, first in (("direct", 0.1), ("routerd", 0.4))]
    found = results(FIRST, *stream)
    assert row(found, "p50 ms").figures == {"routerd": 0.4}
    assert row(found, "added to the provider's p50, ms").figures["routerd"] == pytest.approx(0.3)


def test_the_lag_is_of_all_rounds_together() -> None:
    quiet, late = Buckets([(0.01, 98), (0.02, 98), (float("inf"), 98)]), Buckets([(0.01, 0), (0.02, 2), (float("inf"), 2)])
    found = results(MIXED, *(replace(sample("routerd", MIXED), lag=lag) for lag in (quiet, late)), sample("bare", MIXED))
    assert row(found, "event loop lag p99, ms").figures == {"routerd": pytest.approx(15.0)}


def test_a_gateway_that_was_not_the_limit_is_marked_where_there_were_many_connections() -> None:
    many = results(JSON, sample("bare", JSON), replace(sample("routerd", JSON), core_busy=0.5))
    assert row(many, "answers/s").idle == {"routerd"}
    assert row(many, "CPU us each").idle == set()
    assert "its core was not full" in table(many, candidate="routerd", yardstick="bare")
    one = results(ALONE, replace(sample("bare", ALONE), core_busy=0.5))
    assert row(one, "answers/s").idle == set()


def test_a_failure_leaves_its_cell_empty_and_stands_below_the_table() -> None:
    found = results(JSON, sample("bare", JSON))
    found.failures.append(("routerd", "json: 3 failed, 0 good"))
    lines = table(found, candidate="routerd", yardstick="bare").splitlines()
    assert next(line for line in lines if "CPU us each" in line).split()[-2:] == ["100", "-"]
    assert lines[-1] == "-  routerd: json: 3 failed, 0 good"


def test_the_table_says_what_is_noise() -> None:
    assert [is_noise(ratio) for ratio in (0.84, 0.86, 1.0, 1.14, 1.16)] == [False, True, True, True, False]
    text = table(results(JSON, sample("bare", JSON), sample("routerd", JSON)), candidate="routerd", yardstick="bare")
    assert "1.00 ~" in text
    assert "~  within 15% of 1: noise, no difference" in text


@pytest.mark.parametrize(
    ("figure", "text"),
    [(0.347, "0.35"), (17.44, "17.4"), (151.4, "151"), (8091.0, "8,091"), (-0.2, "-0.20"), (None, "-")],
)
def test_three_digits_are_printed(figure: float | None, text: str) -> None:
    assert cell(figure).strip() == text


def test_the_process_has_rows_of_its_own() -> None:
    found = results(JSON, sample("bare", JSON), sample("routerd", JSON))
    found.footprints += [Footprint("bare", 0.2, 40.0), Footprint("routerd", 1.0, 60.0)]
    found.stream_kb |= {"bare": 25.0, "routerd": 50.0}
    ratios = {each.label: each.ratio("routerd", "bare") for each in rows_of(found) if each.title == "the process"}
    assert ratios == {"start to ready, s": 5.0, "memory idle, MB": 1.5, "memory per open stream, KB": 2.0}


def test_the_document_holds_every_sample_and_the_machine() -> None:
    found = results(JSON, sample("bare", JSON), sample("routerd", JSON, cpu_us=200))
    content = document(found, {"cores": "2 cores"}, candidate="routerd", yardstick="bare")
    assert content["machine"] == {"cores": "2 cores"}
    assert isinstance(content["samples"], list)
    assert len(content["samples"]) == 2
    assert isinstance(content["medians"], list)
    assert content["medians"][0]["ratio"] == 2


def test_variants_are_compared_with_the_first_of_their_series() -> None:
    text = variants_table(
        {
            ("keys", "10 keys"): [[sample("routerd", JSON, cpu) for cpu in (100, 104, 300)]],
            ("keys", "1,000 keys"): [[sample("routerd", JSON, 156)]],
            ("aliases", "1 alias"): [[sample("routerd", JSON, 50)]],
        },
        ["1 KB JSON"],
    )
    rows = {line.split("  ")[1]: line.split() for line in text.splitlines() if line.startswith("  ")}
    assert rows["10 keys"][2:] == ["104"]
    assert rows["1,000 keys"][2:] == ["156", "+52.0", "1.50"]
    assert rows["1 alias"][2:] == ["50.0"]
