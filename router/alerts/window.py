"""The last five minutes of one target: how many requests failed, how long the good ones took."""

import math
from collections import deque

SPAN_S = 300.0
_SLOT_S = 10.0
_SLOTS = int(SPAN_S / _SLOT_S)
_STEP = math.log(1.04)


class _Slot:
    __slots__ = ("number", "good", "failed", "durations")

    def __init__(self, number: int) -> None:
        self.number = number
        self.good = 0
        self.failed = 0
        self.durations: dict[int, int] = {}


class TargetWindow:
    """Thirty slots of ten seconds. Durations are counted in steps of 4 %, so a percentile is exact to 2 %."""

    def __init__(self) -> None:
        self._slots: deque[_Slot] = deque(maxlen=_SLOTS)

    def note(self, now: float, duration_us: int | None) -> None:
        """One request at `now` seconds; None: it failed."""
        slot = self._slot(int(now // _SLOT_S))
        if duration_us is None:
            slot.failed += 1
            return
        slot.good += 1
        step = int(math.log(max(duration_us, 1)) / _STEP)
        slot.durations[step] = slot.durations.get(step, 0) + 1

    def counts(self, now: float) -> tuple[int, int]:
        """(all, failed) of the last five minutes."""
        self._forget(now)
        failed = sum(slot.failed for slot in self._slots)
        return failed + sum(slot.good for slot in self._slots), failed

    def p95_us(self, now: float) -> int:
        """The 95th percentile by nearest rank; 0 without a good request."""
        self._forget(now)
        merged: dict[int, int] = {}
        for slot in self._slots:
            for step, count in slot.durations.items():
                merged[step] = merged.get(step, 0) + count
        rank = math.ceil(sum(merged.values()) * 0.95)
        for step in sorted(merged):
            rank -= merged[step]
            if rank <= 0:
                return round(math.exp((step + 0.5) * _STEP))
        return 0

    def _slot(self, number: int) -> _Slot:
        if not self._slots or self._slots[-1].number < number:
            self._slots.append(_Slot(number))
        return self._slots[-1]

    def _forget(self, now: float) -> None:
        oldest = int(now // _SLOT_S) - _SLOTS
        while self._slots and self._slots[0].number <= oldest:
            self._slots.popleft()
