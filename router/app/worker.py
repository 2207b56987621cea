"""One of several workers: it serves on sockets it has inherited, and lives as long as its supervisor does."""

import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from router.app.link import Link, NoAnswer
from router.app.places import Pack
from router.config.snapshot import Snapshot
from router.domain.errors import NotReady
from router.domain.observations import Notice
from router.domain.ports import Observer, Tasks
from router.server.control_socket import Answers

METRICS = "metrics"
READY = "ready"
METRICS_S = 2.0
READY_S = 10.0


class Seat(msgspec.Struct, frozen=True):
    """What a worker inherits: numbers of open files. `lock` keeps the database's file locked while any worker lives."""

    index: int
    link: int
    sockets: tuple[int, ...]
    lock: int | None = None

    @property
    def files(self) -> tuple[int, ...]:
        return (self.link, *self.sockets, *(() if self.lock is None else (self.lock,)))


class Worker:
    """Implements app.places.Place."""

    def __init__(self, seat: Seat) -> None:
        for number in seat.files:
            os.set_inheritable(number, False)
        self.worker: int | None = seat.index
        self.sockets: Sequence[socket.socket] = [socket.socket(fileno=number) for number in seat.sockets]
        self.holds_lock = True
        self._end = socket.socket(fileno=seat.link)
        self._link: Link | None = None

    async def open(self, answers: Answers, pack: Pack, observer: Observer, tasks: Tasks, leave: Callable[[], None]) -> None:
        known = {**answers, METRICS: pack}

        async def answer(question: str) -> bytes:
            if question not in known:
                raise NoAnswer(question)
            return await known[question]()

        async def serve() -> None:
            await link.run()
            observer.emit(Notice("warning", "worker", "the supervisor has ended: so does this worker"))
            leave()

        link = self._link = await Link.over(self._end, answer, tasks)
        tasks.spawn(serve(), name="link")

    async def metrics(self, render: Callable[[], bytes]) -> bytes:
        """Of all workers: only the supervisor knows who they are, and what those that have ended had counted."""
        assert self._link is not None, "not open"
        try:
            return await self._link.ask(METRICS, METRICS_S)
        except NoAnswer as reason:
            raise NotReady("metrics cannot be summed over the workers now", hint=str(reason)) from reason

    async def started(self, url: str, path: Path, snapshot: Snapshot) -> None:
        assert self._link is not None, "not open"
        try:
            await self._link.ask(READY, READY_S)
        except NoAnswer:
            return  # it has ended, and so will this process

    async def close(self) -> None:
        """The supervisor sees this process's end itself."""
