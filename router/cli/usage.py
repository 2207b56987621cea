"""`routerd usage`: sums over the ledger by tenant, key, alias, tag or day; money as exact decimal text."""

from collections.abc import Sequence
from pathlib import Path

import click

from router.cli.complaint import WrongInput
from router.cli.databases import open_database
from router.cli.opening import config_option, json_option, open_config, run
from router.cli.output import Column, Grid, Screen, print_json, screen
from router.cli.tenants import require_tenant
from router.cli.wording import counted, moment, read_moment
from router.config.load import Loaded
from router.config.problems import did_you_mean
from router.domain.ledger import UsageFilter, UsageGroup, UsageTotal
from router.domain.usage import NanoUSD, usd_text
from router.storage.usage import UsageTables
from router.system import SystemClock

_UNPRICED = "*"


@click.command()
@config_option
@click.option(
    "--by",
    type=click.Choice([group.value for group in UsageGroup]),
    default="tenant",
    show_default=True,
    help="The groups.",
)
@click.option("--since", default="30d", show_default=True, metavar="WHEN", help="A span such as 24h, or a date or time.")
@click.option("--until", metavar="WHEN", help="Up to, not including; a date is its first moment, in UTC. [default: now]")
@click.option("--tenant", default="", help="Only this tenant, by name or id.")
@click.option("--key", default="", help="Only this key, by name or id.")
@click.option("--alias", default="", help="Only this alias.")
@json_option
def usage(*, config: Path | None, by: str, since: str, until: str | None, as_json: bool, **only: str) -> None:
    """Sum up requests, tokens and cost from the ledger."""
    now = SystemClock().now_us()
    start = read_moment(since, "--since", now=now, ahead=False)
    end = now if until is None else read_moment(until, "--until", now=now, ahead=False)
    if start >= end:
        raise WrongInput(f"--since ({moment(start)}) is not before --until ({moment(end)})")
    loaded = open_config(config)
    which = UsageFilter(start, end, only["tenant"], only["key"], only["alias"])
    totals, whole = run(_totals(loaded, which, UsageGroup(by)))
    if as_json:
        print_json(_document(which, UsageGroup(by), totals, whole))
    else:
        _show(screen(), which, UsageGroup(by), totals, whole)


async def _totals(loaded: Loaded, which: UsageFilter, by: UsageGroup) -> tuple[list[UsageTotal], UsageTotal]:
    """The groups and their sum. A request counts in each of its tags, but once in the sum."""
    async with open_database(loaded) as db:
        tables = UsageTables(db)
        totals = await tables.totals(which, by)
        once = await tables.totals(which, UsageGroup.TENANT) if by is UsageGroup.TAG else totals
        if not once and which.tenant:
            await require_tenant(db, which.tenant)
        if not once and which.alias:
            _require_alias(loaded, which.alias)
        return totals, _sum(once)


def _require_alias(loaded: Loaded, name: str) -> None:
    aliases = [alias.alias for alias in loaded.config.model_catalog]
    if name not in aliases:
        raise WrongInput(f"there is no alias {name!r}, and no usage of one", hint=did_you_mean(name, aliases))


def _sum(totals: Sequence[UsageTotal]) -> UsageTotal:
    return UsageTotal(
        group="sum",
        requests=sum(t.requests for t in totals),
        failed=sum(t.failed for t in totals),
        input_tokens=sum(t.input_tokens for t in totals),
        output_tokens=sum(t.output_tokens for t in totals),
        cost=NanoUSD(sum(t.cost for t in totals)),
        unpriced=sum(t.unpriced for t in totals),
        searches=sum(t.searches for t in totals),
    )


def _show(out: Screen, which: UsageFilter, by: UsageGroup, totals: Sequence[UsageTotal], whole: UsageTotal) -> None:
    if not whole.requests:
        out.line(f"No requests from {moment(which.since)} to {moment(which.until)}.")
        out.line("Usage appears here a second after a request ends.", "dim")
        return
    if not totals:
        out.line(f"None of the {counted(whole.requests, 'request')} carried a tag (header x-router-tags: team=a).")
        return
    columns = (
        Column(by.value),
        Column("requests", right=True),
        Column("failed", right=True),
        Column("tokens in", right=True),
        Column("tokens out", right=True),
        *([Column("searches", right=True)] if whole.searches else []),
        Column("cost USD", right=True),
    )
    number = "{:,}" if out.is_terminal else "{}"
    out.grid(Grid(columns, [_cells(total, number, whole) for total in totals], _cells(whole, number, whole)))
    if whole.unpriced:
        out.line(f"{_UNPRICED} {counted(whole.unpriced, 'request')} without a known price: counted as 0.", "yellow")
    if by is UsageGroup.TAG:
        out.line("A request counts in each of its tags, and once in the sum.", "dim")


def _cells(total: UsageTotal, number: str, whole: UsageTotal) -> tuple[str, ...]:
    """Searches are told where there are any: only rerank has some."""
    searches = (total.searches,) if whole.searches else ()
    counts = total.requests, total.failed, total.input_tokens, total.output_tokens, *searches
    mark = _UNPRICED if total.unpriced else ""
    return total.group, *(number.format(count) for count in counts), f"{usd_text(total.cost)}{mark}"


def _document(which: UsageFilter, by: UsageGroup, totals: Sequence[UsageTotal], whole: UsageTotal) -> dict[str, object]:
    return {
        "since": moment(which.since),
        "until": moment(which.until),
        "by": by.value,
        "groups": [{"group": total.group, **_sums(total)} for total in totals],
        "sum": _sums(whole),
    }


def _sums(total: UsageTotal) -> dict[str, object]:
    return {
        "requests": total.requests,
        "failed": total.failed,
        "input_tokens": total.input_tokens,
        "output_tokens": total.output_tokens,
        "searches": total.searches,
        "cost_usd": usd_text(total.cost),
        "unpriced": total.unpriced,
    }
