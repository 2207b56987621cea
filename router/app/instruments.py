"""Logs, metrics and alerts of one process, and the observer that feeds them."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from router.alerts.office import AlertOffice
from router.domain.ports import Observer
from router.system import VERSION, SystemClock, SystemIds, SystemTasks
from router.telemetry.fanout import Fanout
from router.telemetry.library_logs import LibraryLogs
from router.telemetry.lines import LineWriter
from router.telemetry.logs import LogSink
from router.telemetry.metrics import Metrics
from router.telemetry.redaction import Redactor


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
def opened_instruments(log_format: str) -> Iterator[Instruments]:
    clock = SystemClock()
    redactor = Redactor()
    writer = LineWriter(sys.stdout.buffer, asyncio.get_running_loop().call_later)
    sink = LogSink(clock, writer, redactor, log_format=log_format)
    LibraryLogs(sink, clock).install()
    metrics, alerts = Metrics(clock, VERSION), AlertOffice(clock)
    try:
        observer = Fanout([sink, metrics, alerts])
        yield Instruments(clock, SystemIds(), SystemTasks(observer), observer, metrics, redactor, alerts)
    finally:
        writer.close()
