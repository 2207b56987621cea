"""Access tokens by google-auth's own rules: service accounts' keys, workload identity, gcloud's login, the machine's own.

The one file that imports google-auth, and itself imported only where a provider is configured so. What waits, waits in a
thread.
"""

import asyncio
import ssl
import urllib.error
import urllib.request
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import google.auth as google_auth
import msgspec
from google.auth import exceptions, transport
from google.auth.credentials import TokenState
from google.oauth2 import service_account

from router.config.google_access import GoogleAccess
from router.domain.routes import ProviderSpec
from router.domain.upstream import FailureKind, TransportFailure

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_TIMEOUT_S = 10.0
_MOST_BYTES = 2**20
_GOOGLE: Any = google_auth  # its loaders have no types
_SERVICE_ACCOUNT: Any = service_account.Credentials


class GoogleTokens:
    """A TokenSource. Asks once for all who wait, and again when a token comes to its end (some minutes before); one that is
    good still is used while no other can be had."""

    def __init__(self, spec: ProviderSpec, access: GoogleAccess) -> None:
        self._provider = spec.name
        self._access = access
        self._request = _Request(spec.proxy, spec.ca_file)
        self._credentials: Any = None
        self._asking = asyncio.Lock()

    @property
    def at_hand(self) -> str:
        found = self._credentials
        return found.token if found is not None and found.token_state is TokenState.FRESH else ""

    def spoil(self, token: str) -> None:
        if self._credentials is not None and self._credentials.token == token:
            self._credentials.token = None

    async def fetch(self) -> str:
        async with self._asking:
            if not (token := self.at_hand):
                try:
                    await asyncio.to_thread(self._ask)
                except (exceptions.GoogleAuthError, OSError, ValueError) as error:
                    if not self._is_usable():
                        told = f"no access token of Google's for {self._provider}: {_told(error)}"
                        raise TransportFailure(FailureKind.CONNECT, told) from None
                token = self._credentials.token
            return str(token)

    def _is_usable(self) -> bool:
        return self._credentials is not None and self._credentials.token_state is TokenState.STALE

    def _ask(self) -> None:
        if self._credentials is None:
            self._credentials = self._resolved()
        self._credentials.refresh(self._request)

    def _resolved(self) -> Any:
        access = self._access
        content = access.credentials or (Path(access.credentials_file).read_bytes() if access.credentials_file else b"")
        if not content:
            return _GOOGLE.default(scopes=_SCOPES, request=self._request)[0]
        info = msgspec.json.decode(content, type=dict[str, Any])
        if info.get("type") == "service_account":
            return _SERVICE_ACCOUNT.from_service_account_info(info, scopes=_SCOPES)
        with warnings.catch_warnings():
            # Deprecated for credentials from others; these are the operator's own.
            warnings.simplefilter("ignore", DeprecationWarning)
            return _GOOGLE.load_credentials_from_dict(info, scopes=_SCOPES, request=self._request)[0]


def _told(error: Exception) -> str:
    """The reason in one line. What the token's server answered may stand in it, what was sent to it does not."""
    return " ".join(str(error.args[0] if error.args else error).split())[:300] or type(error).__name__


class _Answer(transport.Response):
    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self._status = status
        self._headers = headers
        self._data = data

    @property
    def status(self) -> int:
        return self._status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers

    @property
    def data(self) -> bytes:
        return self._data


class _Request(transport.Request):
    """google-auth's port to the network, over the standard library: through the provider's proxy, trusting its authorities,
    and following nothing of the environment's."""

    def __init__(self, proxy: str, ca_file: str) -> None:
        context = ssl.create_default_context()
        if ca_file:
            context.load_verify_locations(ca_file)
        proxies = {"http": proxy, "https": proxy} if proxy else {}
        self._direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context)
        )

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: object,
    ) -> _Answer:
        """Raises google.auth.exceptions.TransportError. The metadata server is plain HTTP on the machine's own link."""
        content = body.encode() if isinstance(body, str) else body
        if not url.startswith(("https://", "http://")):
            raise exceptions.TransportError(f"no token is fetched from {url[:80]!r}")  # type: ignore[no-untyped-call]  # google-auth has none
        told = dict(headers or {})
        request = urllib.request.Request(url, data=content, headers=told, method=method)  # noqa: S310  # looked at above
        opener = self._opener if url.startswith("https:") else self._direct
        try:
            with opener.open(request, timeout=min(timeout or _TIMEOUT_S, _TIMEOUT_S)) as answer:
                return _Answer(answer.status, dict(answer.headers.items()), answer.read(_MOST_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                return _Answer(error.code, dict(error.headers.items()), error.read(_MOST_BYTES))
        except (OSError, ValueError) as error:
            raise exceptions.TransportError(error) from error  # type: ignore[no-untyped-call]  # google-auth has no types
