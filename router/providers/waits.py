"""When a provider asks to come back: Retry-After in all its spellings, Google's RetryInfo, and the headers that tell when a
limit is whole again. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?\Z")
_RESETS = re.compile(r"(?:x-ratelimit-reset(?:-[a-z-]+)?|ratelimit-reset|anthropic-ratelimit-[a-z-]+-reset)\Z")


def asked_wait_s(headers: Mapping[str, str], told: Any, now_us: int) -> float | None:
    """Seconds from `now_us`, None where nothing is said. `headers` in lower case, `told` the body as read."""
    said = headers.get("retry-after-ms")
    if said is not None and (ms := _number(said)) is not None:
        return ms / 1000
    said = headers.get("retry-after")
    if said is not None and (wait := _until(said, now_us)) is not None:
        return wait
    asked = _retry_info(told)
    return asked if asked is not None else _reset(headers, now_us)


def _retry_info(told: Any) -> float | None:
    """Google's RetryInfo: `"retryDelay": "34.4s"`."""
    error = told.get("error") if isinstance(told, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str):
            return _seconds(delay)
    return None


def _reset(headers: Mapping[str, str], now_us: int) -> float | None:
    """The longest of the limits that are used up; of one that does not tell what remains, its own."""
    waits = []
    for name, value in headers.items():
        if not _RESETS.match(name):
            continue
        remaining = headers.get(name.replace("reset", "remaining"))
        if remaining is not None and (_number(remaining) or 0) > 0:
            continue
        wait = _until(value, now_us)
        if wait is not None and wait > 0:
            waits.append(wait)
    return max(waits, default=None)


def _until(value: str, now_us: int) -> float | None:
    """Seconds from now: a number of them, a moment since the epoch (s or ms), `6m0s`, RFC 3339 or an HTTP date."""
    number = _number(value)
    if number is not None:
        if number > 1e11:
            number /= 1000
        return number - now_us / 1e6 if number > 1e9 and now_us else number
    wait = _seconds(value)
    if wait is not None:
        return wait
    try:
        moment = datetime.fromisoformat(value) if "T" in value[:11] else parsedate_to_datetime(value)
        return moment.timestamp() - now_us / 1e6
    except (ValueError, TypeError, OverflowError):
        return None


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return None if number != number else number


def _seconds(value: str) -> float | None:
    found = _DURATION.match(value) if value else None
    if found is None:
        return None
    return sum(float(n) * unit for n, unit in zip(found.groups(), (3600, 60, 1, 0.001), strict=True) if n)
