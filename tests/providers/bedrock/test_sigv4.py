"""Signatures are those that botocore makes, header for header."""

import datetime as dt
from typing import Any
from urllib.parse import quote

import pytest

from router.providers.bedrock.sigv4 import AwsKeys, Scope, signature_headers

NOW = dt.datetime(2026, 11, 21, 23, 59, 58, tzinfo=dt.UTC)
NOW_US = int(NOW.timestamp() * 1_000_000) + 999_999
LASTING = AwsKeys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
PASSING = AwsKeys("ASIAEXAMPLE", "secret/with+signs=", "IQoJb3JpZ2luX2VjE+/=" * 9)
MODELS = (
    "anthropic.claude-sonnet-4-20250514-v1:0",
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/ab12cd34",
    "arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:inference-profile/us-gov.anthropic.claude-3-7-sonnet-v1:0",
    "a model ~ of (nobody's)+é",
)
BODIES = (b"", b"{}", b'{"messages":[{"role":"user","content":[{"text":"gr\xc3\xbcn"}]}]}', bytes(range(256)) * 50)


def requests() -> list[tuple[str, str, bytes, dict[str, str], AwsKeys, str]]:
    """50 and more: operations, models, bodies, hosts with and without a port, queries, headers, keys, regions."""
    made: list[tuple[str, str, bytes, dict[str, str], AwsKeys, str]] = []
    regions = ("us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1")
    for number in range(60):
        region = regions[number % 4]
        host = f"bedrock-runtime.{region}.amazonaws.com" if number % 3 else f"127.0.0.1:{8000 + number}"
        scheme = "https" if number % 3 else "http"
        path = f"/model/{quote(MODELS[number % 5], safe='')}/{('converse', 'converse-stream', 'invoke')[number % 3]}"
        query = ("", "?maxResults=10&nextToken=a%2Fb+c", "?b=2&a=1&a=0&empty")[number % 7 % 3]
        headers = {"content-type": "application/json"}
        if number % 2:
            headers |= {"x-amzn-bedrock-trace": "  ENABLED   twice  ", "x-amz-meta": f"n {number}"}
        if number % 11 == 0:
            path, headers = "/", {}
        method = "GET" if number % 11 == 0 else "POST"
        body = b"" if method == "GET" else BODIES[number % 4]
        made.append(
            (method, f"{scheme}://{host}{path}{query}", body, headers, PASSING if number % 5 < 2 else LASTING, region)
        )
    return made


@pytest.mark.parametrize("number", range(60))
def test_a_signature_is_the_one_that_botocore_makes(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    auth = pytest.importorskip("botocore.auth", reason="botocore is the reference, and is not installed")
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    method, url, body, headers, keys, region = requests()[number]
    monkeypatch.setattr(auth, "get_current_datetime", lambda remove_tzinfo=True: NOW.replace(tzinfo=None))
    request: Any = AWSRequest(method, url, headers=headers, data=body)
    credentials = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token or None)
    auth.SigV4Auth(credentials, "bedrock", region).add_auth(request)
    expected = {name.lower(): value for name, value in request.headers.items() if name.lower() not in headers}
    assert signature_headers((method, url, body), headers, keys, Scope(region, "bedrock"), NOW_US) == expected


def test_no_secret_is_shown() -> None:
    assert "secret" not in repr(PASSING) and "IQoJ" not in repr(PASSING)


def test_a_day_later_the_key_is_another() -> None:
    call = ("POST", "https://bedrock-runtime.us-east-1.amazonaws.com/", b"")
    scope = Scope("us-east-1", "bedrock")
    today = signature_headers(call, {}, LASTING, scope, NOW_US)
    tomorrow = signature_headers(call, {}, LASTING, scope, NOW_US + 86_400 * 1_000_000)
    assert "/20261121/" in today["authorization"] and "/20261122/" in tomorrow["authorization"]
    assert today["authorization"][-64:] != tomorrow["authorization"][-64:]
