"""Who asks: tenants, keys, and what the two together may do."""

import hmac
import re
from base64 import b32encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from router.domain.budgets import Budget, BudgetTerms
from router.domain.limits import LimitRule, Limits
from router.domain.usage import NanoUSD


class Scope(StrEnum):
    """What a key may be used for. A key without scopes may be used for everything."""

    MODELS = "models"
    CHAT = "chat"
    RESPONSES = "responses"
    MESSAGES = "messages"
    EMBEDDINGS = "embeddings"
    MODERATIONS = "moderations"
    RERANK = "rerank"
    IMAGES = "images"
    AUDIO = "audio"
    FILES = "files"
    BATCHES = "batches"


class TenantStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class ModelSet:
    """Alias names and patterns (`*`, `openai/*`) as a question: may this alias be used?"""

    exact: frozenset[str]
    prefixes: tuple[str, ...]

    @classmethod
    def of(cls, patterns: Iterable[str]) -> "ModelSet":
        items = tuple(patterns)
        return cls(
            frozenset(p for p in items if not p.endswith("*")),
            tuple(sorted(p[:-1] for p in items if p.endswith("*"))),
        )

    def __contains__(self, alias: str) -> bool:
        return alias in self.exact or alias.startswith(self.prefixes)


EVERY_MODEL = ModelSet.of(["*"])


@dataclass(frozen=True, slots=True)
class Tenant:
    """An organisation's unit. `defaults` maps a kind of request (`chat`, `embeddings`, ...) to an alias."""

    id: str
    name: str
    status: TenantStatus
    models: tuple[str, ...]
    defaults: Mapping[str, str] = field(default_factory=dict)
    tiers: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    budget: NanoUSD | None = None
    budget_terms: BudgetTerms | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A person in one tenant, to whom keys may belong. `budget` is for all of these keys together.

    `is_active` False: no longer a member, or an account that is disabled.
    """

    user_id: str
    email: str
    budget: NanoUSD | None = None
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A virtual key. `digest` is the hex HMAC-SHA-256 of the secret; times are microseconds since the epoch.

    `scopes` empty means every scope; `models` empty means whatever the tenant may use. `member` None: it is nobody's in
    particular.
    """

    id: str
    tenant_id: str
    name: str
    prefix: str
    digest: str
    scopes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    expires_at: int | None = None
    disabled: bool = False
    limits: Limits = Limits()
    budget: NanoUSD | None = None
    created_at: int = 0
    member: Member | None = None

    @property
    def is_refused(self) -> bool:
        """Revoked, or of somebody who is no longer a member of its tenant."""
        return self.disabled or (self.member is not None and not self.member.is_active)


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller, resolved once and cached: nothing here is looked up again for the request.

    `member` is the e-mail address of the member whose key it is, "" if it is nobody's. `permits` is for what follows from it
    for one model: whoever works that out keeps it here, as long as the principal itself is kept.
    """

    tenant_id: str
    tenant: str
    key_id: str
    key: str
    scopes: frozenset[str] | None
    tenant_models: ModelSet
    key_models: ModelSet
    defaults: Mapping[str, str]
    tiers: Mapping[str, str]
    rules: tuple[LimitRule, ...]
    budgets: tuple[Budget, ...] = ()
    expires_at: int | None = None
    member: str = ""
    permits: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def may_use(self, alias: str) -> bool:
        return alias in self.tenant_models and alias in self.key_models

    def has_scope(self, scope: Scope) -> bool:
        return self.scopes is None or scope.value in self.scopes


# Possessive, so that `sk-` is never read as part of the prefix and a match takes time linear in the text.
_PRESENTED_KEY = re.compile(r"(?:sk-)?+([A-Za-z0-9_-]{1,32}+)\.([\x21-\x7e]{1,256}+)")


def parse_presented_key(text: str) -> tuple[str, str] | None:
    """`sk-<prefix>.<secret>` as (prefix, secret); the `sk-` may be missing. None if it is not of that form.

    A secret is 1-256 printable ASCII characters without spaces; it may hold dots.
    """
    found = _PRESENTED_KEY.fullmatch(text)
    return None if found is None else (found[1], found[2])


def digest_of(secret: str, key: bytes) -> str:
    """The stored form of a key's secret: hex HMAC-SHA-256 under `key`, a sub-key of `server.secret`."""
    return hmac.digest(key, secret.encode(), "sha256").hex()


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A new key's two parts; `presented` is what its owner is shown, once."""

    prefix: str
    secret: str = field(repr=False)

    @property
    def presented(self) -> str:
        return f"sk-{self.prefix}.{self.secret}"


def mint_key(random_bytes: Callable[[int], bytes]) -> MintedKey:
    """A key with an 80-bit prefix and a 160-bit secret from `random_bytes`, which must be fit for secrets."""
    return MintedKey(_letters(random_bytes(10)), _letters(random_bytes(20)))


def _letters(raw: bytes) -> str:
    """Lower-case base32; no padding as long as the length is a multiple of 5."""
    return b32encode(raw).decode().lower()
