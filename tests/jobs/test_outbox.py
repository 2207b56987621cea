"""Alerts leave memory for the database, and the database for their receivers: for a day, never twice at once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import pytest
from msgspec import structs

from router.config.snapshot import AlertSettings
from router.domain.alerts import (
    Alert,
    Channel,
    DeliveryFailed,
    Draft,
    Letter,
    RaisedAlert,
    Recipients,
    TargetDown,
    kind_of,
    subject_of,
)
from router.domain.errors import StorageUnavailable
from router.domain.observations import Failure, Notice
from router.domain.ports import Notifier
from router.jobs.outbox import ATTEMPT_S, GIVE_UP_S, LEASE_S, Outbox, retry_delay_s
from tests.gateway.fakes import CollectingObserver, CountingIds, FakeClock

DOWN = TargetDown("a/b", "HTTP 500")
SECOND = 1_000_000


@dataclass
class Row:
    id: str
    tenant_id: str
    event: str
    raised_at: int


class Store:
    """An outbox in memory. `down`: for as many calls the database is gone; `quiet_until`: a cool-down holds everything."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.letters: dict[str, Letter] = {}
        self.ended: dict[str, str] = {}
        self.down = 0
        self.quiet_until: int | None = None
        self.raises: list[int] = []
        self.pruned: list[int] = []

    def _available(self) -> None:
        if self.down:
            self.down -= 1
            raise StorageUnavailable("gone")

    async def raise_all(self, raised: Sequence[RaisedAlert], cooldown_us: int) -> Sequence[int | None]:
        self._available()
        self.raises.append(len(raised))
        if self.quiet_until is None:
            self.rows += [Row(r.id, "t1", msgspec.json.encode(r.alert).decode(), r.raised_at) for r in raised]
        return [self.quiet_until] * len(raised)

    async def unaddressed(self, limit: int) -> Sequence[Row]:
        self._available()
        return self.rows[:limit]

    async def address(self, alert_id: str, letters: Sequence[tuple[str, Draft]], now: int) -> bool:
        (row,) = [r for r in self.rows if r.id == alert_id]
        self.rows.remove(row)
        for letter_id, draft in letters:
            self.letters[letter_id] = Letter(letter_id, draft, row.tenant_id, row.raised_at, 0, now)
        return True

    async def recipients(self, tenant_id: str) -> Recipients:
        return Recipients()

    async def due(self, now: int, limit: int) -> Sequence[Letter]:
        self._available()
        return sorted((each for each in self.letters.values() if each.due_at <= now), key=lambda each: each.due_at)[:limit]

    async def claim(self, letter: Letter, until: int) -> bool:
        if self.letters.get(letter.id) != letter:
            return False
        self.letters[letter.id] = structs.replace(letter, due_at=until)
        return True

    async def sent(self, letter: Letter, now: int) -> None:
        del self.letters[letter.id]
        self.ended[letter.id] = "sent"

    async def failed(self, letter: Letter, due_at: int, reason: str) -> None:
        self.letters[letter.id] = structs.replace(letter, attempts=letter.attempts + 1, due_at=due_at)

    async def give_up(self, letter: Letter, now: int, reason: str) -> None:
        del self.letters[letter.id]
        self.ended[letter.id] = reason

    async def prune(self, before: int) -> int:
        self.pruned.append(before)
        return 0


class Office:
    """Writes one letter to each of `to`; fails as `failures` says, by recipient; `holds` keeps a sender waiting."""

    def __init__(self) -> None:
        self.in_force = AlertSettings()
        self.to = ["one"]
        self.failures: dict[str, DeliveryFailed] = {}
        self.tried: list[str] = []
        self.heard: list[Alert] = []
        self.reviews = 0
        self.holds: asyncio.Event | None = None
        self.is_holding = asyncio.Event()
        self.at_once = self.most_at_once = 0

    def settings(self) -> AlertSettings:
        return self.in_force

    def attach(self, notifier: Notifier) -> None:
        self.notifier = notifier

    def review(self) -> None:
        self.reviews += 1

    def told(self, alert: Alert) -> None:
        self.heard.append(alert)

    def drafts(self, raised: RaisedAlert, own: Recipients) -> Sequence[Draft]:
        return [Draft(Channel.STANDARD, name, kind_of(raised.alert), "{}") for name in self.to]

    async def send(self, letter: Letter, own: Recipients) -> None:
        self.tried.append(letter.draft.recipient)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.holds is not None:
                self.is_holding.set()
                await self.holds.wait()
            await asyncio.sleep(0)
        finally:
            self.at_once -= 1
        if letter.draft.recipient in self.failures:
            raise self.failures[letter.draft.recipient]

    async def close(self) -> None:
        return


