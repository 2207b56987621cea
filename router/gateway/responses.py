"""Responses that outlive their request: what is kept, how a conversation goes on, and what their callers may do later.

The conversation is ours, whoever answers it: an earlier turn is told again in whole, before the next one is planned.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

import msgspec

from router.domain.errors import InvalidRequest, NotFound, StorageUnavailable, UpstreamTruncated
from router.domain.observations import Failure
from router.domain.ports import Clock, Observer, ResponseStore, Tasks
from router.domain.responses import KeptResponse, ResponseStatus
from router.gateway.response_items import listed, named_items, referenced, travels_on
from router.gateway.response_stamp import complaint_in, failed_object, numbered_after, told

MAX_OWED_BYTES = 32 * 2**20
LOOK_S = 0.25
STOPPED_LOOK_S = 1.0
CANCEL_WAIT_S = 5.0
_LOST = "the answer could not be kept"


class Running(Protocol):
    """A response that goes on without its caller; `over` is set when its end is written."""

    over: asyncio.Event

    def cancel(self) -> None:
        """Its caller wants it no more."""
        ...

    def interrupt(self) -> None:
        """The daemon's drain time is over."""
        ...


class Page(NamedTuple):
    """Some of a list's items as JSON; `ids` are theirs."""

    ids: list[str]
    items: list[bytes]
    has_more: bool


def _nothing() -> None:
    return None


