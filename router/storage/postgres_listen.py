"""What other processes on one PostgreSQL tell at once: LISTEN on a connection of its own that comes back by itself.

Nothing may depend on it: whoever is told here polls as well. A pulse sent through the pool has to come back, because a
pooler between may take LISTEN and deliver nothing, and a dead peer may leave a connection that looks alive.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from router.domain.errors import StorageUnavailable
from router.domain.observations import Notice
from router.domain.ports import Ids, Observer
from router.storage.channels import CHANGED, WANTED
from router.storage.database import unavailable
from router.storage.postgres import CONNECT_TIMEOUT_S, PostgresDatabase, translated

PULSE_S = 10.0
PULSE_WAIT_S = 3.0
FIRST_PAUSE_S = 0.25
MAX_PAUSE_S = 5.0

_PULSE = "SELECT pg_notify($1, '')"
_WANT = msgspec.json.Decoder(tuple[str, str, str])


class PostgresListener:
    """Implements domain.ports.Notices.

    `changed` is called when keys, tenants or what belongs to them may have changed, also after every (re)connection, since
    nobody was listening before; `wanted` with (who asks, budget, period). Both must return at once.
    """

    def __init__(
        self,
        database: PostgresDatabase,
        ids: Ids,
        observer: Observer,
        *,
        changed: Callable[[], None],
        wanted: Callable[[str, str, str], None],
        pulse_wait_s: float = PULSE_WAIT_S,
    ) -> None:
        self._database = database
        self._ids = ids
        self._observer = observer
        self._changed = changed
        self._wanted = wanted
        self._pulse_wait_s = pulse_wait_s
        self._has_told_loss = False
        self.is_heard = False

    async def run(self) -> None:
        """Listen for ever; after a loss again, sooner at first, and not all processes at the same moment."""
        pause = FIRST_PAUSE_S
        while True:
            reason = ""
            try:
                await self._listen()
            except StorageUnavailable as error:
                reason = error.hint
            pause = FIRST_PAUSE_S if self.is_heard else min(2 * pause, MAX_PAUSE_S)
            self.is_heard = False
            self._tell_loss(reason)
            await asyncio.sleep(pause * (0.5 + self._ids.draw() / 2))

    async def _listen(self) -> None:
        """Until the connection is lost. Raises StorageUnavailable."""
        lost, came = asyncio.Event(), asyncio.Event()
        pulse = f"routerd_pulse_{self._ids.new()}"
        channels = {CHANGED: self._on_changed, WANTED: self._on_wanted, pulse: lambda *_: came.set()}

        def ended(_connection: object) -> None:
            lost.set()
            came.set()

        async with self._database.apart({"application_name": "routerd listen"}) as connection:
            connection.add_termination_listener(ended)
            await translated(_subscribe, connection, channels)
            while not lost.is_set():
                came.clear()
                await self._database.one(_PULSE, pulse)
                await _arrival(came, self._pulse_wait_s)
                self._hears()
                await _passed(PULSE_S, lost)
        raise unavailable("the connection to PostgreSQL was lost")

    def _hears(self) -> None:
        if self.is_heard:
            return
        self.is_heard = True
        self._changed()
        if self._has_told_loss:
            self._has_told_loss = False
            self._observer.emit(Notice("info", "listen", "what other processes change is heard of at once again"))

    def _tell_loss(self, reason: str) -> None:
        """Once until it is back: it is tried again every few seconds."""
        if self._has_told_loss:
            return
        self._has_told_loss = True
        text = f"what other processes change is heard of by polling alone: {reason}"
        self._observer.emit(Notice("warning", "listen", text))

    def _on_changed(self, *_: object) -> None:
        self._changed()

    def _on_wanted(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        """Anybody with a login may notify: what is none of ours is nothing."""
        with suppress(msgspec.DecodeError):
            self._wanted(*_WANT.decode(payload))


async def _subscribe(connection: Any, channels: dict[str, Callable[..., None]]) -> None:
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        for name, heard in channels.items():
            await connection.add_listener(name, heard)


async def _passed(seconds: float, unless: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await unless.wait()


async def _arrival(came: asyncio.Event, within_s: float) -> None:
    try:
        async with asyncio.timeout(within_s):
            await came.wait()
    except TimeoutError as error:
        raise unavailable("PostgreSQL takes LISTEN and delivers nothing; a pooler in transaction mode does that") from error
