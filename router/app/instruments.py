"""Logs, metrics and alerts of one process, and the observer that feeds them."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from select import PIPE_BUF

from router.alerts.office import AlertOffice
from router.domain.ports import Observer
from router.system import VERSION, SystemClock, SystemIds, SystemTasks
from router.telemetry.fanout import Fanout
from router.telemetry.library_logs import LibraryLogs
from router.telemetry.lines import LineWriter
from router.telemetry.logs import LogSink
from router.telemetry.metrics import Metrics
from router.telemetry.redaction import Redactor
from router.telemetry.worker_lines import WorkerLines


@dataclass(slots=True)
class Instruments:
    """Logs, metrics and alerts with the observer that feeds them; the clock, the ids and the tasks of the process."""

    clock: SystemClock
    ids: SystemIds
    tasks: SystemTasks
    observer: Observer
    metrics: Metrics
    redactor: Redactor
    alerts: AlertOffice


@contextmanager
def opened_instruments(log_format: str, worker: int | None = None) -> Iterator[Instruments]:
    """`worker`: this process's number, where several write one log."""
    clock, redactor = SystemClock(), Redactor()
    with opened_log(log_format, clock, redactor, worker=worker, is_shared=worker is not None) as sink:
        metrics, alerts = Metrics(clock, VERSION), AlertOffice(clock)
        observer = Fanout([sink, metrics, alerts])
        yield Instruments(clock, SystemIds(), SystemTasks(observer), observer, metrics, redactor, alerts)


@contextmanager
def opened_log(
    log_format: str, clock: SystemClock, redactor: Redactor, *, worker: int | None = None, is_shared: bool
) -> Iterator[LogSink]:
    """The log on standard output; `is_shared`: other processes write there too."""
    limits = {"max_write": PIPE_BUF} if is_shared else {}
    writer = LineWriter(sys.stdout.buffer, asyncio.get_running_loop().call_later, **limits)
    lines = writer if worker is None else WorkerLines(writer, worker)
    sink = LogSink(clock, lines, redactor, log_format=log_format)
    LibraryLogs(sink, clock).install()
    try:
        yield sink
    finally:
        writer.close()
