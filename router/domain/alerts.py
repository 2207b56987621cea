"""What people are told about, who is told, and in which shape. No prompt, no key and no secret may be in an alert."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

import msgspec

from router.domain.budgets import BudgetMode, BudgetScope
from router.domain.usage import NanoUSD


class BudgetHolder(msgspec.Struct, frozen=True):
    """Whose budget an alert is about. `subject` is the id or alias of domain.budgets.Budget, `name` what people call it.

    `tenant_id` and `tenant` are "" for the budget of a model, which is no tenant's.
    """

    scope: BudgetScope
    subject: str
    name: str
    tenant_id: str = ""
    tenant: str = ""


class BudgetThreshold(msgspec.Struct, frozen=True, tag_field="type", tag="budget.threshold"):
    """A budget has passed its warning threshold. `resets_at` in microseconds since the epoch, None: never."""

    holder: BudgetHolder
    limit: NanoUSD
    spent: NanoUSD
    percent: int
    resets_at: int | None = None


class BudgetExhausted(msgspec.Struct, frozen=True, tag_field="type", tag="budget.exhausted"):
    """Nothing is left of a budget: requests are refused if it is a hard one."""

    holder: BudgetHolder
    limit: NanoUSD
    spent: NanoUSD
    resets_at: int | None = None
    mode: BudgetMode = BudgetMode.HARD


class TargetDown(msgspec.Struct, frozen=True, tag_field="type", tag="target.down"):
    """A target has failed and is left out. `reason` is ours, never a provider's text."""

    target: str
    reason: str


class TargetUp(msgspec.Struct, frozen=True, tag_field="type", tag="target.up"):
    target: str


class ErrorRate(msgspec.Struct, frozen=True, tag_field="type", tag="target.error_rate"):
    """Of a target's requests of the last five minutes `percent` failed; `bound` percent was set."""

    target: str
    percent: float
    bound: float


class Latency(msgspec.Struct, frozen=True, tag_field="type", tag="target.latency"):
    """The 95th percentile of a target's last five minutes; `bound` is in milliseconds too."""

    target: str
    p95_ms: int
    bound: int


class TestAlert(msgspec.Struct, frozen=True, tag_field="type", tag="alert.test"):
    """Somebody wants to know whether alerts arrive."""

    __test__ = False  # no test case, whatever pytest thinks of the name


Alert = BudgetThreshold | BudgetExhausted | TargetDown | TargetUp | ErrorRate | Latency | TestAlert


def kind_of(alert: Alert) -> str:
    """`budget.threshold`, `target.down` ..."""
    return str(alert.__struct_config__.tag)


def subject_of(alert: Alert) -> str:
    """What it is about: alerts of one kind about one subject share a cool-down."""
    match alert:
        case BudgetThreshold(holder=holder) | BudgetExhausted(holder=holder):
            return f"budget {holder.scope.value}:{holder.subject}"
        case TargetDown() | TargetUp() | ErrorRate() | Latency():
            return f"target {alert.target}"
        case TestAlert():
            return "test"
        case _:
            assert_never(alert)


def tenant_of(alert: Alert) -> str:
    """The id of the tenant whose own recipients are told too; "" is none."""
    return alert.holder.tenant_id if isinstance(alert, BudgetThreshold | BudgetExhausted) else ""


class RaisedAlert(msgspec.Struct, frozen=True):
    """An alert with its id and when it was raised, in microseconds since the epoch."""

    id: str
    alert: Alert
    raised_at: int


class Channel(StrEnum):
    """How a letter travels: by mail, or as the body of a webhook in one of these formats."""

    EMAIL = "email"
    STANDARD = "standard"
    SLACK = "slack"
    TEAMS = "teams"
    DISCORD = "discord"


@dataclass(frozen=True, slots=True)
class Webhook:
    """`url` carries its credential; `secret` signs what `standard` sends, "" is one derived from the server's secret."""

    url: str = field(repr=False)
    channel: Channel = Channel.STANDARD
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Recipients:
    emails: tuple[str, ...] = ()
    webhooks: tuple[Webhook, ...] = ()


class Draft(msgspec.Struct, frozen=True):
    """One alert as one recipient gets it. `recipient` is an address, or a webhook's reference, which is no secret."""

    channel: Channel
    recipient: str
    title: str
    body: str


class Letter(msgspec.Struct, frozen=True):
    """A draft in the outbox. `id` stays the same however often it is sent; `attempts` have failed so far."""

    id: str
    draft: Draft
    tenant_id: str
    raised_at: int
    attempts: int
    due_at: int


class DeliveryFailed(Exception):
    """A letter was not taken. `reason` holds no secret; `is_final`: trying again cannot help."""

    def __init__(self, reason: str, *, is_final: bool = False, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_final = is_final
        self.retry_after_s = retry_after_s
