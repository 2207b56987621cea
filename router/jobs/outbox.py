"""Alerts on their way: raised in memory, kept in the database, written as letters, sent until each receiver has its own.

At least once, never lost with the process: what is in the database is sent by whoever runs next, under the same id.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

import msgspec

from router.config.snapshot import AlertSettings
from router.domain.alerts import Alert, DeliveryFailed, Draft, Letter, RaisedAlert, Recipients, kind_of, subject_of
from router.domain.errors import StorageUnavailable
from router.domain.observations import Failure, Notice
from router.domain.ports import Clock, Ids, Notifier, Observer

POLL_S = 5.0
BATCH = 100
AT_ONCE = 8
MAX_WAITING = 1000
# A letter is its sender's for so long: longer than any attempt may take, so that two processes do not send at once.
LEASE_S = 60.0
ATTEMPT_S = 40.0
FIRST_RETRY_S = 5.0
LAST_RETRY_S = 3600.0
GIVE_UP_S = 86400.0
KEEP_S = 7 * 86400.0
_PRUNE_EVERY_S = 3600.0
_LAST_WORDS_S = 2.0
_S = 1_000_000


class Stored(Protocol):
    """An alert whose letters are not written; `event` is its JSON."""

    @property
    def id(self) -> str: ...
    @property
    def tenant_id(self) -> str: ...
    @property
    def event(self) -> str: ...
    @property
    def raised_at(self) -> int: ...


class OutboxStore(Protocol):
    """Every method raises StorageUnavailable; storage.outbox says what each does."""

    async def raise_all(self, raised: Sequence[RaisedAlert], cooldown_us: int) -> Sequence[int | None]: ...
    async def unaddressed(self, limit: int) -> Sequence[Stored]: ...
    async def address(self, alert_id: str, letters: Sequence[tuple[str, Draft]], now: int) -> bool: ...
    async def recipients(self, tenant_id: str) -> Recipients: ...
    async def due(self, now: int, limit: int) -> Sequence[Letter]: ...
    async def claim(self, letter: Letter, until: int) -> bool: ...
    async def sent(self, letter: Letter, now: int) -> None: ...
    async def failed(self, letter: Letter, due_at: int, reason: str) -> None: ...
    async def give_up(self, letter: Letter, now: int, reason: str) -> None: ...
    async def prune(self, before: int) -> int: ...


class Office(Protocol):
    """The alert room: what is to be told, to whom, and how it gets there."""

    def settings(self) -> AlertSettings:
        """Those in force now."""
        ...

    def attach(self, notifier: Notifier) -> None:
        """Who is notified of what is seen from now on."""
        ...

    def review(self) -> None:
        """Look whether anything has to be told."""
        ...

    def told(self, alert: Alert) -> None:
        """It was raised, and not held back by a cool-down."""
        ...

    def drafts(self, raised: RaisedAlert, own: Recipients) -> Sequence[Draft]:
        """The alert as each recipient gets it; `own` are those of the tenant concerned."""
        ...

    async def send(self, letter: Letter, own: Recipients) -> None:
        """Deliver it. Raises DeliveryFailed."""
        ...

    async def close(self) -> None: ...


Wait = Callable[[asyncio.Event, float], Awaitable[None]]
"""Wait for the event, but not longer than so many seconds."""


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class Outbox:
    """Implements domain.ports.Notifier. `write` and `deliver` are one turn each of the two loops that `run` runs.

    Two loops, because a receiver that is slow to answer must not keep new alerts in memory.
    """

    def __init__(
        self,
        store: OutboxStore,
        office: Office,
        clock: Clock,
        *,
        ids: Ids,
        observer: Observer,
        wait: Wait = wait_for,
    ) -> None:
        self._store = store
        self._office = office
        self._settings = office.settings
        self._clock = clock
        self._ids = ids
        self._observer = observer
        self._wait = wait
        self._waiting: dict[tuple[str, str], RaisedAlert] = {}
        self._quiet_until: dict[tuple[str, str], int] = {}
        self._some = asyncio.Event()
        self._letters = asyncio.Event()
        self._prune_at = clock.monotonic()
        self._is_stalled = False
        office.attach(self)

    def notify(self, alert: Alert) -> None:
        """Keep it until the next turn; the database decides whether the cool-down lets it be said."""
        key, now = (subject_of(alert), kind_of(alert)), self._clock.now_us()
        if not self._settings().is_enabled or key in self._waiting or self._quiet_until.get(key, 0) > now:
            return
        if len(self._waiting) >= MAX_WAITING:
            return  # only with the database gone, and the operator knows of that
        self._waiting[key] = RaisedAlert(self._ids.new(), alert, now)
        self._some.set()

    async def run(self) -> None:
        """Until cancelled; then what is still in memory is given to the database."""
        try:
            await asyncio.gather(self._write_for_ever(), self._deliver_for_ever())
        finally:
            with suppress(StorageUnavailable, TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    await self._raise_waiting()

    async def close(self) -> None:
        await self._office.close()

    async def _write_for_ever(self) -> None:
        while True:
            await self._wait(self._some, POLL_S)
            self._some.clear()
            if not await self._guarded(self.write):
                # What could not be written must not make this loop spin.
                await self._wait(asyncio.Event(), POLL_S)

    async def _deliver_for_ever(self) -> None:
        while True:
            await self._wait(self._letters, POLL_S)
            self._letters.clear()
            await self._guarded(self.deliver)

    async def _guarded(self, turn: Callable[[], Awaitable[None]]) -> bool:
        """A turn that fails is not the end of the loop. The database's absence is said once."""
        try:
            await turn()
        except StorageUnavailable as error:
            if not self._is_stalled:
                self._observer.emit(
                    Notice("warning", "outbox_stalled", f"alerts wait for the database: {error.hint or error}")
                )
            self._is_stalled = True
            return False
        except Exception:  # noqa: BLE001  a fault of ours: seen, and tried again
            self._observer.emit(Failure("", "outbox", traceback.format_exc()))
            return False
        self._is_stalled = False
        return True

    # -- from memory to letters -------------------------------------------------------------------------------

    async def write(self) -> None:
        """Raise what waits, and write the letters of all that is raised, by this process or another."""
        self._office.review()
        await self._raise_waiting()
        if not self._settings().is_enabled:
            return
        for stored in await self._store.unaddressed(BATCH):
            letters = [(self._ids.new(), draft) for draft in await self._drafts(stored)]
            if await self._store.address(stored.id, letters, self._clock.now_us()) and letters:
                self._letters.set()

    async def _raise_waiting(self) -> None:
        waiting = dict(self._waiting)
        if not waiting:
            return
        cooldown_us = round(self._settings().cooldown_s * _S)
        spoken = await self._store.raise_all(list(waiting.values()), cooldown_us)
        for (key, raised), quiet_until in zip(waiting.items(), spoken, strict=True):
            del self._waiting[key]
            if quiet_until is None:
                self._office.told(raised.alert)
                details = (("kind", key[1]), ("subject", key[0]))
                self._observer.emit(Notice("warning", "alert", f"alert: {key[1]}: {key[0]}", details))
            else:
                self._remember_quiet(key, quiet_until)

    def _remember_quiet(self, key: tuple[str, str], until: int) -> None:
        """So that a budget that refuses a thousand requests a second asks the database once."""
        if len(self._quiet_until) >= MAX_WAITING:
            now = self._clock.now_us()
            self._quiet_until = {each: time for each, time in self._quiet_until.items() if time > now}
        if len(self._quiet_until) < 10 * MAX_WAITING:
            self._quiet_until[key] = until

    async def _drafts(self, stored: Stored) -> Sequence[Draft]:
        """No letters for an alert that cannot be read or rendered: it must not hold back the others."""
        own = await self._store.recipients(stored.tenant_id)
        try:
            alert = msgspec.json.decode(stored.event, type=Alert)
            return self._office.drafts(RaisedAlert(stored.id, alert, stored.raised_at), own)
        except Exception:  # noqa: BLE001  a fault of the row or of ours; repeating it would not help
            self._observer.emit(Failure("", f"alert {stored.id} has no letters", traceback.format_exc()))
            return ()

    # -- from letters to receivers ----------------------------------------------------------------------------

    async def deliver(self) -> None:
        """Send what is due: receivers side by side, the letters of each one after the other until one fails."""
        if not self._settings().is_enabled:
            return
        await self._prune_sometimes()
        queues: dict[tuple[str, str], list[Letter]] = {}
        due = await self._store.due(self._clock.now_us(), BATCH)
        if len(due) == BATCH:
            self._letters.set()
        for letter in due:
            queues.setdefault((letter.draft.channel.value, letter.draft.recipient), []).append(letter)
        gate = asyncio.Semaphore(AT_ONCE)
        ended = await asyncio.gather(*(self._empty(queue, gate) for queue in queues.values()), return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException):
                raise error

    async def _empty(self, queue: Sequence[Letter], gate: asyncio.Semaphore) -> None:
        async with gate:
            for letter in queue:
                if not await self._send(letter):
                    return

    async def _send(self, letter: Letter) -> bool:
        """One attempt; False if it failed in a way that will hit the recipient's other letters too."""
        if not await self._store.claim(letter, self._clock.now_us() + round(LEASE_S * _S)):
            return True
        own = await self._store.recipients(letter.tenant_id)
        try:
            async with asyncio.timeout(ATTEMPT_S):
                await self._office.send(letter, own)
        except DeliveryFailed as failure:
            return await self._missed(letter, failure)
        except TimeoutError:
            return await self._missed(letter, DeliveryFailed(f"not delivered within {ATTEMPT_S:g} s"))
        await self._store.sent(letter, self._clock.now_us())
        return True

    async def _missed(self, letter: Letter, failure: DeliveryFailed) -> bool:
        now, last = self._clock.now_us(), letter.raised_at + round(GIVE_UP_S * _S)
        where = f"{letter.draft.channel.value} to {letter.draft.recipient}"
        details = (("letter", letter.id), ("title", letter.draft.title), ("reason", failure.reason))
        if failure.is_final or now >= last:
            await self._store.give_up(letter, now, failure.reason)
            self._observer.emit(Notice("error", "alert_given_up", f"{where}: given up: {failure.reason}", details))
            return True
        if letter.attempts == 0:
            text = f"{where}: {failure.reason}; tried again for a day"
            self._observer.emit(Notice("warning", "alert_not_delivered", text, details))
        wait_s = max(retry_delay_s(letter.attempts, self._ids.draw()), failure.retry_after_s)
        await self._store.failed(letter, min(now + round(wait_s * _S), last), failure.reason)
        return False

    async def _prune_sometimes(self) -> None:
        now = self._clock.monotonic()
        if now >= self._prune_at:
            self._prune_at = now + _PRUNE_EVERY_S
            await self._store.prune(self._clock.now_us() - round(KEEP_S * _S))


def retry_delay_s(attempts: int, draw: float) -> float:
    """Full jitter over a doubling bound, never under a second: many senders of one receiver must not come back together."""
    return max(1.0, draw * min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempts, 20)))
