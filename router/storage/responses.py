"""The tables of kept responses: turns that name the turn before them, all of them sealed, each told to its tenant alone."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from router.domain.ports import Clock
from router.domain.responses import MAX_TURNS, KeptResponse, ResponseStatus
from router.storage.database import Database, Row
from router.storage.idempotency import Cipher
from router.storage.instances import LIVE_FOR_US

SWEEP_ROWS = 500
SWEEP_ROUNDS = 20
EVENTS_ROWS = 64

_INSERT = """
    INSERT INTO responses (id, tenant_id, previous_id, status, is_background, is_streamed, is_open, instance, input, answer,
        created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"""
_INSERT_ENDED = _INSERT + " ON CONFLICT (id) DO NOTHING"
_INSERT_ITEM = """
    INSERT INTO response_items (tenant_id, item_id, response_id) VALUES ($1, $2, $3)
    ON CONFLICT (tenant_id, item_id, response_id) DO NOTHING"""
_ADVANCE = "UPDATE responses SET status = 'in_progress' WHERE id = $1 AND status = 'queued'"
# One that was deleted meanwhile stays so.
_END = """
    UPDATE responses SET status = $2, answer = $3, is_open = 0,
        expires_at = CASE WHEN expires_at <= $5 THEN expires_at ELSE $4 END
    WHERE id = $1 AND is_open = 1 AND status IN ('queued', 'in_progress')"""
_CLOSE = "UPDATE responses SET is_open = 0 WHERE id = $1 AND is_open = 1"
_STOP = """
    UPDATE responses SET status = 'cancelled'
    WHERE id = $1 AND tenant_id = $2 AND is_open = 1 AND status IN ('queued', 'in_progress')"""
_STOPPED = "SELECT id FROM responses WHERE instance = $1 AND is_open = 1 AND status = 'cancelled'"
_HIDE = "UPDATE responses SET expires_at = $3 WHERE id = $1 AND tenant_id = $2 AND expires_at > $3"

_COLUMNS = """
    r.id, r.tenant_id, r.previous_id, r.status, r.is_background, r.is_streamed, r.input, r.answer, r.created_at,
    r.expires_at"""
_FIND = f"""
    SELECT {_COLUMNS},
        CASE WHEN r.is_open = 1 AND r.instance <> $4 AND r.status IN ('queued', 'in_progress') AND NOT EXISTS (
            SELECT 1 FROM instances i WHERE i.id = r.instance AND i.seen_at >= $5) THEN 1 ELSE 0 END AS is_orphan
    FROM responses r WHERE r.id = $1 AND r.tenant_id = $2 AND r.expires_at > $3"""
# Only the last turn must still be there to be found: what it goes on from belongs to it.
_TURNS = f"""
    WITH RECURSIVE chain (id, depth) AS (
        SELECT r.id, 0 FROM responses r WHERE r.id = $1 AND r.tenant_id = $2 AND r.expires_at > $3
        UNION ALL
        SELECT r.previous_id, chain.depth + 1 FROM responses r JOIN chain ON r.id = chain.id
        WHERE r.previous_id IS NOT NULL AND chain.depth < {MAX_TURNS})
    SELECT {_COLUMNS}, 0 AS is_orphan FROM chain JOIN responses r ON r.id = chain.id AND r.tenant_id = $2
    ORDER BY chain.depth DESC"""
_HOLDER = f"""
    SELECT {_COLUMNS}, 0 AS is_orphan FROM response_items i JOIN responses r ON r.id = i.response_id AND r.tenant_id = $1
    WHERE i.tenant_id = $1 AND i.item_id = $2 AND r.expires_at > $3 ORDER BY r.created_at DESC, r.id DESC LIMIT 1"""
_ADD_EVENTS = "INSERT INTO response_events (response_id, number, frames) VALUES ($1, $2, $3)"
_EVENTS = """
    SELECT number, frames FROM response_events WHERE response_id = $1 AND number > $2 ORDER BY number LIMIT $3"""

# A turn goes when its time has passed and nothing goes on from it: a conversation is taken down from its end.
_EXPIRED = """
    SELECT r.id FROM responses r WHERE r.expires_at <= $1 AND r.is_open = 0
        AND NOT EXISTS (SELECT 1 FROM responses later WHERE later.previous_id = r.id)
    ORDER BY r.expires_at LIMIT $2"""
_DELETE = (
    "DELETE FROM response_items WHERE response_id = $1",
    "DELETE FROM response_events WHERE response_id = $1",
    "DELETE FROM responses WHERE id = $1",
)
_DEAD = """
    UPDATE responses SET is_open = 0, status = CASE WHEN status = 'cancelled' THEN 'cancelled' ELSE 'failed' END
    WHERE is_open = 1 AND instance <> $1 AND NOT EXISTS (
        SELECT 1 FROM instances WHERE instances.id = responses.instance AND instances.seen_at >= $2)"""


class ResponseRows:
    """Implements domain.ports.ResponseStore for the process `instance`. `cipher` is asked for when it is needed first."""

    def __init__(self, db: Database, instance: str, clock: Clock, cipher: Callable[[], Awaitable[Cipher]]) -> None:
        self._db = db
        self._instance = instance
        self._clock = clock
        self._cipher = cipher

    async def begin(self, response: KeptResponse) -> None:
        cipher = await self._cipher()
        await self._db.run(_INSERT, *self._columns(response, cipher, is_open=True))

    async def advance(self, name: str) -> None:
        await self._db.run(_ADVANCE, name)

    async def end(self, response: KeptResponse) -> bool:
        cipher = await self._cipher()
        async with self._db.tx() as tx:
            if response.is_background:
                answer = _sealed(response, "answer", response.answer, cipher)
                status, now = response.status.value, self._clock.now_us()
                written = await tx.run(_END, response.id, status, answer, response.expires_at, now)
                await tx.run(_CLOSE, response.id)
            else:
                written = await tx.run(_INSERT_ENDED, *self._columns(response, cipher, is_open=False))
            if written and response.item_ids:
                await tx.many(_INSERT_ITEM, [(response.tenant_id, item, response.id) for item in response.item_ids])
        return bool(written)

    async def stop(self, tenant: str, name: str) -> bool:
        return bool(await self._db.run(_STOP, name, tenant))

    async def stopped(self) -> Sequence[str]:
        return [row["id"] for row in await self._db.all(_STOPPED, self._instance)]

    async def forget(self, tenant: str, name: str) -> bool:
        is_found = bool(await self._db.run(_HIDE, name, tenant, self._clock.now_us()))
        if is_found:
            await self._take_down()
        return is_found

    async def find(self, tenant: str, name: str) -> KeptResponse | None:
        now = self._clock.now_us()
        row = await self._db.one(_FIND, name, tenant, now, self._instance, now - LIVE_FOR_US)
        return None if row is None else _response(row, await self._cipher())

    async def turns(self, tenant: str, name: str) -> Sequence[KeptResponse]:
        rows = await self._db.all(_TURNS, name, tenant, self._clock.now_us())
        if not rows or rows[0]["previous_id"] is not None:
            return ()
        cipher = await self._cipher()
        found = [_response(row, cipher) for row in rows]
        return [turn for turn in found if turn is not None] if None not in found else ()

    async def holders(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, KeptResponse]:
        cipher, now = await self._cipher(), self._clock.now_us()
        found: dict[str, KeptResponse] = {}
        for item in item_ids:
            row = await self._db.one(_HOLDER, tenant, item, now)
            response = None if row is None else _response(row, cipher)
            if response is not None:
                found[item] = response
        return found

    async def add_events(self, name: str, number: int, frames: bytes) -> None:
        cipher = await self._cipher()
        await self._db.run(_ADD_EVENTS, name, number, cipher.seal(frames, _name(name), b"%d events" % number))

    async def events(self, name: str, after: int) -> Sequence[tuple[int, bytes]]:
        rows = await self._db.all(_EVENTS, name, after, EVENTS_ROWS)
        cipher = await self._cipher()
        told: list[tuple[int, bytes]] = []
        for row in rows:
            try:
                told.append((row["number"], cipher.open(bytes(row["frames"]), _name(name), b"%d events" % row["number"])))
            except ValueError:
                break
        return told

    async def sweep(self) -> int:
        dead = await self._db.run(_DEAD, self._instance, self._clock.now_us() - LIVE_FOR_US)
        return dead + await self._take_down()

    async def _take_down(self) -> int:
        count = 0
        for _ in range(SWEEP_ROUNDS):
            rows = await self._db.all(_EXPIRED, self._clock.now_us(), SWEEP_ROWS)
            if not rows:
                break
            async with self._db.tx() as tx:
                for statement in _DELETE:
                    await tx.many(statement, [(row["id"],) for row in rows])
            count += len(rows)
        return count

    def _columns(self, response: KeptResponse, cipher: Cipher, *, is_open: bool) -> tuple[object, ...]:
        return (
            response.id,
            response.tenant_id,
            response.previous_id,
            response.status.value,
            int(response.is_background),
            int(response.is_streamed),
            int(is_open),
            self._instance,
            _sealed(response, "input", response.input, cipher),
            _sealed(response, "answer", response.answer, cipher),
            response.created_at,
            response.expires_at,
        )


def _name(name: str) -> str:
    return f"response {name}"


def _sealed(response: KeptResponse, part: str, plain: bytes, cipher: Cipher) -> bytes:
    """Bound to the response, the tenant and the column: moved anywhere else it does not open."""
    return cipher.seal(plain, _name(response.id), f"{response.tenant_id} {part}".encode())


def _response(row: Row, cipher: Cipher) -> KeptResponse | None:
    """None where it was altered, or sealed with another key: nobody can tell it any more."""
    name, tenant = _name(row["id"]), row["tenant_id"]
    try:
        given = cipher.open(bytes(row["input"]), name, f"{tenant} input".encode())
        answer = cipher.open(bytes(row["answer"]), name, f"{tenant} answer".encode())
    except ValueError:
        return None
    return KeptResponse(
        id=row["id"],
        tenant_id=tenant,
        previous_id=row["previous_id"],
        status=ResponseStatus(row["status"]),
        input=given,
        answer=answer,
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        is_background=bool(row["is_background"]),
        is_streamed=bool(row["is_streamed"]),
        is_orphan=bool(row["is_orphan"]),
    )
