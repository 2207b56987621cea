"""All workers as one: what is asked of the daemon is asked of each, and their answers become one answer."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from router.app.link import NoAnswer
from router.app.worker import METRICS
from router.app.worker_process import WorkerProcess, WorkerState
from router.server.control_socket import FORGET_KEYS, RELOAD, STATUS, Answers
from router.telemetry.sums import WorkerMetrics

SCRAPE_S = 0.5
STATUS_S = 2.0
COMMAND_S = 4.0
SILENT = "silent"

Told = dict[int, dict[str, Any]]
"""The answers of those that answered, by their numbers, in their order."""


class Crew:
    """`workers` may be added to until the first question."""

    def __init__(self) -> None:
        self.workers: list[WorkerProcess] = []
        self._metrics = WorkerMetrics()

    @property
    def answers(self) -> Answers:
        """What the control socket answers."""
        return {STATUS: self._status, RELOAD: self.reload, FORGET_KEYS: self._forget_keys}

    async def answer(self, question: str) -> bytes:
        """What a worker may ask for: the metrics of all. Raises NoAnswer."""
        if question != METRICS:
            raise NoAnswer(question)
        return await self._scrape()

    def ended(self, worker: WorkerProcess) -> None:
        """Its process has ended; what it had counted stays in the sums."""
        self._metrics.ended(worker.index)

    async def reload(self) -> bytes:
        """All or it has failed. A worker that is starting reads the question when it has read the file."""
        told = await self._ask(RELOAD, COMMAND_S)
        missing = [worker.index for worker in self.workers if worker.index not in told]
        return msgspec.json.encode(joined_reload(told, missing))

    async def _forget_keys(self) -> bytes:
        await self._ask(FORGET_KEYS, COMMAND_S)
        return msgspec.json.encode({"status": "ok"})

    async def _status(self) -> bytes:
        crew = [{"worker": w.index, "pid": w.pid, "state": w.state, "restarts": w.restarts} for w in self.workers]
        return msgspec.json.encode({**joined_status(await self._ask(STATUS, STATUS_S)), "workers": crew})

    async def _ask(self, question: str, timeout_s: float) -> Told:
        bodies = await asyncio.gather(*(worker.ask(question, timeout_s) for worker in self.workers))
        return {w.index: msgspec.json.decode(body) for w, body in zip(self.workers, bodies, strict=True) if body is not None}

    async def _scrape(self) -> bytes:
        ready = [worker for worker in self.workers if worker.state is WorkerState.READY]
        answered = []
        for worker, told in zip(ready, await asyncio.gather(*(w.ask(METRICS, SCRAPE_S) for w in ready)), strict=True):
            # One that has ended since is another process by now.
            if told is not None and worker.state is WorkerState.READY:
                self._metrics.heard(worker.index, told)
                answered.append(worker.index)
        states = Counter({state.value: 0 for state in WorkerState} | {SILENT: 0})
        states.update(w.state.value for w in self.workers)
        silent = sum(w.state is WorkerState.READY and w.index not in answered for w in self.workers)
        states[WorkerState.READY.value] -= silent
        states[SILENT] += silent
        return self._metrics.render(answered, states, sum(worker.restarts for worker in self.workers))


def joined_reload(told: Told, missing: Sequence[int]) -> dict[str, object]:
    """Good where all are; each problem once."""
    problems = dict.fromkeys(problem for answer in told.values() for problem in answer["problems"])
    silent = [f"worker {index} has not answered" for index in missing]
    return {
        "reloaded": not missing and all(answer["reloaded"] for answer in told.values()),
        "fingerprint": next((answer["fingerprint"] for answer in told.values()), ""),
        "problems": [*problems, *silent],
    }


def joined_status(told: Told) -> dict[str, object]:
    """Ready where all are; counts are sums. Health and notes differ by worker: they are those of the first that has any."""
    if not told:
        return {"fingerprint": "", "ready": False, "reasons": ["no worker answers"], "notes": {}, "health": {}}
    answers = list(told.values())
    return {
        **answers[0],
        "ready": all(answer["ready"] for answer in answers),
        "reasons": sorted({reason for answer in answers for reason in answer["reasons"]}),
        "notes": next((answer["notes"] for answer in answers if answer["notes"]), {}),
        "inflight": sum(answer["inflight"] for answer in answers),
        "streams": sum(answer["streams"] for answer in answers),
    }
