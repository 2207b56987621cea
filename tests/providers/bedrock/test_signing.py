"""Requests are signed on their way; where keys come from a chain, they are asked for once and again before their end."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from router.config.aws_access import AwsAccess
from router.domain.routes import ProviderSpec, Timeouts
from router.domain.upstream import Destination, FailureKind, TransportFailure, Upload, UpstreamAnswer, UpstreamCall
from router.providers.bedrock.chain import ChainKeys
from router.providers.bedrock.signing import KeySource, SigningTransport, signed
from router.providers.bedrock.sigv4 import AwsKeys, Scope, signature_headers

NOW_US = 1_795_000_000_000_000
URL = "https://bedrock-runtime.us-east-1.amazonaws.com/model/m%3A0/converse"
STATIC = AwsAccess("us-east-1", "AKID", "secret", "token")


class StillClock:
    def now_us(self) -> int:
        return NOW_US

    def monotonic(self) -> float:
        return 0.0


class Wire:
    """A transport that keeps what it is given."""

    def __init__(self) -> None:
        self.calls: list[UpstreamCall] = []

    async def send(self, call: UpstreamCall) -> UpstreamAnswer:
        self.calls.append(call)
        raise TransportFailure(FailureKind.RESET)

    async def close(self) -> None: ...


def call(body: Any = b"{}", **headers: str) -> UpstreamCall:
    named = {"content-type": "application/json", "accept": "*/*", **headers}
    return UpstreamCall(Destination("POST", URL, named), body, stream=False, timeouts=Timeouts(), total_s=5.0)


def spec(access: AwsAccess) -> ProviderSpec:
    return ProviderSpec("aws", "bedrock", "https://bedrock-runtime.us-east-1.amazonaws.com", options={"aws": access})


async def sent(access: AwsAccess, made: UpstreamCall) -> UpstreamCall:
    wire = Wire()
    with pytest.raises(TransportFailure):
        await signed(wire, spec(access), StillClock()).send(made)
    [passed] = wire.calls
    return passed


async def test_what_stands_between_may_change_headers_that_are_not_signed() -> None:
    passed = await sent(STATIC, call(**{"x-amzn-bedrock-trace": "ENABLED", "traceparent": "00-1"}))
    signed_names = passed.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    assert signed_names == "content-type;host;x-amz-date;x-amz-security-token;x-amzn-bedrock-trace"
    expected = signature_headers(
        ("POST", URL, b"{}"),
        {"content-type": "application/json", "x-amzn-bedrock-trace": "ENABLED"},
        AwsKeys("AKID", "secret", "token"),
        Scope("us-east-1", "bedrock"),
        NOW_US,
    )
    assert {name: passed.headers[name] for name in expected} == expected
    assert passed.headers["traceparent"] == "00-1"


async def test_an_api_key_needs_no_signature() -> None:
    wire = Wire()
    assert signed(wire, spec(AwsAccess("us-east-1")), StillClock()) is wire


async def test_a_body_that_comes_in_pieces_is_not_sent() -> None:
    async def pieces() -> Any:
        yield b"x"

    wire = Wire()
    with pytest.raises(TransportFailure) as failure:
        await signed(wire, spec(STATIC), StillClock()).send(call(Upload(pieces())))
    assert failure.value.kind is FailureKind.PROTOCOL and not wire.calls


def test_no_secret_is_shown() -> None:
    access = AwsAccess("us-east-1", "AKID-1", "secret-1", "token-1", external_id="external-1")
    assert not any(word in repr(spec(access)) for word in ("AKID-1", "secret-1", "token-1", "external-1"))


# -- keys of a chain ----------------------------------------------------------------------------------------------


class Passing:
    """Keys of botocore's that end."""

    access_key, secret_key, token = "AKID", "secret", "token"

    def __init__(self) -> None:
        self.asked = 0
        self.ends = False

    def refresh_needed(self) -> bool:
        return self.ends

    def get_frozen_credentials(self) -> "Passing":
        self.asked += 1
        self.ends = False
        return self


class OfPassing(ChainKeys):
    def __init__(self, found: Passing) -> None:
        super().__init__("aws", AwsAccess("us-east-1", is_default=True))
        self._found = found


async def test_keys_are_asked_for_once_by_all_who_wait_and_again_before_their_end() -> None:
    pytest.importorskip("botocore", reason="botocore is not installed")
    found = Passing()
    source: KeySource = OfPassing(found)
    told = await asyncio.gather(*(source.fetch() for _ in range(5)))
    assert set(told) == {AwsKeys("AKID", "secret", "token")} and found.asked == 1
    assert source.at_hand == told[0]
    found.ends = True
    assert [source.at_hand, await source.fetch()] == [None, told[0]] and found.asked == 2


@pytest.fixture
def aws_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of AWS's own tools, and an environment that names nothing else."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / "credentials").write_text("[work]\naws_access_key_id = AKIDWORK\naws_secret_access_key = worked\n")
    return tmp_path


async def test_a_profile_gives_its_keys(aws_files: Path) -> None:
    pytest.importorskip("botocore", reason="botocore is not installed")
    passed = await sent(AwsAccess("us-east-1", profile="work"), call())
    assert "Credential=AKIDWORK/" in passed.headers["authorization"]


@pytest.mark.parametrize("access", [AwsAccess("us-east-1", profile="none"), AwsAccess("us-east-1", is_default=True)])
async def test_where_there_are_no_keys_nothing_is_sent(aws_files: Path, access: AwsAccess) -> None:
    pytest.importorskip("botocore", reason="botocore is not installed")
    wire = Wire()
    with pytest.raises(TransportFailure, match="no AWS credentials for aws") as failure:
        await signed(wire, spec(access), StillClock()).send(call())
    assert failure.value.kind is FailureKind.CONNECT and not wire.calls


async def test_the_default_chain_reads_the_environment(aws_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("botocore", reason="botocore is not installed")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "told")
    passed = await sent(AwsAccess("us-east-1", is_default=True), call())
    assert "Credential=AKIDENV/" in passed.headers["authorization"]


async def test_a_role_is_assumed_with_the_keys_of_the_file(aws_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By botocore's own client, against a security token service that is somebody else's server."""
    pytest.importorskip("botocore", reason="botocore is not installed")
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length"))
        asked.append((await reader.readexactly(length)).decode())
        keys = "".join(f"<{n}>{v}</{n}>" for n, v in (("AccessKeyId", "ASIAROLE"), ("SecretAccessKey", "s")))
        keys += "<SessionToken>passing</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration>"
        result = f"<AssumeRoleResult><Credentials>{keys}</Credentials></AssumeRoleResult>"
        body = f"<AssumeRoleResponse>{result}</AssumeRoleResponse>"
        said = f"HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n{body}"
        writer.write(said.encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{port}")
    role = "arn:aws:iam::123456789012:role/gateway"
    try:
        passed = await sent(AwsAccess("us-east-1", "AKID", "secret", role_arn=role, external_id="ours"), call())
    finally:
        server.close()
        await server.wait_closed()
    assert "Credential=ASIAROLE/" in passed.headers["authorization"]
    assert passed.headers["x-amz-security-token"] == "passing"
    assert "ExternalId=ours" in asked[0] and "role%2Fgateway" in asked[0]


def test_a_signing_transport_leaves_the_other_open() -> None:
    class Closing(Wire):
        closed = False

        async def close(self) -> None:
            self.closed = True

    inner = Closing()
    source: KeySource = ChainKeys("aws", STATIC)
    asyncio.run(SigningTransport(inner, source, Scope("r", "s"), StillClock()).close())
    assert not inner.closed
