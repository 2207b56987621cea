"""This process as Redis knows it: its name, its heartbeat, what it says is its own. Calls, no decisions."""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from router.limits.redis_batch import Names
from router.limits.redis_lanes import Lane, RedisUnavailable
from router.limits.redis_scripts import Scripts
from router.limits.redis_share import LocalShare, Statement

SUBJECTS_PER_CALL = 250
_NAMES_REMEMBERED = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in seconds. A process that is gone frees its slots `believed_s` after its last heartbeat."""

    heartbeat_s: float = 2.0
    believed_s: float = 15.0
    touch_s: float = 30.0
    settle_s: float = 0.003
    first_retry_s: float = 0.1
    last_retry_s: float = 1.0
    others_s: float = 2.5
    names: Names = field(default_factory=Names)
    scripts: Scripts = field(default_factory=Scripts)


DEFAULTS = Settings()


class Member:
    """A process takes a new name whenever it joins: a call that failed may have been carried out, or may be yet, and what
    it counted under the old name must not count. Every method raises RedisUnavailable.
    """

    def __init__(self, share: LocalShare, new_name: Callable[[], str], settings: Settings) -> None:
        self._share = share
        self._new_name = new_name
        self._settings = settings
        self._names, self._scripts = settings.names, settings.scripts
        self._before: list[str] = []
        self._epoch = self._epoch_found = b""
        self.name = ""

    async def enter(self, lane: Lane) -> bool:
        """Take a name. True unless Redis has lost what this process told it before."""
        if self.name:
            self._before = [*self._before[1 - _NAMES_REMEMBERED :], self.name]
        self.name = self._new_name()
        self._epoch_found = await self._state(lane, [], [])
        return self._epoch in (b"", self._epoch_found)

    async def state_past(self, lane: Lane, *, everything: bool) -> None:
        """Say what was admitted and not said yet, or `everything`. Nothing is said of what is in flight: it may end unheard
        before this process has joined.
        """
        await self._state_all(lane, self._share.tell(everything=everything, in_flight=False))

    async def state_present(self, lane: Lane) -> None:
        """Say what is in flight, and what was admitted and not said yet. From now on, what ends must be sent."""
        await self._state_all(lane, self._share.tell(everything=False, in_flight=True))

    async def _state_all(self, lane: Lane, statement: Statement) -> None:
        """In as many calls as it takes."""
        try:
            for at in range(0, len(statement.subjects), SUBJECTS_PER_CALL):
                part = statement.subjects[at : at + SUBJECTS_PER_CALL]
                keys = [self._names.window(scope, subject) for scope, subject, _ in part]
                if await self._state(lane, keys, [numbers for _, _, numbers in part]) != self._epoch_found:
                    raise RedisUnavailable("it lost its data")
        except BaseException:
            self._share.take_back(statement)
            raise
        self._epoch = self._epoch_found
        self._before.clear()

    async def count(self, lane: Lane) -> int:
        """How many processes have entered."""
        return int(await lane.command("ZCARD", self._names.owners))

    async def _state(self, lane: Lane, keys: list[str], told: list[list[int]]) -> bytes:
        argument = msgspec.msgpack.encode((self.name, self._believed_us, self._before, told))
        epoch: bytes = await lane.run(self._scripts.restate, [self._names.owners, self._names.epoch, *keys], argument)
        return epoch

    async def beat(self, lane: Lane, *, touch: bool) -> bool:
        """Whether Redis knows this process still and, with `touch`, has every window in which it has requests in flight."""
        keys = [self._names.window(scope, subject) for scope, subject in self._share.busy()] if touch else []
        for at in range(0, len(keys) or 1, SUBJECTS_PER_CALL):
            named = [self._names.owners, self._names.epoch, *keys[at : at + SUBJECTS_PER_CALL]]
            if not await lane.run(self._scripts.beat, named, self.name, self._believed_us):
                return False
        return True

    async def leave(self, lane: Lane) -> None:
        """Nothing that was counted as in flight under this name counts any longer."""
        await lane.command("ZREM", self._names.owners, self.name)

    @property
    def _believed_us(self) -> int:
        return int(self._settings.believed_s * 1e6)
