"""The types of single values: how each is read from its text, and in which words it is refused."""

import re
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from ipaddress import ip_network
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator
from pydantic_core import PydanticCustomError

from router.domain.usage import NANO_PER_USD, NanoUSD, usd_text

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+|\d+(?:\.\d+)?", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
_LONGEST = 10 * 365 * 86400.0
_SCHEDULE = re.compile(r"calendar_month|weekly|daily|rolling_[1-9]\d{0,2}d|lifetime", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9._-]{0,40}", re.ASCII)
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d{1,2}|")
_PROJECT = re.compile(r"(?:[a-z0-9.-]{1,63}:)?[a-z0-9][a-z0-9-]{0,62}|")
_LOCATION = re.compile(r"[a-z]+(?:-[a-z]+\d{1,2})?|")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}|")
_COOKIE = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_NUMBERS = re.compile(r"\d{1,12}(?:-\d{1,12})?", re.ASCII)
_LISTEN = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:\s/]*):(\d{1,5})", re.ASCII)
_MOST_USD = Decimal(10) ** 9
SIGNING_KEY_PREFIX = "whsec_"


class SecretMark:
    """Marks a value (or every value below) that is never shown."""


class UrlMark:
    """Marks a URL whose user part is never shown."""


class Section(BaseModel):
    """A mapping of the file. A null means "not set"; `locked` names keys that nothing but the file may change."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    locked: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, value: object) -> object:
        if isinstance(value, dict):
            return {k: v for k, v in value.items() if v is not None or k not in key_names(cls)}
        return value

    @model_validator(mode="after")
    def _locks_exist(self) -> "Section":
        for name in self.locked:
            if name not in key_names(type(self)):
                raise refusal("only names of keys of this mapping below locked")
        return self


def key_names(section: type[BaseModel]) -> dict[str, str]:
    """The keys of a section as the file spells them, each with its attribute's name."""
    return {info.alias or name: name for name, info in section.model_fields.items()}


def refusal(expected: str, hint: str = "") -> PydanticCustomError:
    """The error a validator raises; it completes "found ..., expected ..."."""
    return PydanticCustomError("expected", "{expected}", {"expected": expected, "hint": hint})


