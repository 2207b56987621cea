"""A call under a key runs by itself: what its caller sees, when it sees the end, and what remains when it leaves."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from router.domain.errors import GatewayError, InternalError, NotReady, UpstreamTruncated
from router.domain.flow import pieces_of
from router.domain.idempotency import Claim, KeptAnswer
from router.domain.observations import RequestReplayed
from router.gateway.case import Caller
from router.gateway.idempotency import Idempotency, KeyedRequest
from router.gateway.pipe import DEPTH
from router.server.keyed_call import KeyedCall
from router.server.state import Serving
from tests.gateway.fakes import DONE, Scripted, answer, chat, frame, principal
from tests.gateway.keys import KeyTable
from tests.gateway.table import Table, alias

FRAMES = [frame("a"), frame("b"), frame(finish="stop"), DONE]


class SlowKeyTable(KeyTable):
    """Keeps an answer when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.may_keep = asyncio.Event()

    async def keep(self, claim: Claim, answer: KeptAnswer | None) -> None:
        await self.may_keep.wait()
        await super().keep(claim, answer)


class BrokenScript(Scripted):
    async def read(self, limit: int) -> bytes:
        raise RuntimeError("a fault of ours")


class EndlessScript(Scripted):
    async def chunks(self) -> AsyncIterator[bytes]:
        yield frame("a")
        await asyncio.Event().wait()


class Bench:
    """A gateway on doubles whose calls carry the key `k`; what is started here is awaited by the test."""

    def __init__(self, *script: Scripted, store: KeyTable | None = None) -> None:
        self.table = Table(alias("a", "p"), p=list(script))
        self.store = store or KeyTable()
        table = self.table
        self.serving = Serving(
            current=table.generation,
            gateway=table.gateway,
            authenticator=cast(Any, None),
            addresses=cast(Any, None),
            clock=table.clock,
            ids=table.ids,
            tasks=table.tasks,
            observer=table.observer,
            idempotency=Idempotency(self.store, b"s"),
            render_metrics=cast(Any, None),
        )

    def start(self, *, stream: bool = False) -> tuple[KeyedCall, "asyncio.Task[None]"]:
        table, request, id = self.table, chat(stream), self.table.ids.new()  # noqa: A001  as the field is called
        opening = table.gateway.open(table.generation, principal(), request, Caller(id, "r1"), forwarded={})
        asked = KeyedRequest("k", "/v1/chat/completions", principal(), request, None, id)
        call = KeyedCall(self.serving, table.generation, opening, asked, request_id="r1", is_explained=False)
        return call, asyncio.create_task(call.run())

    @property
    def is_free(self) -> bool:
        return not self.store.open and not self.store.ended


async def turns(count: int = 20) -> None:
    """Let everything that can go on go on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def rest_of(frames: AsyncIterator[bytes]) -> list[bytes]:
    return [frame async for frame in frames]


async def test_a_body_is_told_when_it_is_kept_and_not_before() -> None:
    store = SlowKeyTable()
    bench = Bench(answer(), store=store)
    call, task = bench.start()
    head = asyncio.create_task(call.head())
    await turns()
    assert not head.done()
    assert bench.table.entry.cost == 20
    store.may_keep.set()
    assert ((await head).status, (await head).body) == (200, answer().body)
    await task


async def test_frames_are_told_as_they_come_and_the_end_when_they_are_kept() -> None:
    store = SlowKeyTable()
    bench = Bench(Scripted(pieces=FRAMES), store=store)
    call, task = bench.start(stream=True)
    assert (await call.head()).body is None
    frames = pieces_of(call.frames())
    assert b"".join([await anext(frames) for _ in FRAMES]) == b"".join(FRAMES)
    end = asyncio.create_task(rest_of(frames))
    await turns()
    assert not end.done()
    store.may_keep.set()
    assert await end == []
    await task
    again, replay = bench.start(stream=True)
    told = await again.head()
    assert (told.body, told.headers["Idempotent-Replayed"]) == (b"".join(FRAMES), "true")
    await replay
    [line] = bench.table.observer.of(RequestReplayed)
    assert (line.request_id, line.decision, line.status) == ("r1", bench.table.entry.id, 200)


async def test_a_reader_that_does_not_read_holds_the_provider_back_and_lets_it_go_when_it_leaves() -> None:
    many = [frame(str(n)) for n in range(50)] + FRAMES
    script = Scripted(pieces=many)
    bench = Bench(script)
    call, task = bench.start(stream=True)
    await turns()
    assert len(many) - len(script.pieces) <= DEPTH + 2
    call.leave()
    await task
    [(_, kept)] = bench.store.ended.values()
    assert kept is not None
    assert kept.body == b"".join(many)
    assert bench.table.outcomes == ["ok"]


async def test_a_call_without_its_caller_counts_as_under_way_until_it_ends() -> None:
    store = SlowKeyTable()
    bench = Bench(answer(), store=store)
    call, task = bench.start()
    await turns()
    assert (bench.serving.inflight, len(bench.serving.calls)) == (0, 1)
    call.leave()
    assert bench.serving.inflight == 1
    bench.serving.is_draining = True
    store.may_keep.set()
    await task
    assert (bench.serving.inflight, bench.serving.quiet.is_set(), len(bench.serving.calls)) == (0, True, 0)


async def test_leaving_when_it_has_ended_counts_nothing() -> None:
    bench = Bench(answer())
    call, task = bench.start()
    await call.head()
    await task
    call.leave()
    assert bench.serving.inflight == 0


async def test_a_stream_that_breaks_is_told_so_and_frees_the_key() -> None:
    bench = Bench(Scripted(pieces=FRAMES[:1]))
    call, task = bench.start(stream=True)
    assert (await call.head()).status == 200
    with pytest.raises(UpstreamTruncated):
        _ = [piece async for piece in pieces_of(call.frames())]
    await task
    assert bench.is_free


async def test_an_error_event_of_the_provider_is_relayed_and_frees_the_key() -> None:
    event = b'data: {"error":{"message":"overloaded","code":"x"}}\n\n'
    bench = Bench(Scripted(pieces=[frame("a"), event]))
    call, task = bench.start(stream=True)
    await call.head()
    assert [piece async for piece in pieces_of(call.frames())] == [frame("a"), event]
    await task
    assert bench.is_free


@pytest.mark.parametrize("has_left", [False, True])
async def test_an_interrupted_call_is_settled_told_and_frees_the_key(has_left: bool) -> None:
    bench = Bench(EndlessScript(pieces=[]))
    call, task = bench.start(stream=True)
    await call.head()
    frames = pieces_of(call.frames())
    assert await anext(frames) == frame("a")
    if has_left:
        call.leave()
    call.interrupt()
    call.interrupt()
    if not has_left:
        with pytest.raises(NotReady):
            await anext(frames)
    await task
    assert bench.is_free
    assert (bench.table.outcomes, bench.table.entry.status, bench.table.entry.code) == (["cancelled"], 503, "not_ready")


async def test_a_fault_of_ours_is_told_without_its_words_and_frees_the_key() -> None:
    bench = Bench(BrokenScript())
    call, task = bench.start()
    with pytest.raises(InternalError, match="quote the request id r1") as told:
        await call.head()
    assert isinstance(told.value, GatewayError)
    with pytest.raises(RuntimeError):
        await task
    assert bench.is_free
