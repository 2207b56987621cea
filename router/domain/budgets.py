"""Budgets, their periods and what a process holds of them: pure arithmetic on integers and dates."""

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

import msgspec

from router.domain.usage import NanoUSD

SCHEDULE = re.compile(r"calendar_month|weekly|daily|lifetime|rolling_([1-9][0-9]{0,2})d")
LIFETIME = "lifetime"


class BudgetScope(StrEnum):
    """Whose budget it is."""

    KEY = "key"
    TENANT = "tenant"
    MEMBER = "member"
    MODEL = "model"


class BudgetMode(StrEnum):
    """A hard budget is never overshot; a soft one only warns."""

    HARD = "hard"
    SOFT = "soft"


@dataclass(frozen=True, slots=True)
class BudgetTerms:
    """How a budget works, apart from whose it is. `schedule` is calendar_month, weekly, daily, rolling_<N>d or lifetime,
    in the days of `timezone` (an IANA name); `warning_ppm` is parts per million of the limit."""

    mode: BudgetMode = BudgetMode.HARD
    schedule: str = "calendar_month"
    timezone: str = "UTC"
    warning_ppm: int = 800_000


DEFAULT_TERMS = BudgetTerms()


@dataclass(frozen=True, slots=True)
class Budget:
    """`subject` is an id (key, tenant, member) or an alias, `name` what people call it; a model's has no tenant."""

    scope: BudgetScope
    subject: str
    limit: NanoUSD
    terms: BudgetTerms = DEFAULT_TERMS
    name: str = ""
    tenant_id: str = ""
    tenant: str = ""
    id: str = field(init=False)
    """What its rows are kept under: `tenant:...`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", f"{self.scope.value}:{self.subject}")

    def period_at(self, at_us: int) -> "Period":
        return period_at(self.terms.schedule, self.terms.timezone, at_us)


class Period(msgspec.Struct, frozen=True):
    """The stretch of time a request posts to, fixed when it is admitted.

    `key` names the row: another schedule or day is another row, so a changed file never changes what was posted.
    `window_from` is the oldest row that counts together with this one ("" where it counts alone): rolling schedules keep
    a row a local day. Times are microseconds since the epoch; `ends_at` None never ends. For a rolling schedule it is the
    end of the day, when the oldest day falls out.
    """

    key: str
    window_from: str
    starts_at: int
    ends_at: int | None


@cache
def _zone(name: str) -> tzinfo:
    """Read once; UTC needs no zone database, which small containers lack."""
    return UTC if name == "UTC" else ZoneInfo(name)


@lru_cache(maxsize=4096)
def _period_of_day(schedule: str, timezone: str, day: date) -> Period:
    if schedule == LIFETIME:
        return Period(LIFETIME, "", 0, None)
    zone = _zone(timezone)
    if schedule == "calendar_month":
        first = day.replace(day=1)
        following = (first + timedelta(days=32)).replace(day=1)
        return Period(f"month {first:%Y-%m}", "", _start_of(first, zone), _start_of(following, zone))
    if schedule == "weekly":
        monday = day - timedelta(days=day.weekday())
        return Period(f"week {monday}", "", _start_of(monday, zone), _start_of(monday + timedelta(days=7), zone))
    tomorrow = day + timedelta(days=1)
    if schedule == "daily":
        return Period(f"day {day}", "", _start_of(day, zone), _start_of(tomorrow, zone))
    days = rolling_days(schedule)
    oldest = day - timedelta(days=days - 1)
    prefix = f"rolling{days:03d}"
    return Period(f"{prefix} {day}", f"{prefix} {oldest}", _start_of(oldest, zone), _start_of(tomorrow, zone))


# The day that was asked for last, of each schedule and zone: nearly every request falls into it.
_latest: dict[tuple[str, str], tuple[int, int, Period | None]] = {}
_NEVER = (0, 0, None)
_MAX_LATEST = 4096


def period_at(schedule: str, timezone: str, at_us: int) -> Period:
    """The period a request admitted at `at_us` posts to. Computed, never reset by a job; daylight saving included."""
    since, until, period = _latest.get((schedule, timezone), _NEVER)
    if period is not None and since <= at_us < until:
        return period
    if schedule == LIFETIME:
        return _period_of_day(schedule, timezone, date(1970, 1, 1))
    zone = _zone(timezone)
    day = datetime.fromtimestamp(at_us / 1e6, UTC).astimezone(zone).date()
    period = _period_of_day(schedule, timezone, day)
    if len(_latest) < _MAX_LATEST:
        _latest[schedule, timezone] = _start_of(day, zone), _start_of(day + timedelta(days=1), zone), period
    return period


def rolling_days(schedule: str) -> int:
    """N of `rolling_<N>d`. Raises ValueError for a schedule that is none of the known ones."""
    found = SCHEDULE.fullmatch(schedule)
    if found is None or found[1] is None:
        raise ValueError(f"not a rolling schedule: {schedule!r}")
    return int(found[1])


def _start_of(day: date, zone: tzinfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1_000_000)


class Posting(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Where an attempt's cost is posted: one budget's row, through the lease that covered it if it was a hard one."""

    budget: str
    period: str
    is_leased: bool


class Standing(msgspec.Struct, frozen=True, gc=False):
    """A budget's row (or its window of rows) as the database has it: `posted` is spent, `leased` is set aside."""

    posted: NanoUSD
    leased: NanoUSD


class Lease(msgspec.Struct, frozen=True, gc=False):
    """Money a process has taken out of a budget, and the standing right after it was taken."""

    amount: NanoUSD
    standing: Standing


def lease_amount(need: int, remaining: int, processes: int) -> int:
    """How much to take when `need` is missing: a twentieth of what remains, shared by the live processes, at least `need`.

    `remaining` is what is neither posted nor leased. The answer exceeds it only if `need` does: then nothing is leased.
    """
    return max(need, remaining // 20 // max(processes, 1))
