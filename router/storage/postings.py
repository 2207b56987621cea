"""Ledger entries into their tables, and their cost into the budgets: exactly once, whoever brings them how often.

Whoever changes posted, leased or a lease holds the lock of its budget_periods row; rows are locked in the order of their
keys. On SQLite the one writer is that lock.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from router.domain.budgets import Posting
from router.domain.ledger import AttemptEntry, LedgerEntry
from router.storage.database import Row, Transaction
from router.storage.insertions import Grouped, Insertion
from router.storage.ledger_rows import ATTEMPTS, REQUESTS, TAGS, attempt_rows, request_rows, tag_rows

# Neither driver returns rows from many executions. On SQLite nobody else writes between question and insertion, and an
# attempt never stands without its request; on PostgreSQL the rows tell which transaction inserted them, and all postings go
# in by one statement. Either way the common case, in which everything is new, is known by a number.
_CHANGES = "SELECT total_changes() AS changes"
_KNOWN_ATTEMPTS = "SELECT request, attempt FROM attempts WHERE request IN (SELECT value FROM json_each($1))"
_POSTINGS = Insertion("postings", ("budget", "period"), ("request", "attempt", "cost_nano"), may_exist=False)
_INSERT_NEW_POSTINGS = """
    WITH inserted AS (
        INSERT INTO postings (request, attempt, budget, period, cost_nano)
        SELECT a.request, a.attempt, g.value->>2, g.value->>3, a.cost_nano
        FROM json_array_elements(CAST($1 AS json)) AS g(value)
        JOIN attempts a ON a.request = g.value->>0 AND a.attempt = CAST(g.value->>1 AS BIGINT)
        WHERE a.xmin = CAST(pg_current_xact_id() AS xid)
        ON CONFLICT DO NOTHING RETURNING 1)
    SELECT COUNT(*) AS inserted FROM inserted"""
_NEW_POSTINGS = """
    SELECT p.request, p.attempt, p.budget
    FROM json_array_elements(CAST($1 AS json)) AS g(value)
    JOIN postings p ON p.request = g.value->>0 AND p.attempt = CAST(g.value->>1 AS BIGINT) AND p.budget = g.value->>2
    WHERE p.xmin = CAST(pg_current_xact_id() AS xid)"""
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
_Wished = dict[tuple[str, int, str], tuple[Posting, int]]
"""Of request, attempt and budget what is posted, and the cost: a budget takes an attempt's cost once."""


async def write_entries(tx: Transaction, engine: str, entries: Iterable[LedgerEntry], instance: str) -> None:
    """Insert requests, attempts and tags that do not exist yet, and post the attempts that were new.

    `instance` is whose leases covered them, "" for nobody's. Raises StorageUnavailable, ValueRefused.
    """
    requests: dict[str, LedgerEntry] = {}
    attempts: dict[_Name, AttemptEntry] = {}
    for entry in entries:
        requests.setdefault(entry.id, entry)
        for attempt in entry.attempts:
            attempts.setdefault((entry.id, attempt.attempt), attempt)
    rows = (REQUESTS, request_rows(requests.values()))
    parts = [
        (ATTEMPTS, attempt_rows(attempts)),
        (TAGS, tag_rows(requests.values())),
    ]
    wished = _postings(attempts)
    if engine == "sqlite":
        before = await _changes_on_sqlite(tx)
        await tx.insert(rows)
        are_new = await _changes_on_sqlite(tx) - before == len(requests)
        new = wished if are_new else await _new_on_sqlite(tx, wished)
        await tx.insert(*parts, (_POSTINGS, _posting_rows(new)))
    else:
        await tx.insert(rows, *parts)
        new = await _inserted_on_postgres(tx, wished)
    await _post(tx, new, instance)


async def _changes_on_sqlite(tx: Transaction) -> int:
    """Rows this connection has changed so far."""
    [row] = await tx.all(_CHANGES)
    changes: int = row["changes"]
    return changes


async def _new_on_sqlite(tx: Transaction, wished: _Wished) -> _Wished:
    """The postings of attempts that are not there yet."""
    requests = msgspec.json.encode(list({request for request, _, _ in wished})).decode()
    known = {_name_of(row) for row in await tx.all(_KNOWN_ATTEMPTS, requests)}
    return {name: posted for name, posted in wished.items() if name[:2] not in known}


async def _inserted_on_postgres(tx: Transaction, wished: _Wished) -> _Wished:
    """The postings of attempts that this transaction has inserted, which are inserted too."""
    if not wished:
        return {}
    given = msgspec.json.encode([(*name, posting.period) for name, (posting, _) in wished.items()]).decode()
    [row] = await tx.all(_INSERT_NEW_POSTINGS, given)
    if row["inserted"] == len(wished):
        return wished
    names = [(*_name_of(row), row["budget"]) for row in await tx.all(_NEW_POSTINGS, given)]
    return {name: wished[name] for name in names}


def _name_of(row: Row) -> _Name:
    return row["request"], row["attempt"]


def _postings(attempts: Mapping[_Name, AttemptEntry]) -> _Wished:
    """What cost nothing leaves no trace in a budget."""
    wished: _Wished = {}
    for (request, number), attempt in attempts.items():
        if cost := attempt.cost:
            for posting in attempt.postings:
                wished[request, number, posting.budget] = posting, cost
    return wished


def _posting_rows(new: _Wished) -> Grouped:
    rows: dict[tuple[str, str], list[tuple[str, int, int]]] = defaultdict(list)
    for (request, attempt, budget), (posting, cost) in new.items():
        rows[budget, posting.period].append((request, attempt, cost))
    return rows


async def _post(tx: Transaction, new: _Wished, instance: str) -> None:
    sums: dict[Posting, int] = defaultdict(int)
    for posting, cost in new.values():
        sums[posting] += cost
    posted: dict[tuple[str, str], int] = defaultdict(int)
    leased: dict[tuple[str, str], int] = defaultdict(int)
    for posting, cost in sums.items():
        row = posting.budget, posting.period
        posted[row] += cost
        if posting.is_leased:
            leased[row] += cost
    off = [(instance, *row, cost) for row, cost in sorted(leased.items())]
    await tx.many(_POST, [(*row, cost) for row, cost in sorted(posted.items())])
    await tx.many(_LESS_LEASED, off)
    await tx.many(_LESS_REMAINING, off)
