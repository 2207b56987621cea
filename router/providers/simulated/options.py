"""What the simulated provider can be told: pace, length, faults; from the configuration, a flag, or one request."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta


class FaultKind(StrEnum):
    """What goes wrong. Where a kind speaks of events, a JSON answer is hit at half of its bytes."""

    NONE = "none"  # this request is answered well, whatever the configured faults say
    RATE_LIMITED = "rate_limited"  # 429 with Retry-After (`retry_after`, sent as written)
    ERROR = "error"  # `status` (500) with OpenAI's envelope and `code`
    HTML_ERROR = "html_error"  # `status` (502) with an HTML page
    REFUSE_STREAM_OPTIONS = "refuse_stream_options"  # 400 where the body has stream_options
    TIMEOUT = "timeout"  # no answer, ever
    SLOW_HEADERS = "slow_headers"  # the head comes `delay` (5) seconds late
    EMPTY = "empty"  # 200 without a body
    WRONG_CONTENT_TYPE = "wrong_content_type"  # the right body called text/plain
    RESET = "reset"  # RST: before the head, or after `after_events` events
    SILENCE = "silence"  # after `after_events` nothing more, and the connection stays open
    CUT_STREAM = "cut_stream"  # after `after_events` and half of the next event the connection is closed
    END_EARLY = "end_early"  # after `after_events` the body ends properly, but the answer is not finished
    ERROR_EVENT = "error_event"  # after `after_events` an error event ends the stream
    BAD_FRAMES = "bad_frames"  # after `after_events` one event is not JSON; a JSON answer is cut in half
    NOT_AN_OBJECT = "not_an_object"  # each event's data (or the JSON answer) is an array
    HUGE_EVENT = "huge_event"  # after `after_events` one event of `bytes` (16 MiB) without a line end
    NO_DONE = "no_done"  # the stream ends without [DONE]
    CRLF = "crlf"  # line ends are CRLF
    CR = "cr"  # line ends are CR
    BOM = "bom"  # the stream begins with a byte order mark
    COMMENTS = "comments"  # a comment before each event
    NO_SPACE = "no_space"  # no space after `data:`
    USAGE_NULL = "usage_null"
    USAGE_ABSENT = "usage_absent"
    USAGE_ZERO = "usage_zero"
    USAGE_ABSURD = "usage_absurd"  # 10^18 tokens
    USAGE_NEGATIVE = "usage_negative"
    USAGE_TWICE = "usage_twice"  # the usage frame comes twice
    USAGE_CUMULATIVE = "usage_cumulative"  # each chat chunk carries the usage so far
    IGNORE_CAP = "ignore_cap"  # more tokens than the cap allows: `output_tokens`, else twice the cap and 32


_Count = Annotated[int, Meta(ge=0)]
_Tokens = Annotated[int, Meta(ge=0, le=1_000_000)]
_MOST_ORDERED = 50_000  # tokens one request may order for itself
_Seconds = Annotated[float, Meta(ge=0, le=86_400)]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault: `rate` of the requests, or the listed ones ("5-9" is a range; the first inference request is 1), or all.

    `models` empty means any model. Listing the models fails only with `probes`.
    """

    kind: FaultKind
    rate: Annotated[float, Meta(ge=0, le=1)] | None = None
    requests: tuple[_Count | Annotated[str, Meta(pattern=r"^\d+-\d+$")], ...] | None = None
    models: tuple[str, ...] = ()
    probes: bool = False
    after_events: _Count | None = None
    status: Annotated[int, Meta(ge=200, le=599)] | None = None
    code: str | None = None
    retry_after: str | None = None
    delay: _Seconds = 5.0
    bytes: Annotated[int, Meta(ge=1, le=2**31)] = 16 * 2**20
    output_tokens: _Tokens | None = None

    def hits(self, ordinal: int, model: str, draw: float) -> bool:
        """Whether inference request number `ordinal` is hit; `draw` in [0, 1) decides a rate."""
        if self.models and model not in self.models:
            return False
        if self.requests is not None:
            return any(_covers(item, ordinal) for item in self.requests)
        return self.rate is None or draw < self.rate


class SimulateOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to answer. Times in seconds ("30ms" is understood too).

    `latency` passes before the head, and up to `jitter` more; `first_token` before the first token; then
    `tokens_per_second` (0: all at once). A JSON answer waits for all its tokens. `output_tokens` None: as long as seems
    natural. `models` is only what `GET /v1/models` lists: every name is answered.
    """

    seed: int = 0
    latency: _Seconds = 0.03
    jitter: _Seconds = 0.0
    first_token: _Seconds = 0.0
    tokens_per_second: Annotated[float, Meta(ge=0)] = 60.0
    output_tokens: _Tokens | None = None
    models: tuple[str, ...] = ("simulated-chat", "simulated-reasoning", "simulated-embeddings", "simulated-moderation")
    faults: tuple[Fault, ...] = ()


class Order(msgspec.Struct, frozen=True):
    """What one request asks for itself: a fault in place of the configured ones, and its own pace."""

    fault: Fault | None = None
    pace: Mapping[str, Any] = {}


_DURATIONS = ("latency", "jitter", "first_token", "delay")
_PACE = frozenset({"latency", "jitter", "first_token", "tokens_per_second", "output_tokens"})


def parse_options(settings: Mapping[str, object]) -> SimulateOptions:
    """Read a `simulate:` mapping; ValueError names the field, what was found and what would be right."""
    plain = {name: _seconds(name, value) for name, value in settings.items()}
    faults = plain.get("faults")
    if isinstance(faults, list | tuple):
        plain["faults"] = [_fault_settings(item) for item in faults]
    try:
        return msgspec.convert(plain, SimulateOptions, strict=True)
    except msgspec.ValidationError as error:
        raise ValueError(f"simulate: {error}") from None


def parse_fault(text: str) -> Fault:
    """Read `kind[=rate][;name=value]...`, as flags give it."""
    order = parse_order(text)
    if order.fault is None or order.pace.keys() - {"output_tokens"}:
        raise ValueError(f"a fault is written kind=rate;name=value, found {text!r}; kinds: {', '.join(FaultKind)}")
    return order.fault


def parse_order(text: str) -> Order:
    """Read `cut_stream;after_events=3` or `kind=reset;tokens_per_second=0`; a pace without a kind is an order too."""
    settings: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        name, has_value, value = (piece.strip() for piece in part.partition("="))
        if not has_value:
            settings["kind"] = name
        elif _is_kind(name):
            settings |= {"kind": name, "rate": value}
        else:
            settings[name] = _seconds(name, value)
    pace = {name: value for name, value in settings.items() if name in _PACE}
    try:
        checked = msgspec.convert(pace, SimulateOptions, strict=False)
        fault = None
        if "kind" in settings:
            mine = {name: value for name, value in settings.items() if name == "output_tokens" or name not in _PACE}
            fault = msgspec.convert(_fault_settings(mine), Fault, strict=False)
        elif settings.keys() - _PACE:
            raise ValueError(f"found {text!r} without a fault's kind, expected one of {', '.join(FaultKind)}")
    except msgspec.ValidationError as error:
        raise ValueError(f"{text!r}: {error}") from None
    if (checked.output_tokens or 0) > _MOST_ORDERED or (fault is not None and (fault.output_tokens or 0) > _MOST_ORDERED):
        raise ValueError(f"output_tokens: found {settings['output_tokens']}, expected at most {_MOST_ORDERED} in an order")
    return Order(fault, {name: getattr(checked, name) for name in pace})


ORDER_HEADER = "x-simulate"


def order_of(headers: Mapping[str, str], body: Mapping[str, Any]) -> Order | None:
    """The order a request carries: header `x-simulate`, or `metadata.simulate`, or `user: "simulate:..."` in its body."""
    text = headers.get(ORDER_HEADER)
    if text is None:
        metadata, user = body.get("metadata"), body.get("user")
        if isinstance(metadata, dict) and isinstance(metadata.get("simulate"), str):
            text = metadata["simulate"]
        elif isinstance(user, str) and user.startswith("simulate:"):
            text = user.removeprefix("simulate:")
    return None if text is None else parse_order(text)


def _is_kind(name: str) -> bool:
    return name in FaultKind.__members__.values() or (name.isdigit() and len(name) == 3)


def _fault_settings(item: object) -> object:
    """A fault's settings with the shorthands written out: a kind of three digits is that status."""
    if not isinstance(item, Mapping):
        return item
    settings = {name: _seconds(name, value) for name, value in item.items()}
    kind = str(settings.get("kind", ""))
    if kind.isdigit() and len(kind) == 3:
        settings |= {"kind": "rate_limited" if kind == "429" else "error", "status": int(kind)}
    for name in ("requests", "models"):
        if isinstance(text := settings.get(name), str):
            settings[name] = [int(part) if part.isdigit() else part for part in text.split(",")]
    if "retry_after" in settings and settings["retry_after"] is not None:
        settings["retry_after"] = str(settings["retry_after"])
    return settings


def _seconds(name: str, value: object) -> object:
    """A duration as a number of seconds; what is no duration stays as it is, for the checks to name."""
    if name not in _DURATIONS or not isinstance(value, str):
        return value
    number, unit = value.strip(), 1.0
    for suffix, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0)):
        if number.endswith(suffix):
            number, unit = number.removesuffix(suffix), factor
            break
    try:
        return float(number) * unit
    except ValueError:
        return value


def _covers(item: int | str, ordinal: int) -> bool:
    if isinstance(item, int):
        return item == ordinal
    first, _, last = item.partition("-")
    return int(first) <= ordinal <= int(last)
