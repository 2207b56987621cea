"""`routerd audit`: proves that the ledger holds, or names every row that does not; ends the leases of a lost process."""

from collections.abc import Sequence
from pathlib import Path

import click

from router.cli.complaint import FAILED, WrongInput
from router.cli.databases import open_database
from router.cli.opening import config_option, json_option, open_config, run
from router.cli.output import Column, Grid, Screen, print_json, screen
from router.cli.wording import counted, moment
from router.config.load import Loaded
from router.config.problems import did_you_mean
from router.domain.ledger import LedgerEntry
from router.domain.usage import NanoUSD, usd_text
from router.storage.audit import AuditReport, Check, orphaned_leases
from router.storage.audit import audit as prove
from router.storage.budgets import BudgetRows
from router.storage.database import Database
from router.storage.instances import Instances
from router.system import SystemClock, SystemIds

_MEANINGS = {
    Check.BUDGET_DIFFERS: "what a budget has posted is not the sum of its postings",
    Check.LEASED_DIFFERS: "what a budget has leased is not the sum of its leases",
    Check.POSTING_DIFFERS: "a posting is not the cost of its attempt",
    Check.REQUEST_DIFFERS: "a request does not cost what its attempts cost",
    Check.ORPHAN: "rows belong to a request or attempt that is not there",
    Check.NEGATIVE: "an amount is below zero",
    Check.DUPLICATE: "a row exists more than once",
}
_COUNTED = frozenset({Check.ORPHAN, Check.DUPLICATE})  # their numbers are rows, not money


@click.command()
@config_option
@click.option(
    "--abandon",
    metavar="INSTANCE",
    help="First give up this process, whose journal is lost: post what remains of its leases in full.",
)
@json_option
def audit(*, config: Path | None, abandon: str | None, as_json: bool) -> int:
    """Prove that the ledger and the budgets agree to the last nano-dollar.

    Exits 1 when something does not hold. Runs beside a daemon.
    """
    loaded = open_config(config)
    posted, report = run(_audited(loaded, abandon))
    if as_json:
        print_json(_document(report, posted))
    else:
        _show(screen(), report, posted, abandon or "")
    return 0 if report.holds else FAILED


async def _audited(loaded: Loaded, abandon: str | None) -> tuple[list[LedgerEntry], AuditReport]:
    clock = SystemClock()
    async with open_database(loaded) as db:
        posted = [] if abandon is None else await _abandon(db, abandon, clock)
        return posted, await prove(db, clock.now_us())


async def _abandon(db: Database, instance: str, clock: SystemClock) -> list[LedgerEntry]:
    for live in await Instances(db, clock).live():
        if live.id == instance:
            where = f"process {live.pid} on {live.host}"
            raise WrongInput(
                f"{instance} is alive: {where} signed at {moment(live.seen_at)}",
                hint="Stop it; at its end it returns what it holds, and after a crash the next start does.",
                code="instance_alive",
            )
    holders = sorted({lease.instance for lease in await orphaned_leases(db, clock.now_us())})
    if instance not in holders:
        hint = did_you_mean(instance, holders) or "`routerd audit` lists the leases of processes that are gone."
        raise WrongInput(f"there is no lease of a process {instance}", hint=hint, code="no_lease")
    return await BudgetRows(db, "", clock).abandon(instance, SystemIds())


def _show(out: Screen, report: AuditReport, posted: Sequence[LedgerEntry], abandoned: str) -> None:
    if posted:
        whole = usd_text(NanoUSD(sum(entry.cost for entry in posted)))
        out.line(f"Abandoned {abandoned}: {counted(len(posted), 'lease')} posted in full, {whole} USD.", "yellow")
        out.listed(f"{usd_text(entry.cost)} USD: {entry.attempts[0].reason}" for entry in posted)
        out.line()
    out.facts(
        [
            ("ledger", f"{counted(report.requests, 'request')}, {counted(report.attempts, 'attempt')}"),
            ("cost", f"{usd_text(report.cost)} USD"),
            ("budgets", f"{usd_text(report.posted)} USD in {counted(report.postings, 'posting')}"),
            ("leases", f"{usd_text(report.leased)} USD"),
        ]
    )
    _show_overruns(out, report)
    _show_orphaned_leases(out, report)
    _show_breaches(out, report)
    out.line()
    if report.holds:
        out.line("The ledger holds.", "bold green")
    else:
        out.line(
            f"The ledger does not hold: {counted(sum(report.breach_counts.values()), 'breach', 'breaches')}.", "bold red"
        )


