"""The proof that the ledger holds: sums equal, no orphan, negative or duplicate, budgets and leases as their parts say."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from router.domain.usage import NanoUSD
from router.storage.database import Database, Queries, Row
from router.storage.instances import LIVE_FOR_US

MAX_LISTED = 100


class Check(StrEnum):
    """What must hold, by the name of its breach. `expected` and `found` are nano-USD except where it says otherwise."""

    BUDGET_DIFFERS = "budget_differs"  # what a budget's row has posted, from the sum of its postings
    LEASED_DIFFERS = "leased_differs"  # what a budget's row has leased, from the sum of its leases
    POSTING_DIFFERS = "posting_differs"  # a posting, from the cost of its attempt
    REQUEST_DIFFERS = "request_differs"  # the cost of a request, from the sum of its attempts
    ORPHAN = "orphan"  # rows of a request or attempt that is not there: none expected, so many found
    NEGATIVE = "negative"  # an amount: at least 0 expected
    DUPLICATE = "duplicate"  # rows of one name: one expected, so many found


@dataclass(frozen=True, slots=True)
class Breach:
    """`subject` names the row: ids and names, separated by blanks."""

    check: Check
    subject: str
    expected: int
    found: int


@dataclass(frozen=True, slots=True)
class Overrun:
    """An attempt that cost more than was held for it: posted in full, so that its budget may be overdrawn by the rest."""

    request: str
    attempt: int
    target: str
    held: NanoUSD
    cost: NanoUSD


@dataclass(frozen=True, slots=True)
class OrphanedLease:
    """Money held by a process that gives no sign of life. `seen_at`: microseconds since the epoch, None if it never did."""

    instance: str
    budget: str
    period: str
    remaining: NanoUSD
    seen_at: int | None


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was read, and what was found. Lists hold the first MAX_LISTED of each check; counts are of all.

    Overruns and orphaned leases are no breaches: the first are facts, the second wait for their journal to be adopted.
    """

    requests: int
    attempts: int
    postings: int
    cost: NanoUSD
    posted: NanoUSD
    leased: NanoUSD
    breaches: tuple[Breach, ...]
    breach_counts: Mapping[Check, int]
    overruns: tuple[Overrun, ...]
    overrun_count: int
    orphaned_leases: tuple[OrphanedLease, ...]

    @property
    def holds(self) -> bool:
        return not self.breach_counts


_WHOLE = "COUNT(*) OVER () AS whole"  # all there are, beside each of those that are listed
_FIRST = f"ORDER BY 1 LIMIT {MAX_LISTED}"
_CHECKS = {
    Check.BUDGET_DIFFERS: f"""
        SELECT s.budget || ' ' || s.period AS subject, CAST(SUM(s.part) AS BIGINT) AS expected,
            CAST(SUM(s.row_says) AS BIGINT) AS found, {_WHOLE}
        FROM (SELECT budget, period, posted_nano AS row_says, 0 AS part FROM budget_periods
              UNION ALL SELECT budget, period, 0, cost_nano FROM postings) s
        GROUP BY s.budget, s.period HAVING SUM(s.part) <> SUM(s.row_says) {_FIRST}""",
    Check.LEASED_DIFFERS: f"""
        SELECT s.budget || ' ' || s.period AS subject, CAST(SUM(s.part) AS BIGINT) AS expected,
            CAST(SUM(s.row_says) AS BIGINT) AS found, {_WHOLE}
        FROM (SELECT budget, period, leased_nano AS row_says, 0 AS part FROM budget_periods
              UNION ALL SELECT budget, period, 0, remaining_nano FROM leases) s
        GROUP BY s.budget, s.period HAVING SUM(s.part) <> SUM(s.row_says) {_FIRST}""",
    Check.POSTING_DIFFERS: f"""
        SELECT p.request || ' ' || p.attempt || ' ' || p.budget AS subject, a.cost_nano AS expected, p.cost_nano AS found,
            {_WHOLE}
        FROM postings p JOIN attempts a ON a.request = p.request AND a.attempt = p.attempt
        WHERE a.cost_nano <> p.cost_nano {_FIRST}""",
    Check.REQUEST_DIFFERS: f"""
        SELECT s.id AS subject, s.parts AS expected, s.cost_nano AS found, {_WHOLE}
        FROM (SELECT r.id, r.cost_nano, (
                  SELECT CAST(COALESCE(SUM(a.cost_nano), 0) AS BIGINT) FROM attempts a WHERE a.request = r.id) AS parts
              FROM requests r) s
        WHERE s.parts <> s.cost_nano {_FIRST}""",
    Check.ORPHAN: f"""
        SELECT s.name AS subject, 0 AS expected, COUNT(*) AS found, {_WHOLE}
        FROM (SELECT 'attempts ' || a.request AS name FROM attempts a
              WHERE NOT EXISTS (SELECT 1 FROM requests r WHERE r.id = a.request)
              UNION ALL SELECT 'tags ' || t.request FROM tags t
              WHERE NOT EXISTS (SELECT 1 FROM requests r WHERE r.id = t.request)
              UNION ALL SELECT 'postings ' || p.request || ' ' || p.attempt FROM postings p
              WHERE NOT EXISTS (SELECT 1 FROM attempts a WHERE a.request = p.request AND a.attempt = p.attempt)) s
        GROUP BY s.name {_FIRST}""",
    Check.NEGATIVE: f"""
        SELECT s.name AS subject, 0 AS expected, s.amount AS found, {_WHOLE}
        FROM (SELECT 'requests ' || id AS name, cost_nano AS amount FROM requests WHERE cost_nano < 0
              UNION ALL SELECT 'attempts ' || request || ' ' || attempt, cost_nano FROM attempts WHERE cost_nano < 0
              UNION ALL SELECT 'attempts held ' || request || ' ' || attempt, held_nano FROM attempts WHERE held_nano < 0
              UNION ALL SELECT 'postings ' || request || ' ' || attempt || ' ' || budget, cost_nano FROM postings
              WHERE cost_nano < 0
              UNION ALL SELECT 'posted ' || budget || ' ' || period, posted_nano FROM budget_periods WHERE posted_nano < 0
              UNION ALL SELECT 'leased ' || budget || ' ' || period, leased_nano FROM budget_periods WHERE leased_nano < 0
              UNION ALL SELECT 'lease ' || instance || ' ' || budget || ' ' || period, remaining_nano FROM leases
              WHERE remaining_nano < 0) s {_FIRST}""",
    Check.DUPLICATE: f"""
        SELECT s.name AS subject, 1 AS expected, s.copies AS found, {_WHOLE}
        FROM (SELECT 'requests ' || id AS name, COUNT(*) AS copies FROM requests GROUP BY id HAVING COUNT(*) > 1
              UNION ALL SELECT 'attempts ' || request || ' ' || attempt, COUNT(*) FROM attempts
              GROUP BY request, attempt HAVING COUNT(*) > 1
              UNION ALL SELECT 'postings ' || request || ' ' || attempt || ' ' || budget, COUNT(*) FROM postings
              GROUP BY request, attempt, budget HAVING COUNT(*) > 1) s {_FIRST}""",
}
_TOTALS = """
    SELECT (SELECT COUNT(*) FROM requests) AS requests, (SELECT COUNT(*) FROM attempts) AS attempts,
        (SELECT COUNT(*) FROM postings) AS postings,
        (SELECT CAST(COALESCE(SUM(cost_nano), 0) AS BIGINT) FROM requests) AS cost,
        (SELECT CAST(COALESCE(SUM(posted_nano), 0) AS BIGINT) FROM budget_periods) AS posted,
        (SELECT CAST(COALESCE(SUM(leased_nano), 0) AS BIGINT) FROM budget_periods) AS leased"""