def _matching(pattern: re.Pattern[str], expected: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise refusal(expected)
        return value

    return check


def parse_duration(value: object) -> float:
    """Seconds from `5s`, `90m`, `1h30m`, `250ms` or a plain number of seconds."""
    text = str(value).strip()
    if not isinstance(value, str | int | float) or not _DURATION.fullmatch(text):
        raise refusal("a duration such as 250ms, 5s, 90m, 1h or 30d (a plain number is seconds)")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if seconds > _LONGEST:
        raise refusal("a duration of at most ten years")
    return seconds


def _positive(value: float) -> float:
    if value <= 0:
        raise refusal("a duration above zero")
    return value


def parse_usd(value: object) -> NanoUSD:
    """Nano-USD from a decimal number's text; exact or refused."""
    expected = "an amount in USD such as 150 or 0.25: not negative, at most nine decimals"
    try:
        amount = Decimal(str(value).strip())
    except InvalidOperation:
        raise refusal(expected) from None
    if not amount.is_finite() or not 0 <= amount <= _MOST_USD or isinstance(value, float | bool):
        raise refusal(expected)
    nano = amount * NANO_PER_USD
    if nano != int(nano):
        raise refusal(expected)
    return NanoUSD(int(nano))


def parse_fraction_ppm(value: object) -> int:
    """Parts per million from a fraction between 0 and 1."""
    expected = "a fraction from 0 to 1 such as 0.8"
    try:
        share = Decimal(str(value).strip())
    except InvalidOperation:
        raise refusal(expected) from None
    if not share.is_finite() or not 0 <= share <= 1 or isinstance(value, float | bool):
        raise refusal(expected)
    return int(share * 1_000_000)


def parse_instant(value: object) -> int:
    """Microseconds since the epoch from an ISO 8601 date or time; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(str(value).strip())
    except ValueError:
        raise refusal("a date or time such as 2027-01-31 or 2027-01-31T12:00:00Z") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000_000


def _fraction_text(ppm: int) -> str:
    return str(Decimal(ppm) / 1_000_000)


def _instant_text(micros: int) -> str:
    return datetime.fromtimestamp(micros // 1_000_000, UTC).isoformat()


def split_listen(value: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8080`, `[::1]:8080` or `:8080` (every address)."""
    match = _LISTEN.fullmatch(value)
    if match is None or int(match[2]) > 65535:
        raise refusal("an address and a port such as 127.0.0.1:8080, [::1]:8080 or :8080")
    return match[1].strip("[]") or "0.0.0.0", int(match[2])  # noqa: S104 - what the operator asked for by `:8080`


def _listen(value: str) -> str:
    if value:
        split_listen(value)
    return value


def _network(value: str) -> str:
    try:
        return str(ip_network(value.strip(), strict=False))
    except ValueError:
        raise refusal("an address or a network such as 10.0.0.0/8 or 2001:db8::/32") from None


def _http_url(value: str) -> str:
    if not value:
        return value
    expected = "an http:// or https:// URL with a host"
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise refusal(expected) from None
    if not usable or any(c.isspace() or not c.isprintable() for c in value):
        raise refusal(expected)
    if parts.username is not None or parts.password is not None:
        raise refusal(f"{expected} and without user and password", "Put the credential into api_key or headers.")
    if parts.query or parts.fragment:
        raise refusal(f"{expected} and without ? and #")
    return value.rstrip("/")


def proxy_url(value: str) -> str:
    """`environment` is gone by now: it stands for what the environment says. Raises what `refusal` makes."""
    if not value:
        return value
    expected = "environment, or the URL of a proxy such as http://proxy.example:3128"
    try:
        parts = urlsplit(value)
        usable = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise refusal(expected) from None
    if not usable or any(c.isspace() or not c.isprintable() for c in value):
        raise refusal(expected, "https:// and socks proxies are not supported." if "://" in value else "")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise refusal(f"{expected}, without a path")
    return value.rstrip("/")


def _webhook_url(value: str) -> str:
    """Webhook addresses carry their credential in the path or the query."""
    _http_url(value.split("?", 1)[0])
    return value


def _webhook_secret(value: str) -> str:
    """Standard Webhooks: `whsec_` and base64 of 24 to 64 bytes; any other text is taken as its UTF-8 bytes."""
    if value.startswith(SIGNING_KEY_PREFIX):
        try:
            size = len(b64decode(value.removeprefix(SIGNING_KEY_PREFIX), validate=True))
        except ValueError:
            size = 0
        is_good = 24 <= size <= 64
    else:
        is_good = not value or 24 <= len(value.encode("utf-8", "surrogateescape")) <= 64
    if not is_good:
        raise refusal("whsec_ and the base64 of 24 to 64 bytes, or a text of 24 to 64 bytes")
    return value


def _origin(value: str) -> str:
    return value if value == "*" else _http_url(value)


def _database_url(value: str) -> str:
    expected = "sqlite:///path/to/file.db (four slashes: absolute) or postgresql://user:password@host:5432/name"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise refusal(expected) from None
    if parts.scheme == "sqlite":
        has_more = bool(parts.netloc or parts.query or parts.fragment)
        usable = not has_more and parts.path.strip("/") and not parts.path.endswith("/") and ":memory:" not in parts.path
    else:
        usable = parts.scheme in ("postgres", "postgresql") and port != 0 and bool(parts.netloc or parts.query)
    if not usable:
        raise refusal(expected)
    return value


def _redis_url(value: str) -> str:
    if value and value.partition("://")[0] not in ("redis", "rediss", "unix"):
        raise refusal("redis://host:6379/0, rediss://... or unix:///path")
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, KeyError):
        raise refusal("the name of a time zone such as UTC or Europe/Berlin") from None
    return value


