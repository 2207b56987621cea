"""A request with an Idempotency-Key: its call runs in a task of its own, so that it ends and is kept whoever leaves.

The caller has the end of an answer only when that answer is kept: a body whole, of a stream the end of the HTTP body.
"""

import asyncio

import msgspec

from router.domain.errors import CutOff, GatewayError, InternalError
from router.domain.flow import Flow
from router.domain.idempotency import MAX_KEPT_BYTES, KeptAnswer
from router.domain.ledger import Outcome
from router.domain.observations import RequestReplayed
from router.gateway.generation import Generation
from router.gateway.idempotency import KeyedRequest, is_final, permit_replay
from router.gateway.pipe import Pipe, PipedFrames
from router.gateway.pipeline import Opened
from router.server.headers import answer_headers, kept_headers, replay_headers
from router.server.state import Serving


class Told(msgspec.Struct, frozen=True):
    """The head of an answer; `body` None: frames follow."""

    status: int
    headers: dict[str, str]
    body: bytes | None


class _Ending(msgspec.Struct, frozen=True):
    """What is left to tell, and whether it is the answer for good; `kept` None: too large to be kept."""

    told: Told | None
    is_final: bool
    kept: KeptAnswer | None


class Recording:
    """The frames of a stream, as long as they are small enough to be kept."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._size = 0

    def add(self, frame: bytes) -> None:
        self._size += len(frame)
        if self._size <= MAX_KEPT_BYTES:
            self._frames.append(frame)
        else:
            self._frames.clear()

    @property
    def body(self) -> bytes | None:
        """None: too large."""
        return b"".join(self._frames) if self._size <= MAX_KEPT_BYTES else None


class KeyedCall:
    """`run` is the task; the handler asks for the `head`, then for the `frames`, and says when it leaves."""

    def __init__(
        self,
        serving: Serving,
        generation: Generation,
        opening: Opened,
        asked: KeyedRequest,
        *,
        request_id: str,
        is_explained: bool,
    ) -> None:
        self._serving = serving
        self._generation = generation
        self._opening = opening
        self._asked = asked
        self._request_id = request_id
        self._is_explained = is_explained
        self._pipe: Pipe[Told | bytes | GatewayError | None] = Pipe()
        self._task: asyncio.Task[None] | None = None
        self._interruption: CutOff | None = None
        self._is_over = self._is_left = False

    # -- the handler's side -------------------------------------------------------------------------------------

    async def head(self) -> Told:
        """Raises the GatewayError that refused the request or ended it before an answer began."""
        said = await self._pipe.get()
        if isinstance(said, GatewayError):
            raise said
        assert isinstance(said, Told), "an answer begins with its head"
        return said

    def frames(self) -> Flow:
        """Raises the GatewayError that broke the stream."""
        return PipedFrames(self._pipe)

    def leave(self) -> None:
        """Nobody relays on. What still runs counts as under way until it has ended."""
        self._pipe.close()
        if not self._is_over:
            self._is_left = True
            self._serving.inflight += 1

    # -- the task's side ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        serving = self._serving
        self._task = asyncio.current_task()
        serving.calls.add(self)
        try:
            await self._answer()
        except GatewayError as error:
            self._pipe.put(error)
        except asyncio.CancelledError:
            self._pipe.put(self._interruption or CutOff())
            if self._interruption is None:
                raise
        except BaseException:
            self._pipe.put(InternalError(f"internal error; quote the request id {self._request_id}"))
            raise
        finally:
            self._is_over = True
            serving.calls.discard(self)
            if self._is_left:
                serving.ended()

    def interrupt(self) -> None:
        """End the call from our side, unanswered: the daemon's drain time is over."""
        if self._interruption is None and self._task is not None:
            self._interruption = CutOff()
            self._task.cancel()

    async def _answer(self) -> None:
        keys = self._serving.idempotency
        claimed = await keys.claim(self._asked)
        if isinstance(claimed, KeptAnswer):
            self._replay(claimed)
            return
        try:
            ending = await self._call()
        except BaseException:
            await keys.free(claimed)
            raise
        if ending.is_final:
            await keys.keep(claimed, ending.kept)
        else:
            await keys.free(claimed)
        self._pipe.put(ending.told)

    async def _call(self) -> _Ending:
        async with self._opening as answer:
            headers = answer_headers(answer, explain=self._is_explained)
            body: bytes | None = answer.body or b""
            told: Told | None = Told(answer.status, headers, answer.body or b"")
            if answer.frames is not None:
                self._pipe.put(Told(answer.status, headers, None))
                body, told = await self._record(answer.frames), None
        kept = None if body is None else KeptAnswer(answer.status, kept_headers(headers), body)
        # A stream whose provider ended it with an error event is relayed as it came, and is no answer.
        is_answered = answer.case.outcome is not Outcome.SERVER_ERROR
        return _Ending(told, is_final(answer.status) and is_answered, kept)

    async def _record(self, frames: Flow) -> bytes | None:
        """Relay, as fast as the caller reads while it is there; what was relayed, None if it is too large to be kept."""
        recording, pipe = Recording(), self._pipe

        def take(frame: bytes) -> bool:
            recording.add(frame)
            pipe.put(frame)
            return pipe.has_room

        try:
            while (last := await frames.pour(take)) is None:
                await pipe.room()
            if last:
                take(last)
        except asyncio.CancelledError:
            if self._interruption is None:
                raise
            raise self._interruption from None
        return recording.body

    def _replay(self, kept: KeptAnswer) -> None:
        serving, asked = self._serving, self._asked
        permit_replay(serving.gateway, self._generation, asked)
        who, decision = asked.principal, kept.headers.get("X-Router-Decision", "")
        serving.observer.emit(RequestReplayed(self._request_id, asked.route, kept.status, who.tenant, who.key, decision))
        self._pipe.put(Told(kept.status, replay_headers(kept, self._request_id), kept.body))
