"""Limits of all processes together, counted in Redis; each by itself while Redis is gone. Money is never kept there.

Requests that wait in one turn of the event loop go in one call, and what has been settled goes with them.
"""

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto
from functools import partial
from typing import Any

from router.domain.limits import UNLIMITED, Allowance, LimitRule, LimitScope, Refusal
from router.domain.observations import Failure, LimiterDegraded, LimiterRestored
from router.domain.ports import Clock, Ids, Observer, Reservation, Tasks
from router.limits.memory import HeldReservation
from router.limits.redis_batch import MAX_ASKS, Ask, Batch, Settled
from router.limits.redis_lanes import Lane, Lanes, RedisUnavailable
from router.limits.redis_member import DEFAULTS, SUBJECTS_PER_CALL, Member, Settings
from router.limits.redis_share import CountedReservation, LocalShare

STEADY_S = 10.0
CLOSE_TIMEOUT_S = 1.0
OTHERS_POLL_S = 0.02


class Mode(Enum):
    """LOCAL decides here. JOINING waits while this process says what is its own. SHARED asks Redis."""

    LOCAL = auto()
    JOINING = auto()
    SHARED = auto()


# A name of this module costs nothing beside a member of an enumeration, and every request asks.
_LOCAL, _JOINING, _SHARED = Mode


