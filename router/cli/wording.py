"""How lists, limits, prices and moments are written and read on the command line."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from router.cli.complaint import WrongInput
from router.config.fields import parse_duration, parse_instant
from router.domain.limits import Limits
from router.domain.routes import Timeouts
from router.domain.usage import NanoUSD, Price, usd_text

_SPAN = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", re.ASCII)
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def split_words(values: Iterable[str]) -> tuple[str, ...]:
    """Options that may be repeated or hold commas, without duplicates."""
    return tuple(dict.fromkeys(word for value in values for part in value.split(",") if (word := part.strip())))


def names_text(names: Iterable[str]) -> str:
    """`every` for the pattern that fits everything."""
    words = list(names)
    return "every" if "*" in words else ", ".join(words)


def limits_text(limits: Limits) -> str:
    """`60 requests/min, 5 at a time`; "" where nothing is limited."""
    parts = (
        (limits.requests, "requests/min"),
        (limits.tokens, "tokens/min"),
        (limits.parallel, "at a time"),
    )
    return ", ".join(f"{number} {what}" for number, what in parts if number is not None)


def limits_document(limits: Limits) -> dict[str, int | None]:
    return {
        "requests_per_minute": limits.requests,
        "tokens_per_minute": limits.tokens,
        "parallel_requests": limits.parallel,
    }


def per_million(nano: int) -> str:
    """USD per million units with at least two decimals."""
    whole, _, fraction = usd_text(NanoUSD(nano)).partition(".")
    return f"{whole}.{fraction.ljust(2, '0')}"


def price_document(price: Price | None) -> dict[str, str] | None:
    """USD per million units as decimal text; only what is set."""
    if price is None:
        return None
    names = ("input", "output", "cached_input", "cache_write", "reasoning", "audio_input", "audio_output")
    return {name: usd_text(NanoUSD(value)) for name in names if (value := getattr(price, name)) is not None}


def timeouts_document(timeouts: Timeouts) -> dict[str, float]:
    return {"connect": timeouts.connect, "first_byte": timeouts.first_byte, "idle": timeouts.idle, "total": timeouts.total}


def moment(micros: int) -> str:
    """Microseconds since the epoch as `2026-11-21T09:30:00Z`."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(seconds: float) -> str:
    """`5s`, `250ms`, `15m`: the largest unit that is exact."""
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds * 1000:g}ms" if 0 < seconds < 1 else f"{seconds:g}s"


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 key`, `2 keys`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def read_moment(text: str, option: str, *, now: int, ahead: bool) -> int:
    """Microseconds since the epoch from a date or time, or a span such as `24h` from `now` (`ahead`) or before it.

    Raises WrongInput naming the option.
    """
    try:
        if _SPAN.fullmatch(text):
            span = round(parse_duration(text) * 1_000_000)
            return now + span if ahead else max(now - span, 0)
        micros = parse_instant(text)
        if micros < 0:
            raise WrongInput(f"{option}: found {text!r}, which is before 1970")
    except (ValueError, OverflowError):
        raise WrongInput(
            f"{option}: found {text!r}; expected a span such as 24h or 30d, or a date or time such as 2027-01-31"
        ) from None
    return micros
