"""Headers to Principal, or InvalidApiKey. Lookups are cached with bounds, misses too, and age out within seconds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest
from typing import TypeVar

from router.config.snapshot import BudgetSettings, Snapshot
from router.domain.budgets import Budget, BudgetScope
from router.domain.errors import InvalidApiKey, StorageUnavailable, TenantSuspended
from router.domain.identity import EVERY_MODEL, ApiKey, ModelSet, Principal, Tenant, TenantStatus, parse_presented_key
from router.domain.limits import LimitRule, LimitScope
from router.domain.ports import Clock, KeyStore
from router.gateway.purses import LEASE_S
from router.gateway.reach import Reach

FRESH_S = 2.0
STALE_S = 4.0
VOUCHED_S = 600.0
"""How long a key is fresh while every change is told of."""
VOUCH_S = 4.0
"""How long it holds that changes are told of, from when it was last seen."""
GRACE_S = LEASE_S
"""Without the database keys are known for as long as money is."""
MAX_ENTRIES = 100_000
MAX_KEY_CHARS = 512

_K = TypeVar("_K")
_V = TypeVar("_V")
Digest = Callable[[str], str]
"""The keyed digest of a key's secret, as stored."""


@dataclass(slots=True)
class _Known:
    """What was read of a key, and what it means under `snapshot`. `era` counts how often everything was to be read again."""

    principal: Principal
    snapshot: Snapshot
    found: tuple[ApiKey, Tenant]
    read_at: float
    era: int
    is_being_read: bool = False

    def serves(self, now: float, era: int, vouched_until: float) -> bool:
        """Fresh, or nearly so while somebody else already reads it again: one read a key, however many ask."""
        if era != self.era:
            return False
        age = now - self.read_at
        return age <= FRESH_S or (age <= VOUCHED_S and now <= vouched_until) or (self.is_being_read and age <= STALE_S)

    def under(self, snapshot: Snapshot) -> "_Known":
        """The same key under the configuration in force."""
        if snapshot is not self.snapshot:
            self.principal, self.snapshot = principal_of(snapshot, *self.found), snapshot
        return self


class Authenticator:
    """Resolves presented keys.

    A principal is fresh for 2 s, for ten minutes while whoever hears of changes vouches that it would (`vouch`, `forget`): a
    revoked key is refused within 5 s in any case; when storage is gone it serves for as long as a lease does, and is read
    anew when storage answers. Principals are cached under a keyed digest of the whole presented key, misses under the prefix
    alone, each in a table of its own, so that a flood of invented keys cannot push out the good ones.
    """

    def __init__(self, keys: KeyStore, clock: Clock, digest: Digest, cache_key: bytes, *, reach: Reach) -> None:
        self._keys = keys
        self._reach = reach
        self._clock = clock
        self._digest = digest
        self._keyed = blake2b(digest_size=16, key=cache_key)
        self._dummy = digest("")
        self._known: dict[bytes, _Known] = {}
        self._missing: dict[str, float] = {}
        self._snapshot: Snapshot | None = None
        self._era = 0
        self._vouched_until = 0.0

    def recognized(self, snapshot: Snapshot, presented: str | None) -> Principal | None:
        """What `authenticate` returns, where nothing need be asked; None where it must be."""
        if not presented or len(presented) > MAX_KEY_CHARS or snapshot is not self._snapshot:
            return None
        known = self._known.get(self._name(presented))
        if known is None or not known.serves(self._clock.monotonic(), self._era, self._vouched_until):
            return None
        principal = known.principal
        return principal if principal.expires_at is None else None

    async def authenticate(self, snapshot: Snapshot, presented: str | None) -> Principal:
        """Raises InvalidApiKey (alike for unknown, wrong, expired, disabled), TenantSuspended, StorageUnavailable."""
        if not presented or len(presented) > MAX_KEY_CHARS:
            raise _refusal(presented)
        if snapshot is not self._snapshot:
            self.forget()
            self._snapshot = snapshot
        name = self._name(presented)
        now = self._clock.monotonic()
        known = self._known.get(name)
        if known is None or not known.serves(now, self._era, self._vouched_until):
            known = await self._refresh(snapshot, presented, name, known)
        principal = known.principal
        if principal.expires_at is not None and principal.expires_at <= self._clock.now_us():
            raise _refusal(presented)
        return principal

    def _name(self, presented: str) -> bytes:
        digest = self._keyed.copy()
        digest.update(presented.encode("utf-8", "surrogateescape"))
        return digest.digest()

    def forget(self) -> None:
        """Read everything again: the file or the database has changed. What was known serves only if that fails."""
        self._era += 1
        self._missing.clear()

    def vouch(self, ago_s: float) -> None:
        """So many seconds ago a change would have been told of, by `forget`."""
        self._vouched_until = self._clock.monotonic() - ago_s + VOUCH_S

    async def _refresh(self, snapshot: Snapshot, presented: str, name: bytes, stale: _Known | None) -> _Known:
        if stale is None:
            return await self._read(snapshot, presented, name, None)
        stale.is_being_read = True
        try:
            return await self._read(snapshot, presented, name, stale)
        finally:
            stale.is_being_read = False

    async def _read(self, snapshot: Snapshot, presented: str, name: bytes, stale: _Known | None) -> _Known:
        parts = parse_presented_key(presented)
        now, era = self._clock.monotonic(), self._era
        if parts is None:
            raise _refusal(presented)
        prefix, secret = parts
        if now - self._missing.get(prefix, -FRESH_S) < FRESH_S:
            found = None
        else:
            try:
                found = await self._reach.ask(self._keys.find_key, prefix)
            except StorageUnavailable:
                if stale is not None and now - stale.read_at < GRACE_S:
                    return stale.under(snapshot)
                raise
        is_right = compare_digest(self._digest(secret), found[0].digest if found else self._dummy)
        if found is None and era == self._era:
            _put(self._missing, prefix, now)
        if found is None or not is_right or found[0].is_refused or found[1].status is TenantStatus.DISABLED:
            self._known.pop(name, None)
            raise _refusal(presented)
        if found[1].status is not TenantStatus.ACTIVE:
            self._known.pop(name, None)
            raise TenantSuspended(f"the tenant {found[1].name!r} is suspended")
        known = _Known(principal_of(snapshot, *found), snapshot, found, now, era)
        _put(self._known, name, known)
        return known


