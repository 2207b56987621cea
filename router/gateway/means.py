"""What attempts are made with."""

from dataclasses import dataclass

from router.domain.ports import Clock, Ids
from router.gateway.health import Health
from router.gateway.retries import RetryBudget
from router.gateway.treasury import Treasury


@dataclass(frozen=True, slots=True)
class Means:
    """One set for the whole process."""

    clock: Clock
    ids: Ids
    health: Health
    retries: RetryBudget
    treasury: Treasury
