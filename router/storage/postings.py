"""Ledger entries into their tables, and their cost into the budgets: exactly once, whoever brings them how often.

Whoever changes posted, leased or a lease holds the lock of its budget_periods row; rows are locked in the order of their
keys. On SQLite the one writer is that lock.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from router.domain.ledger import AttemptEntry, LedgerEntry
from router.storage.database import Row, Transaction
from router.storage.ledger_rows import INSERT_ATTEMPT, INSERT_REQUEST, INSERT_TAG, attempt_row, request_row

# Neither driver returns rows from many executions. On SQLite nobody else writes between question and insertion; on
# PostgreSQL the rows tell which transaction inserted them, and all postings go in by one statement.
_KNOWN_ATTEMPTS = "SELECT request, attempt FROM attempts WHERE request IN (SELECT value FROM json_each($1))"
_INSERT_POSTING = "INSERT INTO postings (request, attempt, budget, period, cost_nano) VALUES ($1, $2, $3, $4, $5)"
_INSERT_NEW_POSTINGS = """
    INSERT INTO postings (request, attempt, budget, period, cost_nano)
    SELECT a.request, a.attempt, g.value->>2, g.value->>3, a.cost_nano
    FROM json_array_elements(CAST($1 AS json)) AS g(value)
    JOIN attempts a ON a.request = g.value->>0 AND a.attempt = CAST(g.value->>1 AS BIGINT)
    WHERE a.xmin = CAST(pg_current_xact_id() AS xid)
    ON CONFLICT DO NOTHING RETURNING request, attempt, budget"""
_POST = """
    INSERT INTO budget_periods (budget, period, posted_nano) VALUES ($1, $2, $3)
    ON CONFLICT (budget, period) DO UPDATE SET posted_nano = budget_periods.posted_nano + excluded.posted_nano"""
_OF_LEASE = "instance = $1 AND budget = $2 AND period = $3"
# At most what the lease has left goes off it, and the same off the budget: no more was ever set aside.
_LESS_LEASED = f"""
    UPDATE budget_periods SET leased_nano = leased_nano - (
        SELECT CASE WHEN remaining_nano < $4 THEN remaining_nano ELSE $4 END FROM leases WHERE {_OF_LEASE})
    WHERE budget = $2 AND period = $3 AND EXISTS (SELECT 1 FROM leases WHERE {_OF_LEASE})"""
_LESS_REMAINING = f"""
    UPDATE leases SET remaining_nano = CASE WHEN remaining_nano < $4 THEN 0 ELSE remaining_nano - $4 END
    WHERE {_OF_LEASE}"""

_Name = tuple[str, int]  # request, attempt
_Posting = tuple[str, int, str, str, int, bool]  # a row of `postings`, and whether a lease covered it


async def write_entries(tx: Transaction, engine: str, entries: Sequence[LedgerEntry], instance: str) -> None:
    """Insert requests, attempts and tags that do not exist yet, and post the attempts that were new.

    `instance` is whose leases covered them, "" for nobody's. Raises StorageUnavailable, ValueRefused.
    """
    in_order = sorted(entries, key=_id)  # or two processes with the same entries would wait for each other
    attempts = [(entry.id, attempt) for entry in in_order for attempt in entry.attempts]
    await tx.many(INSERT_REQUEST, [request_row(entry) for entry in in_order])
    if any(attempt.postings for _, attempt in attempts):
        await _insert_and_post(tx, engine, attempts, instance)
    else:
        await tx.many(INSERT_ATTEMPT, [attempt_row(*attempt) for attempt in attempts])
    await tx.many(INSERT_TAG, [(entry.id, name, value) for entry in in_order for name, value in entry.tags])


def _id(entry: LedgerEntry) -> str:
    return entry.id


async def _insert_and_post(
    tx: Transaction, engine: str, attempts: Sequence[tuple[str, AttemptEntry]], instance: str
) -> None:
    rows = [attempt_row(*attempt) for attempt in attempts]
    first = {(request, attempt.attempt): attempt for request, attempt in reversed(attempts)}
    if engine == "sqlite":
        requests = msgspec.json.encode(list({request for request, _ in first})).decode()
        known = {_name_of(row) for row in await tx.all(_KNOWN_ATTEMPTS, requests)}
        await tx.many(INSERT_ATTEMPT, rows)
        new = list(_postings(first, known))
        await tx.many(_INSERT_POSTING, [posting[:5] for posting in new])
    else:
        await tx.many(INSERT_ATTEMPT, rows)
        wished = {posting[:3]: posting for posting in _postings(first, ())}
        given = msgspec.json.encode([posting[:4] for posting in wished.values()]).decode()
        new = [wished[(*_name_of(row), row["budget"])] for row in await tx.all(_INSERT_NEW_POSTINGS, given)]
    await _post(tx, new, instance)


def _name_of(row: Row) -> _Name:
    return row["request"], row["attempt"]


def _postings(attempts: Mapping[_Name, AttemptEntry], known: Collection[_Name]) -> Iterator[_Posting]:
    """What cost nothing leaves no trace in a budget."""
    for name, attempt in attempts.items():
        if attempt.cost and name not in known:
            for posting in attempt.postings:
                yield *name, posting.budget, posting.period, attempt.cost, posting.is_leased


async def _post(tx: Transaction, new: Sequence[_Posting], instance: str) -> None:
    posted: dict[tuple[str, str], int] = {}
    leased: dict[tuple[str, str], int] = {}
    for _, _, budget, period, cost, is_leased in new:
        row = budget, period
        posted[row] = posted.get(row, 0) + cost
        if is_leased:
            leased[row] = leased.get(row, 0) + cost
    off = [(instance, *row, cost) for row, cost in sorted(leased.items())]
    await tx.many(_POST, [(*row, cost) for row, cost in sorted(posted.items())])
    await tx.many(_LESS_LEASED, off)
    await tx.many(_LESS_REMAINING, off)