def _headers(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not _HEADER_NAME.fullmatch(name):
            raise refusal("names of HTTP headers: letters, digits and hyphens")
        if _CONTROL.search(text):
            raise refusal("header values on one line, without control characters")
    return value


def _request_numbers(value: Any) -> Any:
    """A request's number, or a range of them such as `5-9`."""
    text = str(value).strip()
    if not _NUMBERS.fullmatch(text):
        raise refusal("the number of a request such as 3, or a range such as 5-9")
    return text if "-" in text else int(text)


def _off_word(value: Any) -> Any:
    """YAML 1.1 readers, templates and variables turn `off` into a false."""
    return "off" if str(value).lower() in ("false", "no", "off", "0") else value


def _as_list(value: Any) -> Any:
    """A single scalar where a list is expected is split at commas: variables cannot hold lists."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


Secret = Annotated[str, Field(repr=False), SecretMark()]
Duration = Annotated[float, BeforeValidator(parse_duration)]
Timer = Annotated[float, BeforeValidator(parse_duration), AfterValidator(_positive)]
Usd = Annotated[NanoUSD, BeforeValidator(parse_usd), PlainSerializer(usd_text)]
PricePerMillion = Annotated[NanoUSD, BeforeValidator(parse_usd), PlainSerializer(usd_text)]
FractionPpm = Annotated[int, BeforeValidator(parse_fraction_ppm), PlainSerializer(_fraction_text)]
Instant = Annotated[int, BeforeValidator(parse_instant), PlainSerializer(_instant_text)]
Listen = Annotated[str, AfterValidator(_listen)]
NetworkText = Annotated[str, AfterValidator(_network)]
HttpUrl = Annotated[str, AfterValidator(_http_url), UrlMark()]
ProxyUrl = Annotated[str, Field(repr=False), AfterValidator(proxy_url), UrlMark()]
Origin = Annotated[str, AfterValidator(_origin)]
WebhookSecret = Annotated[str, Field(repr=False), AfterValidator(_webhook_secret), SecretMark()]
WebhookUrl = Annotated[str, Field(repr=False), AfterValidator(_webhook_url), SecretMark()]
DatabaseUrl = Annotated[str, Field(repr=False), AfterValidator(_database_url), UrlMark()]
RedisUrl = Annotated[str, Field(repr=False), AfterValidator(_redis_url), UrlMark()]
Timezone = Annotated[str, AfterValidator(_timezone)]
Schedule = Annotated[
    str, AfterValidator(_matching(_SCHEDULE, "calendar_month, weekly, daily, rolling_<N>d such as rolling_30d, or lifetime"))
]
ApiVersion = Annotated[str, AfterValidator(_matching(_VERSION, "a version such as 2024-10-21 or v1"))]
AwsRegion = Annotated[str, AfterValidator(_matching(_REGION, "a region of AWS such as us-east-1"))]
GoogleProject = Annotated[str, AfterValidator(_matching(_PROJECT, "the id of a project of Google Cloud"))]
GoogleLocation = Annotated[str, AfterValidator(_matching(_LOCATION, "global, us, eu or a region such as europe-west4"))]
RoleArn = Annotated[str, AfterValidator(_matching(_ROLE, "the ARN of a role: arn:aws:iam::123456789012:role/name"))]
CookieName = Annotated[str, AfterValidator(_matching(_COOKIE, "1 to 64 of the characters A-Z a-z 0-9 _ -"))]
KeyPrefix = Annotated[str, AfterValidator(_matching(_PREFIX, "1 to 32 of the characters A-Z a-z 0-9 _ -"))]
Email = Annotated[str, AfterValidator(_matching(_EMAIL, "an e-mail address"))]
Headers = Annotated[dict[str, str], Field(repr=False), AfterValidator(_headers), SecretMark()]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Positive = Annotated[int, Field(ge=1, le=2**53)]
RetentionDays = Annotated[int, Field(ge=0, le=3650)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
RequestNumbers = Annotated[int | str, BeforeValidator(_request_numbers)]
Words = Annotated[tuple[str, ...], BeforeValidator(_as_list)]
OffWord = BeforeValidator(_off_word)
ListOf = BeforeValidator(_as_list)
