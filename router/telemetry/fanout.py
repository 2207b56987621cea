"""One observer for many: each observation goes to every sink, and a broken sink harms neither the caller nor the others."""

import traceback
from collections.abc import Sequence

from router.domain.observations import Failure, Observation
from router.domain.ports import Observer


class Fanout:
    """Implements domain.ports.Observer.

    What a sink raises is counted in `failures` by the sink's class name; the first time, the other sinks get a Failure.
    """

    def __init__(self, sinks: Sequence[Observer]) -> None:
        self._sinks = tuple(sinks)
        self.failures: dict[str, int] = {}

    def emit(self, observation: Observation) -> None:
        for sink in self._sinks:
            try:
                sink.emit(observation)
            except Exception:  # noqa: BLE001  the one place where whatever a sink raises ends
                self._note(sink, traceback.format_exc())

    def _note(self, broken: Observer, text: str) -> None:
        name = type(broken).__name__
        self.failures[name] = self.failures.get(name, 0) + 1
        if self.failures[name] > 1:
            return
        failure = Failure(request_id="", where=f"telemetry sink {name}", traceback=text)
        for sink in self._sinks:
            if sink is not broken:
                try:
                    sink.emit(failure)
                except Exception:  # noqa: BLE001  two broken sinks must not call each other for ever
                    self.failures[type(sink).__name__] = self.failures.get(type(sink).__name__, 0) + 1