class Desk:
    """An outbox with everything around it; `draws` decide how long it waits."""

    def __init__(self, *draws: float) -> None:
        self.store, self.office, self.clock = Store(), Office(), FakeClock()
        self.observer = CollectingObserver()
        self.outbox = Outbox(self.store, self.office, self.clock, ids=CountingIds(*draws), observer=self.observer)

    def events(self) -> list[str]:
        return [notice.event for notice in self.observer.of(Notice)]

    async def turn(self) -> None:
        await self.outbox.write()
        await self.outbox.deliver()

    def due_in_s(self) -> float:
        (letter,) = self.store.letters.values()
        return (letter.due_at - self.clock.now_us()) / SECOND


async def test_an_alert_reaches_its_receiver_and_is_then_over() -> None:
    desk = Desk()
    desk.outbox.notify(DOWN)
    await desk.turn()
    await desk.turn()
    assert (desk.office.tried, list(desk.store.ended.values())) == (["one"], ["sent"])
    assert (desk.office.heard, desk.events()) == ([DOWN], ["alert"])


async def test_the_watch_notifies_this_outbox_and_is_asked_to_look() -> None:
    desk = Desk()
    assert desk.office.notifier is desk.outbox
    await desk.outbox.write()
    assert desk.office.reviews == 1


async def test_the_same_alert_is_raised_once_however_often_it_is_notified() -> None:
    desk = Desk()
    for _ in range(1000):
        desk.outbox.notify(DOWN)
    await desk.outbox.write()
    assert desk.store.raises == [1]


async def test_during_a_cool_down_nothing_is_said_and_the_database_is_asked_once() -> None:
    desk = Desk()
    desk.store.quiet_until = desk.clock.now_us() + 60 * SECOND
    for _ in range(1000):
        desk.outbox.notify(DOWN)
        await desk.outbox.write()
    assert (desk.store.raises, desk.office.heard, desk.events()) == ([1], [], [])
    desk.clock.pass_(60)
    desk.store.quiet_until = None
    desk.outbox.notify(DOWN)
    await desk.outbox.write()
    assert desk.office.heard == [DOWN]


async def test_switched_off_nothing_is_raised_and_nothing_sent() -> None:
    desk = Desk()
    desk.outbox.notify(DOWN)
    await desk.outbox.write()
    desk.office.in_force = replace(desk.office.in_force, is_enabled=False)
    desk.outbox.notify(TargetDown("c/d", "x"))
    await desk.turn()
    assert (desk.office.tried, desk.store.raises) == ([], [1])


@pytest.mark.parametrize("draw", [0.0, 0.3, 0.999])
def test_the_wait_is_full_jitter_over_a_doubling_bound(draw: float) -> None:
    bounds = [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0, 2560.0, 3600.0, 3600.0]
    assert [retry_delay_s(n, draw) for n in range(12)] == [max(1.0, draw * bound) for bound in bounds]
    assert retry_delay_s(10**6, draw) <= 3600.0


async def test_a_failure_is_tried_again_later_and_said_once() -> None:
    desk = Desk(0.5, 0.5, 0.5)
    desk.office.failures["one"] = DeliveryFailed("HTTP 500")
    desk.outbox.notify(DOWN)
    waits = []
    for _ in range(3):
        await desk.turn()
        waits.append(desk.due_in_s())
        await desk.turn()
        desk.clock.pass_(waits[-1])
    assert waits == [2.5, 5.0, 10.0]
    assert len(desk.office.tried) == 3
    assert desk.events() == ["alert", "alert_not_delivered"]
    desk.office.failures.clear()
    await desk.turn()
    assert list(desk.store.ended.values()) == ["sent"]


async def test_a_receiver_that_says_when_to_come_back_is_heard() -> None:
    desk = Desk(0.5)
    desk.office.failures["one"] = DeliveryFailed("HTTP 503", retry_after_s=120.0)
    desk.outbox.notify(DOWN)
    await desk.turn()
    assert desk.due_in_s() == 120.0


