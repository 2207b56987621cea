"""Whether the database can be reached, as those find out who ask it; while it cannot, one of many goes on asking."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from router.domain.errors import StorageUnavailable
from router.domain.ports import Clock

RETRY_S = 0.5

_Q = TypeVar("_Q")
_A = TypeVar("_A")


class Reach:
    """`is_lost` from the first question that found no answer to the first that found one.

    While it is lost nobody waits but one: the next question is put half a second after the last one failed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fault: StorageUnavailable | None = None
        self._asking = 0
        self._again_at = 0.0

    @property
    def is_lost(self) -> bool:
        return self._fault is not None

    async def ask(self, question: Callable[[_Q], Awaitable[_A]], about: _Q) -> _A:
        """The answer of `question`. Raises StorageUnavailable, at once where somebody else is asking or has just asked."""
        fault = self._fault
        if fault is not None and (self._asking or self._clock.monotonic() < self._again_at):
            raise StorageUnavailable(fault.message, hint=fault.hint)
        self._asking += 1
        try:
            answer = await question(about)
        except StorageUnavailable as error:
            self._fault = error
            self._again_at = self._clock.monotonic() + RETRY_S
            raise
        finally:
            self._asking -= 1
        self._fault = None
        return answer
