"""Tokens by google-auth, from a token server on loopback: fetched once for all who wait, and refreshed in time."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from router.config.google_access import GoogleAccess
from router.domain.routes import ProviderSpec
from router.domain.upstream import FailureKind, TransportFailure

pytest.importorskip("google.auth", reason="google-auth is not installed")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from router.providers.gemini.google_tokens import GoogleTokens


class TokenServer:
    """Answers `status` with a token that lives for `seconds`; notes the threads it was asked from."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.status = 200
        self.seconds = 3600
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                owner.asked.append(self.rfile.read(int(self.headers["content-length"])))
                told = {"access_token": f"token-{len(owner.asked)}", "expires_in": owner.seconds, "token_type": "Bearer"}
                body = json.dumps(told if owner.status == 200 else {"error": "invalid_grant", "error_description": "no"})
                self.send_response(owner.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@pytest.fixture
def server() -> Iterator[TokenServer]:
    running = TokenServer()
    yield running
    running.close()


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(65537, 2048)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def account(server: TokenServer, private_key: str) -> dict[str, Any]:
    return {
        "type": "service_account",
        "client_email": "a@b.test",
        "private_key_id": "1",
        "private_key": private_key,
        "token_uri": server.url,
        "project_id": "p",
    }


def tokens(**given: Any) -> GoogleTokens:
    access = GoogleAccess("p", "global", **given)
    return GoogleTokens(ProviderSpec("vertex", "vertex", "https://h", options={"google": access}), access)


async def test_all_who_wait_get_one_token(server: TokenServer, private_key: str) -> None:
    source = tokens(credentials=json.dumps(account(server, private_key)))
    assert source.at_hand == ""
    found = await asyncio.gather(*(source.fetch() for _ in range(20)))
    assert set(found) == {"token-1"} == {source.at_hand} and len(server.asked) == 1


async def test_a_file_is_read_as_well(server: TokenServer, private_key: str, tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(account(server, private_key)))
    assert await tokens(credentials_file=str(path)).fetch() == "token-1"


async def test_the_default_is_what_the_environment_names(
    server: TokenServer, private_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "adc.json"
    path.write_text(json.dumps(account(server, private_key)))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    assert await tokens().fetch() == "token-1"


async def test_a_token_near_its_end_is_replaced_and_kept_where_no_other_is_given(
    server: TokenServer, private_key: str
) -> None:
    source = tokens(credentials=json.dumps(account(server, private_key)))
    server.seconds = 60  # google-auth calls it stale some minutes before its end
    assert await source.fetch() == "token-1" and source.at_hand == ""
    assert await source.fetch() == "token-2"
    server.status = 400
    assert await source.fetch() == "token-2"


async def test_a_refused_token_is_asked_for_again(server: TokenServer, private_key: str) -> None:
    source = tokens(credentials=json.dumps(account(server, private_key)))
    assert await source.fetch() == "token-1"
    source.spoil("another")
    assert source.at_hand == "token-1"
    source.spoil("token-1")
    assert source.at_hand == "" and await source.fetch() == "token-2"


async def test_no_token_is_a_failure_that_says_why_and_holds_no_key(server: TokenServer, private_key: str) -> None:
    server.status = 400
    source = tokens(credentials=json.dumps(account(server, private_key)))
    with pytest.raises(TransportFailure) as failure:
        await source.fetch()
    assert failure.value.kind is FailureKind.CONNECT
    assert "vertex" in str(failure.value) and "invalid_grant" in str(failure.value)
    assert "PRIVATE KEY" not in str(failure.value) and "assertion" not in str(failure.value)