def principal_of(snapshot: Snapshot, key: ApiKey, tenant: Tenant) -> Principal:
    """What a key may do under this snapshot: its own limits first, else the file's defaults."""
    rules = (
        LimitRule(LimitScope.KEY, key.id, key.limits.over(snapshot.rates.key)),
        LimitRule(LimitScope.TENANT, tenant.id, tenant.limits.over(snapshot.rates.tenant)),
    )
    return Principal(
        tenant_id=tenant.id,
        tenant=tenant.name,
        key_id=key.id,
        key=key.name,
        scopes=frozenset(key.scopes) if key.scopes else None,
        tenant_models=ModelSet.of(tenant.models),
        key_models=ModelSet.of(key.models) if key.models else EVERY_MODEL,
        defaults=tenant.defaults,
        tiers=tenant.tiers,
        rules=tuple(rule for rule in rules if not rule.limits.is_empty),
        budgets=tuple(_budgets(snapshot.budgets, key, tenant)),
        expires_at=key.expires_at,
        member=key.member.email if key.member is not None else "",
    )


def _budgets(settings: BudgetSettings, key: ApiKey, tenant: Tenant) -> Iterator[Budget]:
    """The key's own, its member's, and the tenant's own or the file's default."""
    if key.budget is not None:
        yield Budget(BudgetScope.KEY, key.id, key.budget, settings.terms, key.name, tenant.id, tenant.name)
    member = key.member
    if member is not None and member.budget is not None:
        # One person may be a member of several tenants, with a budget in each.
        subject = f"{tenant.id}/{member.user_id}"
        yield Budget(BudgetScope.MEMBER, subject, member.budget, settings.terms, member.email, tenant.id, tenant.name)
    limit = settings.default_limit if tenant.budget is None else tenant.budget
    if limit is not None:
        terms = tenant.budget_terms or settings.terms
        yield Budget(BudgetScope.TENANT, tenant.id, limit, terms, tenant.name, tenant.id, tenant.name)


def _refusal(presented: str | None) -> InvalidApiKey:
    if not presented:
        return InvalidApiKey("no API key was sent: use the header `Authorization: Bearer sk-...` (or `x-api-key`)")
    return InvalidApiKey("the API key is not valid")


def _put(table: dict[_K, _V], key: _K, value: _V) -> None:
    table.pop(key, None)
    while len(table) >= MAX_ENTRIES:
        del table[next(iter(table))]
    table[key] = value
