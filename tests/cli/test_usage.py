"""`routerd usage`: sums that agree with the ledger to the last nano-dollar."""

from collections.abc import Sequence

import pytest
from msgspec import structs

from router.domain.ledger import LedgerEntry, Outcome
from router.domain.usage import NanoUSD, Usage
from router.storage.database import Database
from router.storage.usage import UsageTables
from router.system import SystemClock
from tests.cli.commandline import CommandLine

HOUR_US = 3_600_000_000


def entry(
    number: int, *, tenant: str = "demo", cost: int = 1, priced: bool = True, hours_ago: int = 1, tags: Sequence[str] = ()
) -> LedgerEntry:
    return LedgerEntry(
        id=f"id-{number}",
        request_id=f"request-{number}",
        tenant_id=f"{tenant}-id",
        tenant=tenant,
        key_id="key-id",
        key="first",
        api="chat",
        alias="smart",
        requested_model="smart",
        stream=False,
        outcome=Outcome.OK,
        status=200,
        code="",
        started_at=SystemClock().now_us() - hours_ago * HOUR_US,
        duration_us=1000,
        first_byte_us=10,
        usage=Usage(input_tokens=1000, output_tokens=10),
        cost=NanoUSD(cost),
        price_known=priced,
        attempts=(),
        tags=tuple(("team", tag) for tag in tags),
    )


def record(routerd: CommandLine, *entries: LedgerEntry) -> None:
    async def write(db: Database) -> None:
        await UsageTables(db).write_requests(entries)

    routerd.database(write)


def test_sums_are_exact_and_end_in_their_total(routerd: CommandLine) -> None:
    record(routerd, entry(1, cost=1_500), entry(2, cost=2_000_000_001), entry(3, tenant="narrow", cost=7))
    printed = routerd("usage")
    assert printed.code == 0
    assert [line.split() for line in printed.out.splitlines()] == [
        ["tenant", "requests", "failed", "tokens", "in", "tokens", "out", "cost", "USD"],
        ["demo", "2", "0", "2000", "20", "2.000001501"],
        ["narrow", "1", "0", "1000", "10", "0.000000007"],
        ["sum", "3", "0", "3000", "30", "2.000001508"],
    ]


def test_the_document_holds_money_as_text(routerd: CommandLine) -> None:
    record(routerd, entry(1, cost=1_500))
    document = routerd("usage", "--json").document
    assert document["groups"][0]["group"] == "demo"
    assert document["sum"] == {
        "requests": 1,
        "failed": 0,
        "input_tokens": 1000,
        "output_tokens": 10,
        "searches": 0,
        "cost_usd": "0.0000015",
        "unpriced": 0,
    }


def test_searches_have_a_column_where_there_are_any(routerd: CommandLine) -> None:
    reranked = structs.replace(entry(2, tenant="narrow", cost=3), usage=Usage(searches=4), api="rerank")
    record(routerd, entry(1, cost=5), reranked)
    lines = [line.split() for line in routerd("usage").out.splitlines()]
    assert lines[0][-3:] == ["searches", "cost", "USD"]
    assert [line[-2] for line in lines[1:]] == ["0", "4", "4"]
    document = routerd("usage", "--json").document
    assert ([row["searches"] for row in document["groups"]], document["sum"]["searches"]) == ([0, 4], 4)


def test_what_has_no_price_is_marked_and_explained(routerd: CommandLine) -> None:
    record(routerd, entry(1, cost=5), entry(2, tenant="narrow", cost=0, priced=False))
    lines = routerd("usage").out.splitlines()
    assert [line.split()[-1] for line in lines[1:4]] == ["0.000000005", "0.0*", "0.000000005*"]
    assert lines[4] == "* 1 request without a known price: counted as 0."


def test_a_request_with_two_tags_counts_once_in_the_sum(routerd: CommandLine) -> None:
    record(routerd, entry(1, cost=10, tags=["a", "b"]), entry(2, cost=1))
    document = routerd("usage", "--by", "tag", "--json").document
    assert {row["group"]: row["requests"] for row in document["groups"]} == {"team=a": 1, "team=b": 1}
    assert (document["sum"]["requests"], document["sum"]["cost_usd"]) == (2, "0.000000011")


@pytest.mark.parametrize(("by", "group"), [("tenant", "demo"), ("key", "demo/first"), ("alias", "smart"), ("tag", "team=a")])
def test_groups_are_named(by: str, group: str, routerd: CommandLine) -> None:
    record(routerd, entry(1, tags=["a"]))
    assert routerd("usage", "--by", by, "--json").document["groups"][0]["group"] == group


def test_since_and_until_bound_what_counts(routerd: CommandLine) -> None:
    record(routerd, entry(1, hours_ago=2), entry(2, hours_ago=50), entry(3, hours_ago=24 * 40))
    counts = [
        routerd("usage", "--json", *window).document["sum"]["requests"]
        for window in (
            [],
            ["--since", "24h"],
            ["--since", "7d"],
            ["--since", "2020-01-01"],
            ["--since", "7d", "--until", "24h"],
        )
    ]
    assert counts == [2, 1, 2, 3, 1]


def test_filters_take_names_and_ids(routerd: CommandLine) -> None:
    record(routerd, entry(1), entry(2, tenant="narrow"))
    for option in (["--tenant", "demo"], ["--tenant", "demo-id"]):
        assert routerd("usage", "--json", *option).document["sum"]["requests"] == 1
    for option in (["--key", "first"], ["--alias", "smart"]):
        assert routerd("usage", "--json", *option).document["sum"]["requests"] == 2


def test_an_empty_ledger_is_said_kindly(routerd: CommandLine) -> None:
    plain, machine = routerd("usage"), routerd("usage", "--json")
    assert (plain.code, plain.out.startswith("No requests from ")) == (0, True)
    assert (machine.document["groups"], machine.document["sum"]["cost_usd"]) == ([], "0.0")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--since", "yesterday"], "expected a span such as 24h"),
        (["--since", "7"], "expected a span such as 24h"),
        (["--since", "2026-02-30"], "or a date or time"),
        (["--since", "1h", "--until", "2h"], "is not before --until"),
        (["--by", "moon"], "--by"),
        (["--tenant", "dmo"], 'Did you mean "demo"?'),
        (["--alias", "smrt"], 'Did you mean "smart"?'),
    ],
)
def test_a_wrong_question_is_refused(options: list[str], said: str, routerd: CommandLine) -> None:
    printed = routerd("usage", *options)
    assert (printed.code, said in printed.err) == (2, True)


def test_a_tag_cannot_draw_on_the_terminal(routerd: CommandLine) -> None:
    record(routerd, entry(1, tags=["\x1b[2Jred"]))
    assert "\x1b" not in routerd("usage", "--by", "tag").out
