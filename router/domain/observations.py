"""Everything worth noticing, as one union: the pipeline emits, logs and metrics subscribe. No secret may be in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from router.domain.ledger import LedgerEntry


class RequestsFinished(msgspec.Struct, frozen=True):
    """Requests that were authenticated and planned have ended, settled."""

    entries: Sequence[LedgerEntry]


class RequestRefused(msgspec.Struct, frozen=True):
    """A data-plane request ended before a plan stood: no key, no such model, over a limit. `tenant` "" is unknown."""

    request_id: str
    method: str
    route: str
    status: int
    code: str
    tenant: str
    key: str
    alias: str
    hint: str


@dataclass(frozen=True, slots=True)
class RequestReplayed:
    """A kept answer was told again: nothing was sent and nothing is charged. `decision` is the ledger's row of the first."""

    request_id: str
    route: str
    status: int
    tenant: str
    key: str
    decision: str


@dataclass(frozen=True, slots=True)
class TargetEjected:
    """`target` is not tried for `cooldown_s` seconds."""

    target: str
    reason: str
    cooldown_s: float


@dataclass(frozen=True, slots=True)
class TargetRecovered:
    target: str


@dataclass(frozen=True, slots=True)
class CredentialRested:
    """A provider refused one of its keys; it is left out for `cooldown_s`. `credential` is its label."""

    provider: str
    credential: str
    status: int
    cooldown_s: float


@dataclass(frozen=True, slots=True)
class ProbeFinished:
    target: str
    ok: bool
    reason: str
    duration_us: int


@dataclass(frozen=True, slots=True)
class ConfigReloaded:
    """The snapshot in force has changed (or was found unchanged)."""

    fingerprint: str
    changed: bool


@dataclass(frozen=True, slots=True)
class ConfigRejected:
    """A reload failed; the old snapshot stays. `problems` are the located errors, secrets masked."""

    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LedgerFlushed:
    """`rows` requests left memory for the database in `duration_us`; `waiting` are still queued."""

    rows: int
    waiting: int
    duration_us: int


@dataclass(frozen=True, slots=True)
class LedgerStalled:
    """A flush failed; the rows wait in memory and are tried again."""

    waiting: int
    error: str


@dataclass(frozen=True, slots=True)
class LimiterDegraded:
    """The shared limiter is gone: from now on each process enforces its share of the limits by itself."""

    reason: str


@dataclass(frozen=True, slots=True)
class LimiterRestored:
    """Limits are counted by all processes together again."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of ours, with its traceback for the log. `request_id` "" when it was no request's."""

    request_id: str
    where: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A line for the operator's log about the process itself: started, draining, a warning about the file."""

    level: str
    event: str
    message: str
    details: tuple[tuple[str, str], ...] = ()


Observation = (
    RequestsFinished
    | RequestRefused
    | RequestReplayed
    | TargetEjected
    | TargetRecovered
    | CredentialRested
    | ProbeFinished
    | ConfigReloaded
    | ConfigRejected
    | LedgerFlushed
    | LedgerStalled
    | LimiterDegraded
    | LimiterRestored
    | Failure
    | Notice
)