class RedisLimiter:
    """Implements domain.ports.Limiter and domain.ports.Pinger. `run` must be running; until it has joined, LOCAL holds.

    What Redis admits is counted here as well. So when Redis fails, this process goes on from what it has admitted itself, at
    limit / live processes; and when Redis is back, or has lost its data, every process tells it what it admitted.
    """

    name = "redis"

    def __init__(
        self,
        lanes: Lanes,
        clock: Clock,
        ids: Ids,
        tasks: Tasks,
        observer: Observer,
        *,
        live_processes: Callable[[], int],
        settings: Settings = DEFAULTS,
    ) -> None:
        self._lanes = lanes
        self._ids, self._tasks, self._observer = ids, tasks, observer
        self._settings = settings
        self._share = LocalShare(clock, live_processes)
        self._member = Member(self._share, lambda: ids.new()[-16:], settings)
        self._loop = asyncio.get_running_loop()
        self._mode = _LOCAL
        self._outbox: list[Ask] = []
        self._settled = Settled()
        self._is_flush_due = self._must_settle = False
        self._settle_timer: asyncio.TimerHandle | None = None
        self._under_way: dict[Lane, Batch] = {}
        self._quiet, self._alarm = asyncio.Event(), asyncio.Event()
        self._is_degraded = self._is_closed = False
        self._retry_s = self._shared_since_s = self._touched_at_s = self._settled_since_s = 0.0

    @property
    def mode(self) -> Mode:
        return self._mode

    def in_flight(self, scope: LimitScope, subject: str) -> int:
        """Requests of this subject that hold a slot through this process now."""
        return self._share.in_flight(scope, subject)

    # -- requests ---------------------------------------------------------------------------------------------

    def decide(self, rules: Sequence[LimitRule], tokens: int) -> Reservation | Refusal | None:
        return self._decide_alone(rules, tokens) if self._mode is _LOCAL or not rules else None

    async def acquire(self, rules: Sequence[LimitRule], tokens: int) -> Reservation | Refusal:
        if self._mode is _LOCAL or not rules:
            return self._decide_alone(rules, tokens)
        ask = Ask(rules, tokens, self._loop.create_future())
        self._outbox.append(ask)
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)
        try:
            return await ask.answer
        except asyncio.CancelledError:
            # The decision may have come in the same turn as the cancellation: then nobody else will give it back.
            if ask.answer.done() and not ask.answer.cancelled():
                _give_back(ask.answer.result())
            raise

    def _decide_alone(self, rules: Sequence[LimitRule], tokens: int) -> Reservation | Refusal:
        if not rules:
            return HeldReservation(UNLIMITED, ())
        held = self._share.decide(rules, tokens)
        return held if isinstance(held, Refusal) else CountedReservation(held[0].allowance, rules, held, self._release)

    def _decide_alone_for(self, asks: Sequence[Ask]) -> None:
        for ask in asks:
            if not ask.answer.done():
                ask.answer.set_result(self._decide_alone(ask.rules, ask.tokens))

    def _release(self, ended: CountedReservation, tokens: int) -> None:
        """In LOCAL mode nothing is sent: joining says what is in flight then, and what has ended is not."""
        if self._mode is _LOCAL:
            return
        if not self._settled:
            self._settled_since_s = self._loop.time()
            if self._settle_timer is None:
                self._settle_timer = self._loop.call_later(self._settings.settle_s, self._settle_now)
        self._settled.add(ended.rules, ended.second, ended.tokens, tokens)

    def _settle_now(self) -> None:
        """Nothing waits longer for a request to go with; what has come since the last call went may wait on."""
        self._settle_timer = None
        if not self._settled:
            return
        left_s = self._settled_since_s + self._settings.settle_s - self._loop.time()
        if left_s > 0.0:
            self._settle_timer = self._loop.call_later(left_s, self._settle_now)
            return
        self._must_settle = True
        self._flush()

    # -- calls ------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send what waits, as far as there are lanes; a lane that falls free takes all that has gathered by then."""
        self._is_flush_due = False
        self._outbox = [ask for ask in self._outbox if not ask.answer.done()]
        while self._mode is _SHARED and (self._outbox or (self._must_settle and self._settled)):
            lane = self._lanes.take()
            if lane is None:
                if self._lanes.may_grow:
                    self._tasks.spawn(self._grow(), name="a connection to Redis")
                return
            batch = Batch(self._outbox[:MAX_ASKS], self._settled.take())
            del self._outbox[:MAX_ASKS]
            self._must_settle = self._must_settle and bool(self._settled)
            self._under_way[lane] = batch
            told = partial(self._told, lane, batch)
            try:
                said = batch.words(self._settings.names, self._member.name)
                lane.call(self._settings.scripts.acquire, said, told)
            except Exception as error:  # noqa: BLE001  told as any other end of a call
                told(error)

    def _told(self, lane: Lane, batch: Batch, answer: Any) -> None:
        """A call has ended. Whatever its end, nobody is left waiting, and nothing is unlimited."""
        try:
            if isinstance(answer, Exception):
                raise answer
            verdicts = batch.verdicts(answer)
            if verdicts is None:
                self._send_again(batch)
            else:
                self._answer(batch.asks, *verdicts)
            self._lanes.give(lane)
        except (RedisUnavailable, ValueError) as error:
            self._fail(lane, batch, str(error))
        except Exception as error:  # noqa: BLE001  the fault is ours
            self._report(error)
            self._fail(lane, batch, type(error).__name__)
        del self._under_way[lane]
        if self._outbox or self._must_settle:
            self._flush()
        if self._mode is not _SHARED and not self._under_way:
            self._quiet.set()

    def _fail(self, lane: Lane, batch: Batch, reason: str) -> None:
        self._degrade(reason)
        self._decide_alone_for(batch.asks)
        self._lanes.discard(lane)

    def _answer(self, asks: Sequence[Ask], second: int, verdicts: Sequence[Refusal | Allowance]) -> None:
        for ask, verdict in zip(asks, verdicts, strict=True):
            decision: Reservation | Refusal
            if isinstance(verdict, Refusal):
                decision = verdict
            else:
                rules, tokens = ask.rules, ask.tokens
                held = self._share.note(rules, tokens)
                decision = CountedReservation(verdict, rules, held, self._release, tokens, second)
            if ask.answer.done():
                _give_back(decision)
            else:
                ask.answer.set_result(decision)

    def _send_again(self, batch: Batch) -> None:
        """Redis does not know this process, so the batch has not been carried out: it goes again after joining."""
        if self._mode is _LOCAL:
            self._decide_alone_for(batch.asks)
            return
        self._outbox[:0] = batch.asks
        self._settled.put_back(batch.settled)
        self._must_settle = True
        self._must_join()

    async def _grow(self) -> None:
        try:
            lane = await self._lanes.open()
        except RedisUnavailable as error:
            # The other lanes show whether Redis is well; without any, it is not.
            if not self._lanes.count:
                self._degrade(error.reason)
            return
        self._lanes.give(lane)
        self._flush()

    @asynccontextmanager
    async def _one_lane(self) -> AsyncIterator[Lane]:
        """For what is no batch. Requests that came meanwhile found no lane: nobody but its end would send them."""
        try:
            async with self._lanes.using(await self._lanes.borrow()) as lane:
                yield lane
        finally:
            self._flush()

    # -- losing and finding Redis -----------------------------------------------------------------------------

    def _must_join(self) -> None:
        if self._mode is _SHARED:
            self._mode = _JOINING
            self._alarm.set()

    def _degrade(self, reason: str) -> None:
        """From now on this process decides alone; everybody who waits is answered at once."""
        if self._mode is _SHARED and self._loop.time() - self._shared_since_s >= STEADY_S:
            self._retry_s = 0.0
        self._mode = _LOCAL
        if not self._is_degraded and not self._is_closed:
            self._is_degraded = True
            self._observer.emit(LimiterDegraded(reason))
        asks, self._outbox = self._outbox, []
        self._settled.clear()
        self._decide_alone_for(asks)
        self._alarm.set()

    async def run(self) -> None:
        """Join, show that this process lives, join again whenever it must; until cancelled or closed."""
        while not self._is_closed:
            try:
                if self._mode is _SHARED:
                    await self._beat()
                    continue
                if self._is_degraded:
                    self._lanes.drop()
                    await self._pause()
                await self._join()
            except RedisUnavailable as error:
                self._degrade(error.reason)
            except Exception as error:  # noqa: BLE001  whatever it is, limits hold without Redis, and it is tried again
                self._report(error)
                self._degrade(type(error).__name__)

    def _report(self, error: Exception) -> None:
        self._observer.emit(Failure("", "limiter", "".join(traceback.format_exception(error))))

    async def _pause(self) -> None:
        """Longer each time, until Redis has been well for a while; never so long that its return goes unnoticed for 5 s."""
        self._retry_s = min(max(self._retry_s * 2, self._settings.first_retry_s), self._settings.last_retry_s)
        await asyncio.sleep(self._retry_s * (0.75 + 0.5 * self._ids.draw()))

    async def _join(self) -> None:
        """Raises RedisUnavailable. After a failure nobody waits before the second call: a slow Redis holds nobody up."""
        is_near = self._mode is _JOINING and self._lanes.count > 0
        async with self._lanes.using(await (self._lanes.borrow() if is_near else self._lanes.open())) as lane:
            if not await self._member.enter(lane):
                await self._tell_again(lane)
            elif self._mode is _LOCAL:
                await self._member.state_past(lane, everything=False)
            self._mode = _JOINING
            await self._until_quiet()
            for entry in self._settled.values():
                # What has ended by now is not in the statement; what ends from now on is sent after it.
                entry.ended = 0
            await self._member.state_present(lane)
        self._mode = _SHARED
        self._shared_since_s = self._touched_at_s = self._loop.time()
        if self._is_degraded:
            self._is_degraded = False
            self._observer.emit(LimiterRestored())
        self._flush()

    async def _until_quiet(self) -> None:
        """No call is under way; none begins in this mode."""
        while self._under_way:
            self._quiet.clear()
            await self._quiet.wait()

    async def _tell_again(self, lane: Lane) -> None:
        """Redis has lost its data. Where there are others, it does not know the whole minute before they have told theirs:
        until then, but not for long, everybody keeps to his share. So does one alone that has much to tell.
        """
        live = self._share.live_processes()
        if live > 1 or self._share.subjects > SUBJECTS_PER_CALL:
            self._degrade("it lost its data")
        await self._until_quiet()
        for entry in self._settled.values():
            # The statement has the tokens that were used, not those that were held.
            entry.tokens = [0] * len(entry.rules)
        await self._member.state_past(lane, everything=True)
        for _ in range(int(self._settings.others_s / OTHERS_POLL_S)):
            if live <= 1 or await self._member.count(lane) >= live:
                break
            await asyncio.sleep(OTHERS_POLL_S)

    async def _beat(self) -> None:
        """Wait for the next heartbeat or an alarm; then show that this process lives."""
        self._alarm.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.heartbeat_s):
                await self._alarm.wait()
        if self._mode is not _SHARED:
            return
        now_s = self._loop.time()
        touch = now_s - self._touched_at_s >= self._settings.touch_s
        async with self._one_lane() as lane:
            is_known = await self._member.beat(lane, touch=touch)
        if touch:
            self._touched_at_s = now_s
        if not is_known:
            self._must_join()
        self._lanes.trim()

    async def ping(self) -> None:
        """Raises RedisUnavailable while this process decides alone, or when Redis does not answer."""
        if self._mode is _LOCAL:
            raise RedisUnavailable("each process enforces its share of the limits by itself")
        async with self._one_lane() as lane:
            await lane.command("PING")

    async def close(self) -> None:
        """Send what is settled, leave, so that no slot stays behind, and close the connections. Never raises."""
        self._is_closed = True
        with suppress(RedisUnavailable, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._leave()
        self._degrade("closed")
        if self._settle_timer is not None:
            self._settle_timer.cancel()
        # What has not come back, or was cancelled before it began.
        for lane, batch in self._under_way.items():
            self._decide_alone_for(batch.asks)
            lane.close()
        self._lanes.close()

    async def _leave(self) -> None:
        while self._mode is _SHARED and (self._outbox or self._settled or self._under_way):
            self._must_settle = True
            self._flush()
            await asyncio.sleep(0.001)
        if self._mode is _SHARED:
            async with self._lanes.using(await self._lanes.borrow()) as lane:
                await self._member.leave(lane)


def _give_back(decision: Reservation | Refusal) -> None:
    """Of a request whose caller has gone."""
    if not isinstance(decision, Refusal):
        decision.settle(0)
