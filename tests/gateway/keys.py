"""The store of idempotency keys as a double, to be away when a test says so."""

from router.domain.errors import StorageUnavailable
from router.domain.idempotency import Claim, Earlier, KeptAnswer


class KeyTable:
    """Implements domain.ports.IdempotencyStore in memory. While `is_away` nothing answers."""

    def __init__(self) -> None:
        self.open: dict[str, Claim] = {}
        self.ended: dict[str, tuple[Claim, KeptAnswer | None]] = {}
        self.is_away = False
        self.loses_answers = False
        self.sweeps = 0

    def _ask(self) -> None:
        if self.is_away:
            raise StorageUnavailable("away")

    async def claim(self, claim: Claim) -> Earlier | None:
        self._ask()
        if claim.name in self.ended:
            first, answer = self.ended[claim.name]
            return Earlier(first.fingerprint, is_finished=True, answer=answer)
        if claim.name in self.open:
            return Earlier(self.open[claim.name].fingerprint, is_finished=False)
        self.open[claim.name] = claim
        if self.loses_answers:
            raise StorageUnavailable("the connection was lost")
        return None

    async def keep(self, claim: Claim, answer: KeptAnswer | None) -> None:
        self._ask()
        if self.open.get(claim.name) == claim:
            self.ended[claim.name] = self.open.pop(claim.name), answer

    async def free(self, claim: Claim) -> None:
        self._ask()
        if self.open.get(claim.name) == claim:
            del self.open[claim.name]

    async def sweep(self) -> int:
        self._ask()
        self.sweeps += 1
        return 0
