"""AWS Signature Version 4: what proves who asks. Pure: the time and the keys are given.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """`session_token` "" for keys that do not end."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signature is good for."""

    region: str
    service: str


def signature_headers(
    call: tuple[str, str, bytes], headers: Mapping[str, str], keys: AwsKeys, scope: Scope, now_us: int
) -> dict[str, str]:
    """The headers to add to a request: `x-amz-date`, `x-amz-security-token` where there is one, `authorization`.

    `call` is (method, URL as it goes on the wire, body); `headers` are those that shall be signed beside the host, their
    names in lower case. `now_us` is microseconds since the epoch.
    """
    method, url, body = call
    stamp = (_EPOCH + timedelta(microseconds=now_us)).strftime("%Y%m%dT%H%M%SZ")
    added = {"x-amz-date": stamp}
    if keys.session_token:
        added["x-amz-security-token"] = keys.session_token
    parts = urlsplit(url)
    signed = {name: " ".join(value.split()) for name, value in headers.items()} | added | {"host": _host(url)}
    names = ";".join(sorted(signed))
    canonical = "\n".join(
        (
            method,
            quote(parts.path or "/", safe="/~"),
            _canonical_query(parts.query),
            *(f"{name}:{signed[name]}" for name in sorted(signed)),
            "",
            names,
            sha256(body).hexdigest(),
        )
    )
    day = stamp[:8]
    place = f"{day}/{scope.region}/{scope.service}/aws4_request"
    text = f"{_ALGORITHM}\n{stamp}\n{place}\n{sha256(canonical.encode()).hexdigest()}"
    key = _signing_key(keys.secret_access_key, day, scope.region, scope.service)
    signature = hmac.new(key, text.encode(), sha256).hexdigest()
    credential = f"Credential={keys.access_key_id}/{place}"
    added["authorization"] = f"{_ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"
    return added


@lru_cache(64)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """The same for a day: four rounds of HMAC that need not be done for each request."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), sha256).digest()
    return key


def _host(url: str) -> str:
    """As it stands in the header: without a port that its scheme implies."""
    parts = urlsplit(url)
    name = (parts.hostname or "").lower()
    name = f"[{name}]" if ":" in name else name
    return name if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f"{name}:{parts.port}"


def _canonical_query(query: str) -> str:
    """Its pairs in the order of their bytes, as they go on the wire."""
    pairs = sorted((name, value) for name, _, value in (pair.partition("=") for pair in query.split("&") if pair))
    return "&".join(f"{name}={value}" for name, value in pairs)