class Responses:
    """What is kept, and what runs here. An ending that cannot be written is owed and tried again.

    `began` and `ended` are told of what runs in the background: it counts as under way.
    """

    def __init__(self, store: ResponseStore, clock: Clock, observer: Observer, tasks: Tasks) -> None:
        self.store = store
        self.clock = clock
        self.tasks = tasks
        self.running: dict[str, Running] = {}
        self.began: Callable[[], None] = _nothing
        self.ended: Callable[[], None] = _nothing
        self._observer = observer
        self._owed: dict[str, KeptResponse] = {}
        self._is_watching = False

    # -- what a request goes on from ------------------------------------------------------------------------------

    async def turns_before(self, tenant: str, previous: str | None) -> Sequence[KeptResponse]:
        """What a request goes on from. Raises NotFound, InvalidRequest, StorageUnavailable."""
        if not previous:
            return ()
        turns = await self.store.turns(tenant, previous)
        if not turns:
            raise NotFound(
                f"the response {previous[:100]!r} does not exist, or it is not kept any more", param="previous_response_id"
            )
        status = turns[-1].status
        if status not in (ResponseStatus.COMPLETED, ResponseStatus.INCOMPLETE):
            raise InvalidRequest(
                f"previous_response_id: {previous!r} is {status.value}; only what was answered can be gone on from",
                param="previous_response_id",
            )
        return turns

    async def resolved(self, tenant: str, items: Sequence[bytes], turns: Sequence[KeptResponse]) -> list[bytes]:
        """The items, each that is only named replaced by the one it names. Raises NotFound, StorageUnavailable."""
        names = [name for item in items if (name := referenced(item)) is not None]
        if not names:
            return list(items)
        known: dict[str, bytes] = {}
        for turn in turns:
            known |= named_items(turn)
        missing = [name for name in names if name not in known]
        for name, holder in (await self.store.holders(tenant, missing)).items() if missing else ():
            known[name] = named_items(holder).get(name, b"")
        found: list[bytes] = []
        for item in items:
            name = referenced(item)
            if name is not None and not (item := known.get(name, b"")):
                raise NotFound(f"the item {name[:100]!r} does not exist, or it is not kept any more", param="input")
            if name is None or travels_on(item):
                found.append(item)
        return found

    # -- what callers may do later --------------------------------------------------------------------------------

    async def find(self, tenant: str, name: str) -> KeptResponse:
        """Raises NotFound, StorageUnavailable."""
        kept = await self.store.find(tenant, name)
        if kept is None:
            raise NotFound(f"the response {name[:100]!r} does not exist, or it is not kept any more")
        if kept.is_orphan:
            kept = msgspec.structs.replace(kept, status=ResponseStatus.FAILED)
        return kept

    async def body(self, tenant: str, name: str) -> bytes:
        """The response object as it is now. Raises NotFound, StorageUnavailable."""
        kept = await self.find(tenant, name)
        return told(kept.answer, kept.status)

    async def delete(self, tenant: str, name: str) -> None:
        """One that is under way is cancelled. Raises NotFound, StorageUnavailable."""
        kept = await self.find(tenant, name)
        if not kept.status.is_final:
            await self._stop(kept)
        if not await self.store.forget(tenant, name):
            raise NotFound(f"the response {name[:100]!r} does not exist, or it is not kept any more")

    async def cancel(self, tenant: str, name: str) -> bytes:
        """The response object as it is then; one that has ended stays as it is. Raises NotFound, InvalidRequest,
        StorageUnavailable."""
        kept = await self.find(tenant, name)
        if not kept.is_background:
            raise InvalidRequest(f"{name!r} does not run in the background: only such a response can be cancelled")
        if not kept.status.is_final:
            await self._stop(kept)
        return await self.body(tenant, name)

    async def items(self, tenant: str, name: str, *, after: str | None, limit: int, is_ascending: bool) -> Page:
        """What the response was asked with, all earlier turns included. Raises NotFound, InvalidRequest,
        StorageUnavailable."""
        kept = await self.find(tenant, name)
        every = listed(await self.store.turns(tenant, name) or [kept])
        if not is_ascending:
            every.reverse()
        if after is not None:
            place = next((n for n, (name, _) in enumerate(every) if name == after), None)
            if place is None:
                raise InvalidRequest(f"after: {after[:100]!r} is no item of this response", param="after")
            every = every[place + 1 :]
        page = every[:limit]
        return Page([name for name, _ in page], [item for _, item in page], len(every) > limit)

    async def events(self, kept: KeptResponse, after: int) -> AsyncIterator[bytes]:
        """The events numbered above `after`, as they come. Raises UpstreamTruncated where they end without an end."""
        piece, last = -1, b""
        while True:
            now = await self.store.find(kept.tenant_id, kept.id)
            pieces = await self.store.events(kept.id, piece)
            for number, frames in pieces:
                piece, last = number, frames
                if wanted := numbered_after(frames, after):
                    yield wanted
            if pieces:
                continue
            if now is None or now.is_orphan or now.status.is_final:
                break
            await asyncio.sleep(LOOK_S)
        status = ResponseStatus.FAILED if now is None or now.is_orphan else now.status
        if f'"response.{status.value}"'.encode() not in last:
            why = "" if now is None else complaint_in(told(now.answer, status))
            raise UpstreamTruncated(f"the response is {status.value}{f': {why}' if why else ''}")

    # -- what is written ------------------------------------------------------------------------------------------

    async def end(self, kept: KeptResponse) -> None:
        """Write how it has ended, now or when the database is back. Raises only CancelledError, and not before."""
        try:
            await self.store.end(kept)
        except (StorageUnavailable, asyncio.CancelledError) as error:
            self._owe(kept)
            if isinstance(error, asyncio.CancelledError):
                raise

    async def pay(self) -> None:
        """Write the endings that are owed; the rest waits for the next time when one fails."""
        for name, kept in list(self._owed.items()):
            try:
                await self.store.end(kept)
            except StorageUnavailable:
                return
            self._owed.pop(name, None)

    async def sweep(self) -> None:
        """Forget what has expired; what dead processes left is failed."""
        await self.store.sweep()

    def _owe(self, kept: KeptResponse) -> None:
        size = sum(len(owed.input) + len(owed.answer) for owed in self._owed.values())
        if size + len(kept.input) + len(kept.answer) > MAX_OWED_BYTES:
            if not kept.is_background:
                self._observer.emit(Failure("", "responses", f"{kept.id} is not kept: the database is away for too long"))
                return
            # It must not look as if it went on for ever.
            lost = failed_object(b'{"id":"%s","object":"response","output":[]}' % kept.id.encode(), "server_error", _LOST)
            kept = msgspec.structs.replace(kept, status=ResponseStatus.FAILED, answer=lost)
        self._owed[kept.id] = kept

    # -- what runs ------------------------------------------------------------------------------------------------

    def started(self, name: str, running: Running) -> None:
        self.running[name] = running
        self.began()
        if not self._is_watching:
            self._is_watching = True
            self.tasks.spawn(self._watch(), name="cancelled responses")

    def is_over(self, name: str) -> None:
        self.running.pop(name).over.set()
        self.ended()

    async def _stop(self, kept: KeptResponse) -> None:
        if not await self.store.stop(kept.tenant_id, kept.id):
            return
        running = self.running.get(kept.id)
        if running is not None:
            running.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(CANCEL_WAIT_S):
                    await running.over.wait()

    async def _watch(self) -> None:
        """Look for what was cancelled in another process, as long as anything runs here."""
        try:
            while self.running:
                await asyncio.sleep(STOPPED_LOOK_S)
                with suppress(StorageUnavailable):
                    stopped = await self.store.stopped()
                    for running in [self.running[name] for name in stopped if name in self.running]:
                        running.cancel()
        finally:
            self._is_watching = False
