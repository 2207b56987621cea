"""Callers of the Responses API at a gateway on doubles, and a provider's answers in a spelling of its own."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

from router.config.snapshot import ResponseRetention
from router.domain.errors import GatewayError
from router.domain.flow import pieces_of
from router.domain.requests import Api, parse_request
from router.gateway.answer import Answer
from router.gateway.case import Caller
from router.gateway.pipeline import Opened
from router.gateway.responses import Responses
from router.gateway.stateful import Stateful
from tests.gateway.fakes import Scripted, principal
from tests.gateway.response_table import ResponseTable
from tests.gateway.table import Table, alias, spec

KEEPING = ResponseRetention(30 * 86_400_000_000, is_ours=True)
ZERO = ResponseRetention(0, is_ours=True)
MESSAGE = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": []}


def told(*output: Any, **fields: Any) -> bytes:
    """A response object in a spelling of its own, to see that it survives."""
    body = {"id": "resp_theirs", "object": "response", "status": "completed", "output": list(output or (MESSAGE,))}
    return json.dumps(body | {"store": False, "usage": {"input_tokens": 10, "output_tokens": 5}} | fields).encode()


def event(kind: str, number: int, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': number} | fields)}\n\n".encode()


FRAMES = [
    event("response.created", 0, response=json.loads(told(status="in_progress", output=[]))),
    event("response.output_text.delta", 1, delta='a "response.completed" of no importance'),
    event("response.completed", 2, response=json.loads(told())),
]


class Desk:
    """Callers of /v1/responses at a gateway on doubles."""

    def __init__(self, *script: Any, keeping: ResponseRetention = KEEPING, model: str = "m", **changes: Any) -> None:
        provider = spec("p", apis=frozenset({Api.RESPONSES}))
        self.table = Table(
            alias("a", "p"),
            alias("m", "p"),
            providers=[provider],
            changes={"responses": keeping} | changes,
            p=script or [Scripted(body=told())],
        )
        self.store = ResponseTable()
        self.responses = Responses(self.store, self.table.clock, self.table.observer, self.table.tasks)
        self._door = Stateful(self.responses, self.table.gateway)

    def open(self, body: dict[str, Any] | bytes, who: Any = None) -> Opened:
        raw = body if isinstance(body, bytes) else json.dumps({"model": "a"} | body).encode()
        caller = Caller(self.table.ids.new(), "r1")
        request = parse_request(Api.RESPONSES, raw)
        return self._door.open(self.table.generation, who or principal(), request, caller, forwarded={})

    async def ask(self, body: dict[str, Any] | bytes, who: Any = None) -> bytes:
        """The whole of the answer."""
        async with self.open(body, who) as answer:
            return await whole(answer)

    @property
    def sent(self) -> Any:
        return json.loads(self.sent_bytes)

    @property
    def sent_bytes(self) -> bytes:
        body = self.table.transport.calls[-1].body
        assert isinstance(body, bytes)
        return body


async def pumped(desk: Desk, work: Coroutine[Any, Any, bytes]) -> bytes:
    """`work`, while what it spawns runs too."""
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(gathered(work))
        while not asked.done():
            for each in desk.table.tasks.spawned:
                group.create_task(each)
            desk.table.tasks.spawned.clear()
            await asyncio.sleep(0)
    found = asked.result()
    if isinstance(found, GatewayError):
        raise found
    return found


async def gathered(work: Coroutine[Any, Any, bytes]) -> bytes | GatewayError:
    try:
        return await work
    except GatewayError as error:
        return error


async def whole(answer: Answer) -> bytes:
    if answer.frames is None:
        return answer.body or b""
    return b"".join([frame async for frame in pieces_of(answer.frames)])


async def first_turn(desk: Desk, **fields: Any) -> str:
    return str(json.loads(await desk.ask({"input": "hello"} | fields))["id"])
