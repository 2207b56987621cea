"""The pages below `docs/` say what is so: links, routes, codes, metrics, log fields, columns, commands."""

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from router.cli.main import COMMANDS
from router.domain.errors import AttemptNote
from router.domain.ledger import Outcome
from router.domain.upstream import FailureKind
from router.providers.simulated.options import FaultKind, SimulateOptions
from router.server.errors import STATUSES
from router.server.routes import REFUSED_BY_NAME, RouteTable, build_table
from router.server.state import Serving
from router.system import VERSION, SystemClock
from router.telemetry.metrics import Metrics
from router.telemetry.request_line import Course, Subject, Try
from router.telemetry.sums import crew_families
from tests.docs.pages import DOCS, ROOT, anchors, fences, links, page, pages, prose, spans, table, tables, under

API, OPERATIONS, ROUTING, USAGE = (page(name) for name in ("api.md", "operations.md", "routing.md", "usage.md"))
# The handlers only keep what they are given, so a table can be made without a daemon.


class Idle:
    """What handlers take of a Serving when they are made."""

    gateway = SimpleNamespace(open=None)
    responses = None


ROUTES: RouteTable = build_table(cast(Serving, Idle()))


def test_every_relative_link_leads_to_a_file_and_a_heading() -> None:
    broken = []
    for path in pages():
        for link in links(path.read_text(encoding="utf-8")):
            if "://" in link:
                continue
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            if not target.exists():
                broken.append(f"{path.relative_to(ROOT)}: {link}")
            elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
                broken.append(f"{path.relative_to(ROOT)}: {link} has no such heading")
    assert not broken, "\n".join(broken)


# -- api.md -------------------------------------------------------------------------------------------------------


def test_the_error_table_is_the_table_of_statuses() -> None:
    written = {(spans(row["code"])[0], int(row["status"]), spans(row["type"])[0]) for row in under(API, "Errors").rows}
    assert written == {(code, status, kind) for code, (status, kind) in STATUSES.items()}


def test_the_attempts_of_an_error_have_the_fields_that_are_shown() -> None:
    (shown,) = (block for _, block in fences(API) if '"attempts"' in block)
    assert set(AttemptNote.__dataclass_fields__) == set(re.findall(r'"(\w+)":', shown.partition('"attempts"')[2]))


def test_the_route_table_is_the_url_table() -> None:
    written = {(row["method"], spans(row["path"])[0]) for row in under(API, "Routes").rows}
    served = [route for route in (*ROUTES.exact.values(), *ROUTES._prefixes) if "*" not in route.handlers]
    assert written == {(method, route.name) for route in served for method in route.handlers if method != "HEAD"}
    refused = re.search(r"These answer 501[^.]+\.", prose(API))
    assert refused is not None
    assert set(spans(refused[0].partition("method:")[2])) == set(REFUSED_BY_NAME)


def test_every_route_that_is_named_exists() -> None:
    named = {
        (path.name, span)
        for path in pages()
        for span in spans(path.read_text(encoding="utf-8"))
        if re.fullmatch(r"(GET |POST )?/(v1/\S+|healthz?|readyz|metrics)", span) and "..." not in span
    }
    assert len(named) > 20
    unknown = [each for each in sorted(named) if ROUTES.find(each[1].split()[-1].replace("*", "x")) is None]
    assert not unknown


# -- operations.md ------------------------------------------------------------------------------------------------


def metrics_of_the_daemon() -> dict[str, tuple[str, frozenset[str]]]:
    """Name as scraped -> (type, labels); those without labels that the app adds are found in its source."""
    found = {}
    for family in (*Metrics(SystemClock(), VERSION).collect(), *crew_families({}, 0)):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = family.type, frozenset(cast(Any, family)._labelnames)
    sources = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "router/app").glob("*.py"))]
    watched = [name for text in sources for name in re.findall(r'\.watch\(\s*"(routerd_\w+)"', text)]
    assert watched
    return found | {name: ("counter" if name.endswith("_total") else "gauge", frozenset()) for name in watched}


