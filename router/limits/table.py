"""A bounded table of windows that forgets idle subjects a few at a time, so that no single call pays for all."""

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from router.limits.window import WINDOW_US, Window

K = TypeVar("K", bound=Hashable)

_EXAMINED_PER_CALL = 4


class WindowTable(Generic[K]):
    """Windows by subject.

    `windows` is read directly on the hot path; new subjects come in by `remember` alone. Each subject waits in a queue and
    is examined once a minute: an idle one is dropped, any other queues again. Every turn is a minute after the last one,
    so the queue is in the order of `examine_us`. `due_us` is when its head wants examining.
    """

    __slots__ = ("_max_subjects", "_turns", "due_us", "windows")

    def __init__(self, max_subjects: int | None = None) -> None:
        self.windows: dict[K, Window] = {}
        self.due_us = 0
        self._turns: deque[K] = deque()
        self._max_subjects = max_subjects

    def remember(self, subject: K, now_us: int) -> Window:
        """A window for a new subject; where the table is full, whoever was examined longest ago makes room."""
        if self._max_subjects is not None and len(self.windows) >= self._max_subjects:
            del self.windows[self._turns.popleft()]
        window = self.windows[subject] = Window(now_us)
        if not self._turns:
            self.due_us = window.examine_us
        self._turns.append(subject)
        return window

    def forget_idle(self, now_us: int) -> None:
        """Examine up to four subjects whose turn has come."""
        for _ in range(_EXAMINED_PER_CALL):
            if not self._turns or (window := self.windows[self._turns[0]]).examine_us > now_us:
                break
            subject = self._turns.popleft()
            window.expire(now_us)
            if window.is_idle:
                del self.windows[subject]
            else:
                window.examine_us = now_us + WINDOW_US
                self._turns.append(subject)
        self.due_us = self.windows[self._turns[0]].examine_us if self._turns else now_us
