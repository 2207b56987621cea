"""Two processes that ask each other: answers find their questions, and the end of one is known to the other at once."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from router.app.link import Link, NoAnswer
from router.domain.observations import Failure, Observation
from router.system import SystemTasks


class Seen:
    def __init__(self) -> None:
        self.observed: list[Observation] = []

    def emit(self, observation: Observation) -> None:
        self.observed.append(observation)


async def echo(question: str) -> bytes:
    if question == "unknown":
        raise NoAnswer(question)
    if question == "broken":
        raise RuntimeError("a fault")
    if question == "never":
        await asyncio.Event().wait()
    if question.startswith("slow"):
        await asyncio.sleep(0.02)
    return question.upper().encode() * (100_000 if question == "much" else 1)


@asynccontextmanager
async def linked(seen: Seen) -> AsyncIterator[tuple[Link, Link]]:
    tasks = SystemTasks(seen)
    ends = [await Link.over(end, echo, tasks) for end in socket.socketpair()]
    for end in ends:
        tasks.spawn(end.run(), name="link")
    yield ends[0], ends[1]
    await tasks.stop()


async def test_both_ends_ask_at_once_and_get_their_own_answers() -> None:
    async with linked(Seen()) as (one, other):
        asked = [("slow a", one), ("b", one), ("c", other), ("slow d", other), ("much", one)]
        answers = await asyncio.gather(*(end.ask(question, 5) for question, end in asked))
    assert answers == [b"SLOW A", b"B", b"C", b"SLOW D", b"MUCH" * 100_000]


async def test_what_cannot_be_answered_is_no_answer_and_a_fault_is_told_where_it_happened() -> None:
    seen = Seen()
    async with linked(seen) as (one, _):
        for question in ("unknown", "broken"):
            with pytest.raises(NoAnswer):
                await one.ask(question, 5)
        with pytest.raises(NoAnswer, match=r"within 0\.01 s"):
            await one.ask("never", 0.01)
        assert await one.ask("still here", 5) == b"STILL HERE"
    assert ["RuntimeError: a fault" in each.traceback for each in seen.observed if isinstance(each, Failure)] == [True]


async def test_the_end_of_the_other_is_seen_at_once() -> None:
    async with linked(Seen()) as (one, other):
        waiting = asyncio.gather(one.ask("never", 5), return_exceptions=True)
        await asyncio.sleep(0)
        other.close()
        async with asyncio.timeout(1):
            await one.gone.wait()
            [answer] = await waiting
        assert isinstance(answer, NoAnswer)
        with pytest.raises(NoAnswer):
            await one.ask("anybody", 5)