def test_the_table_of_metrics_is_what_the_daemon_exposes() -> None:
    written = {
        spans(row["metric"])[0]: (row["type"], frozenset(spans(row["labels"])))
        for row in table(OPERATIONS, column="metric").rows
    }
    assert written == metrics_of_the_daemon()


def test_every_metric_that_is_named_exists() -> None:
    known = metrics_of_the_daemon()
    named = {name for path in pages() for name in re.findall(r"\brouterd_[a-z_]+[a-z]\b", path.read_text(encoding="utf-8"))}
    assert named
    assert not sorted(name for name in named if name not in known and re.sub("_(bucket|sum|count)$", "", name) not in known)


def test_every_field_of_a_request_line_is_named_and_no_other() -> None:
    paragraph = re.search(r"Fields of `request_finished`.+?\n\n", prose(OPERATIONS), re.DOTALL)
    assert paragraph is not None
    head = ("time", "level", "event", "request_id", "decision")
    parts = (field for part in (Subject, Course, Try) for field in part.__struct_fields__)
    assert set(spans(paragraph[0])) - {"request_finished"} == {*head, *parts}


def test_every_command_is_listed_and_every_named_one_exists() -> None:
    listed = {span.split()[1] for row in under(OPERATIONS, "Running").rows for span in spans(row["command"]) if " " in span}
    assert listed == set(COMMANDS)
    unknown = {
        f"{path.name}: {said}"
        for path in pages()
        for said in commands_in(path.read_text(encoding="utf-8"))
        if said.split()[0] not in COMMANDS
    }
    assert not unknown


def commands_in(text: str) -> Iterator[str]:
    """What follows `routerd` in code spans and in lines of fenced blocks that run it."""
    for span in spans(text):
        if found := re.match(r"routerd ([a-z].*)", span):
            yield found[1]
    for _, block in fences(text):
        yield from re.findall(r"^(?:\$ )?(?:\w+=\S+ )*routerd ([a-z].*)", block, re.MULTILINE)


# -- usage.md, routing.md, simulated.md, providers ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["requests", "attempts", "tags", "postings", "budget_periods", "leases", "instances"])
def test_every_column_of_the_ledger_is_described_and_no_other(name: str) -> None:
    sql = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "migrations").glob("*.sql")))
    created = re.search(rf"CREATE TABLE {name} \(\n(.+?)\n\);", sql, re.DOTALL)
    assert created is not None
    columns = set(re.findall(r"^    ([a-z_]+) ", created[1], re.MULTILINE))
    columns |= set(re.findall(rf"ALTER TABLE {name} ADD COLUMN ([a-z_]+)", sql))
    rows = under(USAGE, f"`{name}`").rows
    assert {span for row in rows for span in spans(row["column"])} == columns


def test_every_outcome_that_can_come_is_described_and_no_other() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "router").rglob("*.py") if path.name != "ledger.py"]
    given = {
        outcome.value for outcome in Outcome if any(re.search(rf"\bOutcome\.{outcome.name}\b", text) for text in sources)
    }
    assert {spans(row["outcome"])[0] for row in under(USAGE, "Outcomes").rows} == given | {Outcome.OK}


def test_every_reason_for_a_lost_call_is_named() -> None:
    assert {kind.value for kind in FailureKind} <= set(spans(ROUTING))


def test_every_fault_and_every_option_of_the_simulated_provider_is_described_and_no_other() -> None:
    text = page("simulated.md")
    faults = [span for row in under(text, "Faults").rows for span in spans(row["kind"])]
    assert faults == list(FaultKind)
    options = [spans(row["option"])[0] for row in under(text, "Options").rows]
    assert set(options) == set(SimulateOptions.__struct_fields__)


def test_every_table_has_cells_for_its_columns() -> None:
    """A `|` that is not escaped would break a table; `tables` raises where a row has another number of cells."""
    assert sum(len(list(tables(path.read_text(encoding="utf-8")))) for path in DOCS.rglob("*.md")) > 50
