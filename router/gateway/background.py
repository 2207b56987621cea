"""A response that runs in the background: a task of its own, which its caller may leave, fetch from and cancel.

Its row is in the database before anything is sent: whoever asks for it later, in whichever process, is told the truth.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType

from router.domain.errors import GatewayError, InternalError, NotReady, StorageUnavailable, UpstreamTruncated
from router.domain.flow import Flow, pieces_of
from router.domain.responses import ResponseStatus
from router.gateway.answer import Answer
from router.gateway.case import Case
from router.gateway.pipe import Pipe, PipedFrames
from router.gateway.pipeline import Opening
from router.gateway.purses import Purse
from router.gateway.response_stamp import (
    code_of,
    failed_object,
    queued_object,
    refusal_in,
    stamped,
    stamped_frames,
    status_in,
)
from router.gateway.responses import Responses
from router.gateway.turn import Turn

Take = Callable[[], Awaitable[tuple[Turn, Opening]]]
"""Makes the turn, and opens its request. Raises NotFound, InvalidRequest, StorageUnavailable."""

EVENTS_S = 0.5
EVENTS_BYTES = 64 * 2**10
MAX_EVENTS_BYTES = 16 * 2**20
_CUT = "the gateway is shutting down and the response was cut"
_CANCELLED = "the response is cancelled"


class BackgroundOpening:
    """The request as the handler that starts it sees it: answered when it is admitted, a stream when it has begun."""

    def __init__(self, responses: Responses, take: Take) -> None:
        self._responses = responses
        self._take = take
        self._inner: Opening | None = None
        self._call: BackgroundCall | None = None

    @property
    def case(self) -> Case | None:
        return None if self._inner is None else self._inner.case

    def purse_for(self, error: GatewayError) -> Purse | None:
        return None if self._inner is None else self._inner.purse_for(error)

    async def __aenter__(self) -> Answer:
        turn, self._inner = await self._take()
        call = self._call = BackgroundCall(self._responses, turn, self._inner)
        await self._responses.store.begin(turn.kept(ResponseStatus.QUEUED, call.first, turn.created_at))
        self._responses.started(turn.id, call)
        self._responses.tasks.spawn(call.run(), name="response in the background")
        try:
            return await call.head()
        except BaseException:
            call.leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._call is not None, "left before it was entered"
        self._call.leave()


class BackgroundCall:
    """`run` is the task. The handler asks for the `head`, takes the frames from it, and says when it leaves."""

    def __init__(self, responses: Responses, turn: Turn, inner: Opening) -> None:
        fields = turn.request.fields
        self.first = queued_object(turn.request.body, turn.members, fields.model or "", turn.created_at // 1_000_000)
        self.over = asyncio.Event()
        self._responses = responses
        self._turn = turn
        self._inner = inner
        self._pipe: Pipe[Answer | bytes | GatewayError | None] = Pipe()
        self._task: asyncio.Task[None] | None = None
        self._interruption: GatewayError | None = None
        self._is_cancelled = self._is_told = False
        self._events = bytearray()
        self._pieces = 0
        self._written_at = responses.clock.monotonic()

    # -- the handler's side -------------------------------------------------------------------------------------

    async def head(self) -> Answer:
        """Raises the GatewayError that refused the request."""
        said = await self._pipe.get()
        if isinstance(said, GatewayError):
            raise said
        assert isinstance(said, Answer), "it begins with its head"
        return said

    def leave(self) -> None:
        """Nobody reads on here; it goes on."""
        self._pipe.close()

    # -- from elsewhere -----------------------------------------------------------------------------------------

    def cancel(self) -> None:
        if not self._is_cancelled and self._interruption is None:
            self._is_cancelled = True
            if self._task is not None:
                self._task.cancel()

    def interrupt(self) -> None:
        if not self._is_cancelled and self._interruption is None and self._task is not None:
            self._interruption = NotReady(_CUT, retry_after_s=1)
            self._task.cancel()

    # -- the task's side ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        self._task = asyncio.current_task()
        if not self._turn.request.stream:
            self._inner.on_admitted = self._admitted
        try:
            if self._is_cancelled:
                raise asyncio.CancelledError
            await self._answer()
        except GatewayError as error:
            await self._failed(error)
        except asyncio.CancelledError:
            if self._is_cancelled:
                await self._write_events()
                await self._end(ResponseStatus.CANCELLED, self.first)
                self._pipe.put(UpstreamTruncated(_CANCELLED))
                return
            await self._failed(self._interruption or NotReady(_CUT))
            if self._interruption is None:
                raise
        except BaseException:
            await self._failed(InternalError("internal error"))
            raise
        finally:
            self._responses.is_over(self._turn.id)

    async def _answer(self) -> None:
        responses, turn = self._responses, self._turn
        await responses.store.advance(turn.id)
        async with self._inner as answer:
            frames, body = answer.frames, answer.body or b""
            if frames is not None:
                answer.frames = PipedFrames(self._pipe)
                self._tell(answer)
                await self._relay(frames)
                return
            status = status_in(body) if answer.status == 200 else None
            if status is None:
                whole = failed_object(self.first, "server_error", refusal_in(body) or f"HTTP {answer.status}")
                await self._end(ResponseStatus.FAILED, whole)
            else:
                answer.body = whole = stamped(body, turn.members)
                await self._end(status, whole)
            if turn.request.stream:
                self._tell(answer)

    def _admitted(self, case: Case) -> None:
        candidate = case.first
        assert candidate is not None, "admitted with nobody to ask"
        self._tell(
            Answer(
                status=200,
                content_type="application/json",
                body=self.first,
                frames=None,
                passed={},
                provider=candidate.target.provider,
                via=candidate.via,
                upstream_request_id="",
                attempts=0,
                cost=None,
                purse=None,
                case=case,
            )
        )

    def _tell(self, head: Answer) -> None:
        self._is_told = True
        self._pipe.put(head)

    async def _relay(self, frames: Flow) -> None:
        """To the caller while it is there, and into the database."""
        ended, pipe = None, self._pipe
        async for block in pieces_of(frames):
            for frame, end in stamped_frames(block, self._turn.members):
                if len(self._events) <= MAX_EVENTS_BYTES:
                    self._events += frame
                if end is not None:
                    ended = end
                    await self._write_events()
                    await self._end(*end)
                await pipe.room()
                pipe.put(frame)
            is_due = self._responses.clock.monotonic() - self._written_at >= EVENTS_S
            if is_due or len(self._events) >= EVENTS_BYTES:
                await self._write_events()
        if ended is None:
            # The provider's own error event has been relayed, and is the end.
            await self._write_events()
            await self._end(ResponseStatus.FAILED, failed_object(self.first, "server_error", "the provider broke off"))
        pipe.put(None)

    async def _failed(self, error: GatewayError) -> None:
        """A request that was refused before its caller was told of a response has left none."""
        await self._write_events()
        await self._end(ResponseStatus.FAILED, failed_object(self.first, code_of(error), error.message))
        if not self._is_told:
            with suppress(StorageUnavailable):
                await self._responses.store.forget(self._turn.tenant_id, self._turn.id)
        self._pipe.put(error)

    async def _end(self, status: ResponseStatus, answer: bytes) -> None:
        responses = self._responses
        await responses.end(self._turn.kept(status, answer, responses.clock.now_us()))

    async def _write_events(self) -> None:
        """What has passed since the last time. While the database is away they wait, up to a bound."""
        if not self._events or len(self._events) > MAX_EVENTS_BYTES:
            return
        try:
            await self._responses.store.add_events(self._turn.id, self._pieces, bytes(self._events))
        except StorageUnavailable:
            return
        self._events.clear()
        self._pieces += 1
        self._written_at = self._responses.clock.monotonic()
