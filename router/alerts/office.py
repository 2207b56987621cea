"""The alert room behind one door: watches what is observed, writes drafts, sends letters, as the configuration says."""

import ssl
from collections.abc import Callable, Sequence

from router.alerts.courier import Courier
from router.alerts.watch import TargetWatch
from router.config.snapshot import AlertSettings, HealthSettings, Snapshot
from router.domain.alerts import Alert, Draft, Letter, RaisedAlert, Recipients
from router.domain.observations import Observation
from router.domain.ports import Clock, Notifier


class AlertOffice:
    """Implements domain.ports.Observer and jobs.outbox.Office. Made before there is a configuration, silent until `open`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watch = TargetWatch(clock)
        self._courier: Courier | None = None
        self._snapshot: Callable[[], Snapshot] | None = None

    def open(
        self,
        key: bytes,
        snapshot: Callable[[], Snapshot],
        trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        """`key` is derived from the server's secret for webhooks; `snapshot` gives the configuration in force."""
        self._snapshot = snapshot
        self._courier = Courier(self.settings, key, self._clock, trust)

    def attach(self, notifier: Notifier) -> None:
        """Who is notified of what is seen from now on."""
        self._watch.attach(notifier, self._bounds)

    def settings(self) -> AlertSettings:
        return self._snapshot().alerts if self._snapshot is not None else AlertSettings()

    def emit(self, observation: Observation) -> None:
        self._watch.emit(observation)

    def review(self) -> None:
        self._watch.review()

    def told(self, alert: Alert) -> None:
        self._watch.told(alert)

    def drafts(self, raised: RaisedAlert, own: Recipients) -> Sequence[Draft]:
        return self._open().drafts(raised, own)

    async def send(self, letter: Letter, own: Recipients) -> None:
        await self._open().send(letter, own)

    async def close(self) -> None:
        if self._courier is not None:
            await self._courier.close()

    def _bounds(self) -> HealthSettings:
        return self._snapshot().health if self._snapshot is not None else HealthSettings()

    def _open(self) -> Courier:
        if self._courier is None:
            raise RuntimeError("the alert office has not been opened")
        return self._courier
