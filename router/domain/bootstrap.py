"""What the file's `bootstrap` section asks to exist, as plain values: storage applies them, config makes them.

Each item has a stable `key` ("what it is about") within its `kind`; storage keeps the hash of the last applied form per
(kind, key), so an item is written when it is new or when the file changed it, and disabled when the file drops it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from router.domain.identity import TenantStatus
from router.domain.limits import Limits
from router.domain.usage import NanoUSD


@dataclass(frozen=True, slots=True)
class TenantItem:
    """`defaults` maps a kind of request to an alias, `tiers` a tier name to an alias."""

    kind: ClassVar[str] = "tenant"

    name: str
    status: TenantStatus = TenantStatus.ACTIVE
    models: tuple[str, ...] = ("*",)
    defaults: Mapping[str, str] = field(default_factory=dict)
    tiers: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class KeyItem:
    """A virtual key `sk-<prefix>.<secret>`. `secret` is in clear here and must be stored as its digest only.

    `scopes` empty: every scope; `models` empty: whatever the tenant may use; `expires_at` microseconds since the epoch.
    `member` is the e-mail address of a member of the tenant, "" is nobody.
    """

    kind: ClassVar[str] = "api_key"

    tenant: str
    name: str
    prefix: str
    secret: str = field(repr=False)
    scopes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    expires_at: int | None = None
    limits: Limits = Limits()
    budget: NanoUSD | None = None
    member: str = ""

    @property
    def key(self) -> str:
        return self.prefix


@dataclass(frozen=True, slots=True)
class UserItem:
    """An administrator's account. `password` is in clear here, "" is none: such a user cannot log in by password."""

    kind: ClassVar[str] = "user"

    email: str
    name: str = ""
    password: str = field(default="", repr=False)

    @property
    def key(self) -> str:
        return self.email


@dataclass(frozen=True, slots=True)
class MembershipItem:
    """`role` is one of owner, admin, viewer, user; `budget` is for all keys of this member in this tenant together."""

    kind: ClassVar[str] = "membership"

    tenant: str
    email: str
    role: str
    budget: NanoUSD | None = None

    @property
    def key(self) -> str:
        return f"{self.tenant}/{self.email}"


@dataclass(frozen=True, slots=True)
class TenantLimitsItem:
    kind: ClassVar[str] = "tenant_limits"

    tenant: str
    limits: Limits

    @property
    def key(self) -> str:
        return self.tenant


@dataclass(frozen=True, slots=True)
class TenantBudgetItem:
    """`warning_ppm`: the warning threshold in parts per million of the budget; `alert_webhooks` are (url, format).

    `schedule` is calendar_month, weekly, daily, rolling_<N>d or lifetime; `timezone` an IANA name; `mode` hard or soft.
    """

    kind: ClassVar[str] = "tenant_budget"

    tenant: str
    budget: NanoUSD
    mode: str
    schedule: str
    timezone: str
    warning_ppm: int
    alert_emails: tuple[str, ...] = ()
    alert_webhooks: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    alert_cooldown_s: float = 3600.0

    @property
    def key(self) -> str:
        return self.tenant


BootstrapItem = TenantItem | KeyItem | UserItem | MembershipItem | TenantLimitsItem | TenantBudgetItem