def _show_overruns(out: Screen, report: AuditReport) -> None:
    if not report.overruns:
        return
    out.heading(
        f"{counted(report.overrun_count, 'overrun')}: attempts that cost more than was held for them, posted in full"
    )
    columns = Column("request", keep=True), Column("attempt", right=True), Column("target")
    money = Column("held USD", right=True), Column("cost USD", right=True)
    rows = [(o.request, str(o.attempt), o.target, usd_text(o.held), usd_text(o.cost)) for o in report.overruns]
    out.grid(Grid((*columns, *money), rows))
    _show_rest(out, report.overrun_count - len(rows))


def _show_orphaned_leases(out: Screen, report: AuditReport) -> None:
    if not report.orphaned_leases:
        return
    leases = report.orphaned_leases
    out.heading(f"{counted(len(leases), 'lease')} of processes that are gone, held until their journals are adopted")
    columns = Column("instance", keep=True), Column("budget"), Column("period"), Column("USD", right=True), Column("seen")
    rows = [(held.instance, held.budget, held.period, usd_text(held.remaining), _seen(held.seen_at)) for held in leases]
    out.grid(Grid(columns, rows))
    out.line(
        "A start of routerd beside the journal adopts it. Is the journal lost: `routerd audit --abandon INSTANCE`.", "dim"
    )


def _show_breaches(out: Screen, report: AuditReport) -> None:
    for check, count in report.breach_counts.items():
        out.heading(f"{check.value}: {_MEANINGS[check]}")
        found = [breach for breach in report.breaches if breach.check is check]
        unit = "rows" if check in _COUNTED else "USD"
        columns = Column("row"), Column(f"expected {unit}", right=True), Column(f"found {unit}", right=True)
        out.grid(Grid(columns, [(b.subject, _amount(check, b.expected), _amount(check, b.found)) for b in found]))
        _show_rest(out, count - len(found))


def _show_rest(out: Screen, more: int) -> None:
    if more > 0:
        out.line(f"and {more} more", "dim")


def _amount(check: Check, number: int) -> str:
    return str(number) if check in _COUNTED else usd_text(NanoUSD(number))


def _seen(at: int | None) -> str:
    return "never" if at is None else moment(at)


def _document(report: AuditReport, posted: Sequence[LedgerEntry]) -> dict[str, object]:
    return {
        "holds": report.holds,
        "requests": report.requests,
        "attempts": report.attempts,
        "postings": report.postings,
        "cost_usd": usd_text(report.cost),
        "posted_usd": usd_text(report.posted),
        "leased_usd": usd_text(report.leased),
        "breach_counts": {check.value: count for check, count in report.breach_counts.items()},
        "breaches": [
            {"check": b.check.value, "row": b.subject, **_numbers(b.check, b.expected, b.found)} for b in report.breaches
        ],
        "overrun_count": report.overrun_count,
        "overruns": [
            {
                "request": o.request,
                "attempt": o.attempt,
                "target": o.target,
                "held_usd": usd_text(o.held),
                "cost_usd": usd_text(o.cost),
            }
            for o in report.overruns
        ],
        "orphaned_leases": [
            {
                "instance": held.instance,
                "budget": held.budget,
                "period": held.period,
                "remaining_usd": usd_text(held.remaining),
                "seen_at": None if held.seen_at is None else moment(held.seen_at),
            }
            for held in report.orphaned_leases
        ],
        "abandoned": [
            {"request": e.id, "budget": e.attempts[0].postings[0].budget, "cost_usd": usd_text(e.cost)} for e in posted
        ],
    }


def _numbers(check: Check, expected: int, found: int) -> dict[str, object]:
    if check in _COUNTED:
        return {"expected_rows": expected, "found_rows": found}
    return {"expected_usd": usd_text(NanoUSD(expected)), "found_usd": usd_text(NanoUSD(found))}
