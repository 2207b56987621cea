"""The ledger's tables: requests with their attempts and tags go in by batches, sums and single requests come out."""

from collections.abc import Sequence
from datetime import date, timedelta

from router.domain.ledger import LedgerEntry, UsageFilter, UsageGroup, UsageTotal
from router.domain.usage import NanoUSD
from router.storage.database import Database, Row, ValueRefused, despite_conflicts
from router.storage.ledger_rows import entry_of, storable
from router.storage.postings import write_entries

DAY_US = 86_400_000_000

_SUMS = """
    CAST(COUNT(*) AS BIGINT) AS requests,
    CAST(SUM(CASE WHEN r.outcome IN ('ok', 'cancelled') THEN 0 ELSE 1 END) AS BIGINT) AS failed,
    CAST(SUM(r.input_tokens) AS BIGINT) AS input_tokens,
    CAST(SUM(r.output_tokens) AS BIGINT) AS output_tokens,
    CAST(SUM(r.searches) AS BIGINT) AS searches,
    CAST(SUM(r.cost_nano) AS BIGINT) AS cost_nano,
    CAST(SUM(1 - r.price_known) AS BIGINT) AS unpriced"""
_WHERE = """
    r.started_at >= $1 AND r.started_at < $2
    AND ($3 = '' OR r.tenant_name = $3 OR r.tenant_id = $3)
    AND ($4 = '' OR r.key_name = $4 OR r.key_id = $4)
    AND ($5 = '' OR r.alias = $5)"""
_TOTALS = {
    UsageGroup.TENANT: f"SELECT r.tenant_name AS name, {_SUMS} FROM requests r WHERE {_WHERE} GROUP BY r.tenant_name",
    UsageGroup.KEY: f"""
        SELECT r.tenant_name || '/' || r.key_name AS name, {_SUMS}
        FROM requests r WHERE {_WHERE} GROUP BY r.tenant_name, r.key_name""",
    UsageGroup.ALIAS: f"SELECT r.alias AS name, {_SUMS} FROM requests r WHERE {_WHERE} GROUP BY r.alias",
    UsageGroup.TAG: f"""
        SELECT g.name || '=' || g.value AS name, {_SUMS}
        FROM requests r JOIN tags g ON g.request = r.id WHERE {_WHERE} GROUP BY g.name, g.value""",
    UsageGroup.DAY: f"""
        SELECT r.started_at / {DAY_US} AS name, {_SUMS} FROM requests r WHERE {_WHERE} GROUP BY r.started_at / {DAY_US}""",
}
_SNAPSHOT = """
    INSERT INTO snapshots (fingerprint, masked_yaml, first_seen) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"""
_SNAPSHOT_TEXT = "SELECT masked_yaml FROM snapshots WHERE fingerprint = $1"
_REQUESTS = "SELECT * FROM requests WHERE id = $1 OR request_id = $1 ORDER BY started_at DESC LIMIT $2"
_ATTEMPTS = "SELECT * FROM attempts WHERE request = $1 ORDER BY attempt"
_TAGS = "SELECT name, value FROM tags WHERE request = $1 ORDER BY name, value"


class UsageTables:
    """Implements domain.ports.LedgerStore; every method raises StorageUnavailable.

    `instance` is this process, whose leases cover what it writes. Whoever replays the journal of another one gives none:
    what it posts goes off no lease, and BudgetRows.settle_instance returns those of the other one whole.
    """

    def __init__(self, db: Database, instance: str = "") -> None:
        self._db = db
        self._instance = instance

    async def write_requests(self, entries: Sequence[LedgerEntry]) -> None:
        """Insert requests, attempts and tags in one transaction, and post to the budgets what was not there before.

        Rows that exist stay as they are, and are not posted again: nothing is counted twice, in whatever order batches are
        repeated. A value the engine cannot take (a NUL from a caller, a number beyond 64 bits) must not keep the other
        requests of the batch out of the ledger for ever: it is trimmed, and its row marked `suspect`.
        """
        try:
            await despite_conflicts(lambda: self._write(entries))
        except ValueRefused:
            fitting = [storable(entry) for entry in entries]
            await despite_conflicts(lambda: self._write(fitting))

    async def _write(self, entries: Sequence[LedgerEntry]) -> None:
        async with self._db.tx() as tx:
            await write_entries(tx, self._db.engine, entries, self._instance)

    async def totals(self, which: UsageFilter, group: UsageGroup) -> list[UsageTotal]:
        """Sums by group: days in order, else the costliest first. A request with n tags counts in n tag groups.

        `which.tenant` and `which.key` match a name or an id. A `key` group is `tenant/key`. `failed` counts everything that
        ended neither well nor by the caller's leaving.
        """
        rows = await self._db.all(_TOTALS[group], which.since, which.until, which.tenant, which.key, which.alias)
        totals = [_total_of(row, group) for row in rows]
        if group is UsageGroup.DAY:
            return sorted(totals, key=lambda total: total.group)
        return sorted(totals, key=lambda total: (-total.cost, total.group))

    async def snapshot_seen(self, fingerprint: str, masked_yaml: str, at: int) -> None:
        """Keep the configuration behind a fingerprint; the first time counts. `at` is microseconds since the epoch."""
        await self._db.run(_SNAPSHOT, fingerprint, masked_yaml, at)

    async def snapshot_text(self, fingerprint: str) -> str | None:
        """The masked YAML kept for `fingerprint`, None if it was never seen."""
        row = await self._db.one(_SNAPSHOT_TEXT, fingerprint)
        return None if row is None else str(row["masked_yaml"])

    async def find_requests(self, id_or_request_id: str, *, limit: int = 20) -> list[LedgerEntry]:
        """The request with this id of ours, or those that carried this request id, the latest first, with their attempts."""
        found = []
        for row in await self._db.all(_REQUESTS, id_or_request_id, limit):
            attempts = await self._db.all(_ATTEMPTS, row["id"])
            tags = await self._db.all(_TAGS, row["id"])
            found.append(entry_of(row, attempts, tags))
        return found


def _total_of(row: Row, group: UsageGroup) -> UsageTotal:
    return UsageTotal(
        group=_day_text(row["name"]) if group is UsageGroup.DAY else row["name"],
        requests=row["requests"],
        failed=row["failed"],
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cost=NanoUSD(row["cost_nano"]),
        unpriced=row["unpriced"],
        searches=row["searches"],
    )


def _day_text(days: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=days)).isoformat()