async def test_after_a_day_it_is_given_up_and_said() -> None:
    desk = Desk()
    desk.office.failures["one"] = DeliveryFailed("HTTP 500")
    desk.outbox.notify(DOWN)
    began = desk.clock.monotonic()
    while not desk.store.ended:
        await desk.turn()
        if desk.store.letters:
            desk.clock.pass_(desk.due_in_s())
    assert desk.clock.monotonic() - began == pytest.approx(GIVE_UP_S, abs=1)
    assert 20 < len(desk.office.tried) < 200
    assert desk.events() == ["alert", "alert_not_delivered", "alert_given_up"]


async def test_what_cannot_help_to_repeat_is_given_up_at_once() -> None:
    desk = Desk()
    desk.office.failures["one"] = DeliveryFailed("HTTP 410", is_final=True)
    desk.outbox.notify(DOWN)
    await desk.turn()
    assert (list(desk.store.ended.values()), desk.events()) == (["HTTP 410"], ["alert", "alert_given_up"])


async def test_receivers_are_served_side_by_side_and_one_that_fails_holds_back_nobody() -> None:
    desk = Desk()
    desk.office.to = ["one", "two", "three"]
    desk.office.failures["two"] = DeliveryFailed("HTTP 500")
    desk.outbox.notify(DOWN)
    desk.outbox.notify(TargetDown("c/d", "x"))
    await desk.turn()
    assert sorted(desk.office.tried) == ["one", "one", "three", "three", "two"]
    assert desk.office.most_at_once == 3


async def test_a_letter_is_held_by_its_sender_for_longer_than_an_attempt_takes() -> None:
    desk = Desk()
    desk.office.holds = asyncio.Event()
    desk.outbox.notify(DOWN)
    await desk.outbox.write()
    sending = asyncio.get_running_loop().create_task(desk.outbox.deliver())
    await desk.office.is_holding.wait()
    assert desk.due_in_s() == LEASE_S > ATTEMPT_S
    await desk.outbox.deliver()
    assert desk.office.tried == ["one"]
    desk.office.holds.set()
    await sending
    assert list(desk.store.ended.values()) == ["sent"]


async def test_a_sender_that_dies_leaves_the_letter_to_the_next_one() -> None:
    desk = Desk()
    desk.office.holds = asyncio.Event()
    desk.outbox.notify(DOWN)
    await desk.outbox.write()
    sending = asyncio.get_running_loop().create_task(desk.outbox.deliver())
    await desk.office.is_holding.wait()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    desk.office.holds = None
    desk.clock.pass_(LEASE_S)
    await desk.outbox.deliver()
    assert (desk.office.tried, list(desk.store.ended.values())) == (["one", "one"], ["sent"])


async def test_without_the_database_alerts_wait_in_memory_and_that_is_said_once() -> None:
    desk = Desk()
    desk.store.down = 3
    desk.outbox.notify(DOWN)
    outcomes = [await desk.outbox._guarded(desk.outbox.write) for _ in range(4)]
    assert outcomes == [False, False, False, True]
    assert desk.events() == ["outbox_stalled", "alert"]
    assert desk.store.raises == [1]


async def test_an_alert_that_cannot_be_read_is_reported_and_holds_back_nobody() -> None:
    desk = Desk()
    desk.store.rows.append(Row("bad", "", '{"type":"from.the.future"}', 0))
    desk.outbox.notify(DOWN)
    await desk.turn()
    (failure,) = desk.observer.of(Failure)
    assert "alert bad has no letters" in failure.where
    assert (desk.store.rows, desk.office.tried) == ([], ["one"])


async def test_memory_is_bounded_while_the_database_is_gone() -> None:
    desk = Desk()
    for number in range(5000):
        desk.outbox.notify(TargetDown(f"t/{number}", "x"))
    await desk.outbox.write()
    assert desk.store.raises == [1000]


async def test_what_is_in_memory_when_the_process_ends_is_given_to_the_database() -> None:
    desk = Desk()
    task = asyncio.get_running_loop().create_task(desk.outbox.run())
    await asyncio.sleep(0)
    desk.store.down = 1
    desk.outbox.notify(DOWN)
    while desk.store.down:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [row.event for row in desk.store.rows] == [msgspec.json.encode(DOWN).decode()]


async def test_running_it_needs_no_push() -> None:
    desk = Desk()
    task = asyncio.get_running_loop().create_task(desk.outbox.run())
    desk.outbox.notify(DOWN)
    async with asyncio.timeout(2):
        while not desk.store.ended:
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert desk.office.tried == ["one"]
    assert len(desk.store.pruned) == 1
    assert subject_of(DOWN) == "target a/b"