_OVERRUNS = f"""
    SELECT request, attempt, target, held_nano, cost_nano, {_WHOLE} FROM attempts
    WHERE held_nano > 0 AND cost_nano > held_nano ORDER BY started_at DESC, request, attempt LIMIT {MAX_LISTED}"""
_ORPHANED_LEASES = """
    SELECT l.instance, l.budget, l.period, l.remaining_nano, i.seen_at
    FROM leases l LEFT JOIN instances i ON i.id = l.instance
    WHERE l.remaining_nano > 0 AND (i.seen_at IS NULL OR i.seen_at < $1) ORDER BY l.instance, l.budget, l.period"""


async def audit(db: Database, now: int) -> AuditReport:
    """Read everything at one moment, beside a daemon that goes on. `now` is microseconds since the epoch.

    Raises StorageUnavailable.
    """
    breaches: list[Breach] = []
    counts: dict[Check, int] = {}
    async with db.snapshot() as moment:
        totals = await moment.one(_TOTALS)
        for check, sql in _CHECKS.items():
            rows = await moment.all(sql)
            breaches += [Breach(check, row["subject"], row["expected"], row["found"]) for row in rows]
            if rows:
                counts[check] = rows[0]["whole"]
        overruns = await moment.all(_OVERRUNS)
        leases = await orphaned_leases(moment, now)
    assert totals is not None, "counts have a row"
    return AuditReport(
        requests=totals["requests"],
        attempts=totals["attempts"],
        postings=totals["postings"],
        cost=NanoUSD(totals["cost"]),
        posted=NanoUSD(totals["posted"]),
        leased=NanoUSD(totals["leased"]),
        breaches=tuple(breaches),
        breach_counts=counts,
        overruns=tuple(_overrun_of(row) for row in overruns),
        overrun_count=overruns[0]["whole"] if overruns else 0,
        orphaned_leases=leases,
    )


async def orphaned_leases(queries: Queries, now: int) -> tuple[OrphanedLease, ...]:
    """All of them, by instance. Raises StorageUnavailable."""
    return tuple(_lease_of(row) for row in await queries.all(_ORPHANED_LEASES, now - LIVE_FOR_US))


def _overrun_of(row: Row) -> Overrun:
    return Overrun(row["request"], row["attempt"], row["target"], NanoUSD(row["held_nano"]), NanoUSD(row["cost_nano"]))


def _lease_of(row: Row) -> OrphanedLease:
    return OrphanedLease(row["instance"], row["budget"], row["period"], NanoUSD(row["remaining_nano"]), row["seen_at"])
