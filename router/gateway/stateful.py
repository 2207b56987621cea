"""Requests of the Responses API that are kept, or go on from kept ones: what stands before the gateway.

A request without state goes straight through, and its bytes stay its caller's.
"""

from collections.abc import AsyncIterator, Mapping
from types import TracebackType

from router.domain.errors import GatewayError, UnsupportedFeature
from router.domain.flow import Drawn, Flow, pieces_of
from router.domain.identity import Principal
from router.domain.requests import ModelRequest
from router.domain.responses import ResponseStatus
from router.gateway.answer import Answer
from router.gateway.background import BackgroundOpening, Take
from router.gateway.case import Caller, Case
from router.gateway.generation import Generation
from router.gateway.pipeline import Gateway, Opened, Opening
from router.gateway.purses import Purse
from router.gateway.response_items import Asked, asked_of, names_items
from router.gateway.response_stamp import stamped, stamped_frames, status_in
from router.gateway.responses import Responses
from router.gateway.turn import Turn, turn_of


class Stateful:
    """Opens requests of the Responses API as Gateway does."""

    def __init__(self, responses: Responses, gateway: Gateway) -> None:
        self._responses = responses
        self._gateway = gateway

    def open(
        self,
        generation: Generation,
        principal: Principal,
        request: ModelRequest,
        caller: Caller,
        *,
        forwarded: Mapping[str, str],
    ) -> Opened:
        """Raises InvalidRequest, and UnsupportedFeature for state that nobody keeps."""
        gateway, retention = self._gateway, generation.snapshot.responses
        if not retention.is_ours:
            return gateway.open(generation, principal, request, caller, forwarded=forwarded)
        asked = asked_of(request.body)
        if asked.conversation and bytes(asked.conversation) != b"null":
            raise UnsupportedFeature(
                "conversation: conversations are not kept here; go on from the last turn with previous_response_id",
                param="conversation",
            )
        if asked.background and not retention.kept_us:
            raise UnsupportedFeature("background: nothing is kept here that could be fetched later", param="background")
        if _is_stateless(asked) and not names_items(request.body):
            return gateway.open(generation, principal, request, caller, forwarded=forwarded)
        responses, name = self._responses, f"resp_{gateway.world.ids.new()}"

        async def take() -> tuple[Turn, Opening]:
            turn = await turn_of(responses, generation, principal.tenant_id, request, asked, name=name)
            return turn, gateway.open(generation, principal, turn.request, caller, forwarded=forwarded)

        return (BackgroundOpening if asked.background else StatefulOpening)(responses, take)


def _is_stateless(asked: Asked) -> bool:
    return asked.store is False and not asked.background and not asked.previous_response_id


class StatefulOpening:
    """A request whose answer is in the database before its caller has the end of it."""

    def __init__(self, responses: Responses, take: Take) -> None:
        self._responses = responses
        self._take = take
        self._inner: Opening | None = None

    @property
    def case(self) -> Case | None:
        return None if self._inner is None else self._inner.case

    def purse_for(self, error: GatewayError) -> Purse | None:
        return None if self._inner is None else self._inner.purse_for(error)

    async def __aenter__(self) -> Answer:
        turn, self._inner = await self._take()
        answer = await self._inner.__aenter__()
        try:
            if answer.status != 200:
                return answer
            if answer.frames is not None:
                answer.frames = Drawn(self._frames(answer.frames, turn))
            elif answer.body is not None:
                answer.body = await self._body(answer.body, turn)
        except BaseException as error:
            await self._inner.__aexit__(type(error), error, None)
            raise
        return answer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._inner is not None, "left before it was entered"
        await self._inner.__aexit__(kind, error, trace)

    async def _body(self, body: bytes, turn: Turn) -> bytes:
        status = status_in(body)
        if status is None:
            return body
        whole = stamped(body, turn.members)
        await self._keep(turn, status, whole)
        return whole

    async def _frames(self, frames: Flow, turn: Turn) -> AsyncIterator[bytes]:
        async for block in pieces_of(frames):
            for frame, ended in stamped_frames(block, turn.members):
                if ended is not None:
                    await self._keep(turn, *ended)
                yield frame

    async def _keep(self, turn: Turn, status: ResponseStatus, answer: bytes) -> None:
        if turn.is_kept:
            await self._responses.end(turn.kept(status, answer, self._responses.clock.now_us()))
