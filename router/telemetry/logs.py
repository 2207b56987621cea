"""Observations as log lines: JSON for machines, text for eyes, one line for each request, never a secret, never a body."""

from collections.abc import Iterable
from time import gmtime, strftime
from typing import Any, assert_never

import msgspec

from router.domain.ledger import LedgerEntry
from router.domain.observations import (
    ConfigRejected,
    ConfigReloaded,
    CredentialRested,
    Failure,
    LedgerFlushed,
    LedgerStalled,
    LimiterDegraded,
    LimiterRestored,
    Notice,
    Observation,
    ProbeFinished,
    RequestRefused,
    RequestReplayed,
    RequestsFinished,
    TargetEjected,
    TargetRecovered,
)
from router.domain.ports import Clock
from router.telemetry.lines import Lines
from router.telemetry.redaction import Redactor, escaped, shorten
from router.telemetry.request_line import RequestLines
from router.telemetry.text_format import text_line

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_MAX_TRACEBACK = 16 * 1024
_MAX_PROBLEMS = 100
_MILLISECONDS = tuple(f".{n:03d}Z" for n in range(1000))

Fields = dict[str, Any]


class LogSink:
    """Implements domain.ports.Observer; lines below `level` are not written. `log_format` is `json` or `text`.

    `emit` belongs to the event loop's thread; `write_now` may be called from any.
    """

    def __init__(
        self,
        clock: Clock,
        writer: Lines,
        redactor: Redactor,
        *,
        log_format: str = "json",
        level: str = "info",
    ) -> None:
        self._clock = clock
        self._writer = writer
        self._redactor = redactor
        self._is_text = log_format == "text"
        self._threshold = LEVELS[level]
        self._encode = msgspec.json.Encoder().encode
        self._requests = RequestLines()
        self._second: tuple[int, str] = (0, "1970-01-01T00:00:00")

    def emit(self, observation: Observation) -> None:
        if isinstance(observation, RequestsFinished):
            self._emit_requests(observation.entries)
            return
        level, event, fields = _described(observation)
        if LEVELS.get(level, 20) < self._threshold:
            return
        line = self._encoded(level, event, fields)
        # A flood of refusals must stay cheap, and only these four of its fields hold text that is not ours.
        if not isinstance(observation, RequestRefused) or not self._redactor.is_clean(
            f"{observation.request_id} {observation.key} {observation.alias} {observation.hint}"
        ):
            line = self._redactor.hide(line)
        self._writer.write(escaped([line]))

    def write_now(self, level: str, event: str, fields: Fields) -> None:
        """Write a line at once, from any thread."""
        if LEVELS[level] >= self._threshold:
            self._writer.write_now(*escaped([self._redactor.hide(self._encoded(level, event, fields))]))

    def _emit_requests(self, entries: Iterable[LedgerEntry]) -> None:
        """What every request pays: one encoding; the full cleaning only where free text may be in it."""
        stamp, lines = self._stamp(), []
        for entry in entries:
            level = "info" if entry.status < 500 else "error" if entry.status == 500 else "warning"
            if LEVELS[level] < self._threshold:
                continue
            line, is_foreign = self._requests.line(entry, stamp, level)
            if self._is_text:
                line = text_line(msgspec.json.decode(line))
            lines.append(self._redactor.hide(line) if is_foreign else line)
        self._writer.write(escaped(lines))

    def _encoded(self, level: str, event: str, fields: Fields) -> bytes:
        whole = {"time": self._stamp(), "level": level, "event": event, **_mended(fields)}
        return text_line(whole) if self._is_text else self._encode(whole)

    def _stamp(self) -> str:
        """RFC 3339 in UTC with milliseconds; the part down to the second is made once a second."""
        second, micros = divmod(self._clock.now_us(), 1_000_000)
        cached, text = self._second
        if cached != second:
            text = strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
            self._second = (second, text)
        return text + _MILLISECONDS[micros // 1000]


def _mended(value: Any) -> Any:
    """The same fields with every text short enough and encodable, tracebacks longer than the rest."""
    if isinstance(value, str):
        return shorten(value)
    if isinstance(value, dict):
        return {
            shorten(name): _tail(inner) if name == "traceback" and isinstance(inner, str) else _mended(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_mended(item) for item in value]
    return value


def _tail(traceback: str) -> str:
    """The end of a traceback says what happened; its beginning is what can be spared."""
    return shorten(traceback[-_MAX_TRACEBACK // 2 :], _MAX_TRACEBACK)


def _described(observation: Observation) -> tuple[str, str, Fields]:
    """Level, event and fields of everything but a finished request, which has a path of its own."""
    match observation:
        case RequestRefused():
            level = "info" if observation.status < 500 else "error" if observation.status == 500 else "warning"
            return level, "request_refused", _given(observation)
        case TargetEjected() | CredentialRested() | LedgerStalled() | LimiterDegraded():
            return "warning", _EVENTS[type(observation)], _given(observation)
        case TargetRecovered() | ConfigReloaded() | LimiterRestored() | RequestReplayed():
            return "info", _EVENTS[type(observation)], _given(observation)
        case ProbeFinished(target, ok, reason, duration_us):
            fields: Fields = {"target": target, "ok": ok, "reason": reason, "duration_ms": duration_us / 1000}
            return ("debug" if ok else "warning"), "probe_finished", fields
        case ConfigRejected(problems):
            return "error", "config_rejected", {"problems": problems[:_MAX_PROBLEMS], "count": len(problems)}
        case LedgerFlushed(rows, waiting, duration_us):
            return "debug", "ledger_flushed", {"rows": rows, "waiting": waiting, "duration_ms": duration_us / 1000}
        case Failure():
            return "error", "failure", _given(observation)
        case Notice(level, event, message, details):
            return level, event, {"message": message, **({"details": dict(details)} if details else {})}
        case RequestsFinished():
            raise AssertionError("finished requests have a path of their own")
        case _:
            assert_never(observation)


_EVENTS = {
    TargetEjected: "target_ejected",
    CredentialRested: "credential_rested",
    LedgerStalled: "ledger_stalled",
    LimiterDegraded: "limiter_degraded",
    LimiterRestored: "limiter_restored",
    TargetRecovered: "target_recovered",
    RequestReplayed: "request_replayed",
    ConfigReloaded: "config_reloaded",
}


def _given(observation: Observation) -> Fields:
    """The observation's fields that say something: empty texts are left out."""
    fields: Fields = msgspec.to_builtins(observation)
    return {name: value for name, value in fields.items() if value != ""}
