"""Alerts and their letters: raised in the transaction of what causes them, kept until every receiver has taken its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from router.domain.alerts import Channel, Draft, Letter, RaisedAlert, Recipients, Webhook, kind_of, subject_of, tenant_of
from router.storage.database import Database, Transaction

_COOLDOWN = "SELECT alert_cooldown_us FROM tenant_budgets WHERE tenant_id = $1 AND disabled = 0"
_SPEAK = """
    INSERT INTO alert_cooldowns (subject, kind, raised_at) VALUES ($1, $2, $3)
    ON CONFLICT (subject, kind) DO UPDATE SET raised_at = excluded.raised_at WHERE alert_cooldowns.raised_at <= $4"""
_SPOKEN = "SELECT raised_at FROM alert_cooldowns WHERE subject = $1 AND kind = $2"
_RAISE = """
    INSERT INTO alerts (id, kind, subject, tenant_id, event, raised_at, addressed) VALUES ($1, $2, $3, $4, $5, $6, 0)"""
_UNADDRESSED = """
    SELECT id, tenant_id, event, raised_at FROM alerts WHERE addressed = 0 ORDER BY raised_at, id LIMIT $1"""
_ADDRESS = "UPDATE alerts SET addressed = 1 WHERE id = $1 AND addressed = 0"
_POST = """
    INSERT INTO outbox (id, alert_id, channel, recipient, title, body, due_at) VALUES ($1, $2, $3, $4, $5, $6, $7)"""
_RECIPIENTS = "SELECT alert_emails, alert_webhooks FROM tenant_budgets WHERE tenant_id = $1 AND disabled = 0"
_DUE = """
    SELECT o.id, o.channel, o.recipient, o.title, o.body, o.attempts, o.due_at, a.tenant_id, a.raised_at
    FROM outbox o JOIN alerts a ON a.id = o.alert_id
    WHERE o.state = 'waiting' AND o.due_at <= $1 ORDER BY o.due_at, o.id LIMIT $2"""
_CLAIM = "UPDATE outbox SET due_at = $3 WHERE id = $1 AND state = 'waiting' AND due_at = $2"
_SENT = """
    UPDATE outbox SET state = 'sent', attempts = attempts + 1, last_error = '', ended_at = $2
    WHERE id = $1 AND state = 'waiting'"""
_FAILED = """
    UPDATE outbox SET attempts = attempts + 1, due_at = $2, last_error = $3 WHERE id = $1 AND state = 'waiting'"""
_POSTPONE = """
    UPDATE outbox SET due_at = $3 WHERE channel = $1 AND recipient = $2 AND state = 'waiting' AND due_at < $3"""
_GIVE_UP = """
    UPDATE outbox SET state = 'given_up', attempts = attempts + 1, last_error = $2, ended_at = $3
    WHERE id = $1 AND state = 'waiting'"""
_PRUNE = """
    DELETE FROM alerts WHERE raised_at < $1 AND addressed = 1
    AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.alert_id = alerts.id AND outbox.state = 'waiting')"""

_EMAILS = msgspec.json.Decoder(tuple[str, ...])
_WEBHOOKS = msgspec.json.Decoder(tuple[tuple[str, Channel], ...])


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An alert whose letters are not written yet; `event` is its JSON."""

    id: str
    tenant_id: str
    event: str
    raised_at: int


async def raise_alert(tx: Transaction, raised: RaisedAlert, cooldown_us: int) -> int | None:
    """Raise it in the transaction of what causes it. None: raised; else the time until which nothing more is said.

    A tenant's own cool-down, where it has one, goes before `cooldown_us`. Raises StorageUnavailable.
    """
    tenant, subject, kind = tenant_of(raised.alert), subject_of(raised.alert), kind_of(raised.alert)
    row = await tx.one(_COOLDOWN, tenant) if tenant else None
    pause = cooldown_us if row is None else int(row["alert_cooldown_us"])
    if not await tx.run(_SPEAK, subject, kind, raised.raised_at, raised.raised_at - pause):
        spoken = await tx.one(_SPOKEN, subject, kind)
        return raised.raised_at if spoken is None else int(spoken["raised_at"]) + pause
    event = msgspec.json.encode(raised.alert).decode()
    await tx.run(_RAISE, raised.id, kind, subject, tenant, event, raised.raised_at)
    return None


class OutboxTable:
    """Every method raises StorageUnavailable. Times are microseconds since the epoch."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def raise_all(self, raised: Sequence[RaisedAlert], cooldown_us: int) -> list[int | None]:
        """`raise_alert` for each, in one transaction."""
        async with self._db.tx() as tx:
            return [await raise_alert(tx, each, cooldown_us) for each in raised]

    async def unaddressed(self, limit: int) -> list[StoredAlert]:
        """Alerts without letters, oldest first."""
        rows = await self._db.all(_UNADDRESSED, limit)
        return [StoredAlert(row["id"], row["tenant_id"], row["event"], row["raised_at"]) for row in rows]

    async def address(self, alert_id: str, letters: Sequence[tuple[str, Draft]], now: int) -> bool:
        """Put an alert's letters, each with its id, into the outbox; False if another process has done so."""
        async with self._db.tx() as tx:
            if not await tx.run(_ADDRESS, alert_id):
                return False
            rows = [(i, alert_id, d.channel.value, d.recipient, d.title, d.body, now) for i, d in letters]
            await tx.many(_POST, rows)
            return True

    async def recipients(self, tenant_id: str) -> Recipients:
        """Whom the tenant itself wants to be told; webhooks are without their secrets, which only the file has."""
        row = await self._db.one(_RECIPIENTS, tenant_id) if tenant_id else None
        if row is None:
            return Recipients()
        webhooks = tuple(Webhook(url, channel) for url, channel in _WEBHOOKS.decode(row["alert_webhooks"]))
        return Recipients(_EMAILS.decode(row["alert_emails"]), webhooks)

    async def due(self, now: int, limit: int) -> list[Letter]:
        """Letters to send, the longest overdue first."""
        return [
            Letter(
                id=row["id"],
                draft=Draft(Channel(row["channel"]), row["recipient"], row["title"], row["body"]),
                tenant_id=row["tenant_id"],
                raised_at=row["raised_at"],
                attempts=row["attempts"],
                due_at=row["due_at"],
            )
            for row in await self._db.all(_DUE, now, limit)
        ]

    async def claim(self, letter: Letter, until: int) -> bool:
        """Make it this process's to send until then; False if another one was faster."""
        return bool(await self._db.run(_CLAIM, letter.id, letter.due_at, until))

    async def sent(self, letter: Letter, now: int) -> None:
        await self._db.run(_SENT, letter.id, now)

    async def failed(self, letter: Letter, due_at: int, reason: str) -> None:
        """Try again at `due_at`, and everything else for the same recipient not before."""
        draft = letter.draft
        async with self._db.tx() as tx:
            await tx.run(_FAILED, letter.id, due_at, reason)
            await tx.run(_POSTPONE, draft.channel.value, draft.recipient, due_at)

    async def give_up(self, letter: Letter, now: int, reason: str) -> None:
        await self._db.run(_GIVE_UP, letter.id, reason, now)

    async def prune(self, before: int) -> int:
        """Forget alerts raised before then whose letters have all come to an end; how many."""
        return await self._db.run(_PRUNE, before)
