"""One answer for one key: claim it, keep what was answered, free it where nothing was, tell it again to whom it is due."""

import hmac
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha256

import msgspec

from router.domain.budgets import BudgetMode
from router.domain.errors import IdempotencyInProgress, IdempotencyMismatch, InvalidRequest, StorageUnavailable
from router.domain.idempotency import MAX_KEPT_BYTES, Claim, KeptAnswer
from router.domain.identity import Principal
from router.domain.ports import IdempotencyStore
from router.domain.requests import ModelRequest
from router.domain.usage import NanoUSD
from router.gateway.generation import Generation
from router.gateway.pipeline import Gateway
from router.gateway.plan import choose_alias

HEADER = "Idempotency-Key"
MAX_KEY_CHARS = 255
MAX_OWED_BYTES = 32 * 2**20
_OF_THE_MOMENT = frozenset({408, 409, 425, 429})


class KeyedRequest(msgspec.Struct, frozen=True):
    """A request whose caller put a key on it. `route` is the URL table's name, `tier` the header's; `id` is ours."""

    key: str
    route: str
    principal: Principal
    request: ModelRequest
    tier: str | None
    id: str


def is_final(status: int) -> bool:
    """Whether the same request would be answered so again: what was done, or refused for what it is."""
    return status < 500 and status not in _OF_THE_MOMENT


class Idempotency:
    """Claims, and what became of them. An ending that cannot be written is owed and tried again; until then, and as long as
    this process lives, the key stays taken: nothing is ever done twice because the database was away."""

    def __init__(self, store: IdempotencyStore, secret: bytes) -> None:
        self._store = store
        self._secret = secret
        self._owed: dict[str, tuple[int, Callable[[], Awaitable[None]]]] = {}

    async def claim(self, asked: KeyedRequest) -> Claim | KeptAnswer:
        """The claim, to be ended by `keep` or `free`, or what the first request with this key was answered.

        Raises InvalidRequest, IdempotencyInProgress, IdempotencyMismatch, StorageUnavailable.
        """
        claim = self._claim_of(asked)
        try:
            earlier = await self._store.claim(claim)
        except (StorageUnavailable, CancelledError):
            # It may have gone through, the word of it lost.
            self._owe(claim, 0, partial(self._store.free, claim))
            raise
        if earlier is None:
            return claim
        if earlier.fingerprint != claim.fingerprint:
            raise IdempotencyMismatch(f"this {HEADER} was used for another body; use a new one", param=HEADER)
        if not earlier.is_finished:
            raise IdempotencyInProgress(
                f"the first request with this {HEADER} is under way; retry for its answer", param=HEADER, retry_after_s=1.0
            )
        if earlier.answer is None:
            raise IdempotencyInProgress(
                f"the request with this {HEADER} was answered, and its answer cannot be told again: over "
                f"{MAX_KEPT_BYTES // 2**20} MiB are not kept; it is not done a second time",
                param=HEADER,
            )
        return earlier.answer

    async def keep(self, claim: Claim, answer: KeptAnswer | None) -> None:
        """It was answered: with this, or None, with more than is kept. Never raises StorageUnavailable."""
        if answer is not None and len(answer.body) > MAX_KEPT_BYTES:
            answer = None
        size = 0 if answer is None else len(answer.body)
        await self._write(claim, size, partial(self._store.keep, claim, answer))

    async def free(self, claim: Claim) -> None:
        """It was not answered, or not to its end. Never raises StorageUnavailable."""
        await self._write(claim, 0, partial(self._store.free, claim))

    async def pay(self) -> None:
        """Write the endings that are owed; the rest waits for the next time when one fails."""
        for name, (_, write) in list(self._owed.items()):
            try:
                await write()
            except StorageUnavailable:
                return
            self._owed.pop(name, None)

    async def sweep(self) -> None:
        """Forget what has expired, and what dead processes have left open."""
        await self._store.sweep()

    async def _write(self, claim: Claim, size: int, write: Callable[[], Awaitable[None]]) -> None:
        try:
            await write()
        except (StorageUnavailable, CancelledError) as error:
            self._owe(claim, size, write)
            if isinstance(error, CancelledError):
                raise

    def _owe(self, claim: Claim, size: int, write: Callable[[], Awaitable[None]]) -> None:
        """Answers that would wait in memory beyond a bound are given up, never the fact that they were given."""
        if size and size + sum(owed for owed, _ in self._owed.values()) > MAX_OWED_BYTES:
            size, write = 0, partial(self._store.keep, claim, None)
        self._owed[claim.id] = size, write

    def _claim_of(self, asked: KeyedRequest) -> Claim:
        key, who = asked.key, asked.principal
        if not (0 < len(key) <= MAX_KEY_CHARS and key.isascii() and key.isprintable()):
            raise InvalidRequest(
                f"{HEADER}: expected 1 to {MAX_KEY_CHARS} printable ASCII characters, found {len(key)}: {key[:40]!a}",
                param=HEADER,
            )
        name = msgspec.json.encode(("name", who.tenant_id, who.key_id, asked.route, key))
        body = sha256(asked.request.body).hexdigest()
        fingerprint = msgspec.json.encode(("asked", body, asked.tier or ""))
        return Claim(self._digest(name), self._digest(fingerprint), asked.id)

    def _digest(self, text: bytes) -> str:
        return hmac.digest(self._secret, text, sha256).hex()


def permit_replay(gateway: Gateway, generation: Generation, asked: KeyedRequest) -> None:
    """Who asks again must still be allowed to ask. Raises ModelNotFound and its like, and BudgetExceeded.

    A hard budget refuses only when all of it is spent: an answer that is told again costs nothing, and needs no room.
    """
    who, request = asked.principal, asked.request
    alias, _ = choose_alias(generation.snapshot, who, request.api, request.fields.model, asked.tier)
    now = gateway.world.clock.now_us()
    for budget in (*who.budgets, *(() if alias.budget is None else (alias.budget,))):
        purse = gateway.treasury.purses.purse(budget, budget.period_at(now))
        if budget.terms.mode is BudgetMode.HARD and purse.spent >= budget.limit:
            raise purse.refusal(NanoUSD(0))
