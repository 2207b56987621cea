"""Keys by botocore's own rules: profiles, the default chain (environment, files, container, instance), roles.

botocore is an extra, and half a second to import: it is, when a provider that is configured so is first asked something, in
the thread where whatever may wait happens.
"""

import asyncio
from importlib import import_module
from typing import Any

from router.config.aws_access import AwsAccess
from router.domain.upstream import FailureKind, TransportFailure
from router.providers.bedrock.sigv4 import AwsKeys

_CONNECT_S, _READ_S = 5, 10
_ROLE_SESSION = "routerd"


class _NoKeys(Exception):
    """Why there are none, for the operator."""


class ChainKeys:
    """A KeySource. Asks once for all who wait, and again when the keys come to their end (a quarter of an hour before)."""

    def __init__(self, provider: str, access: AwsAccess) -> None:
        self._provider = provider
        self._access = access
        self._found: Any = None
        self._keys: AwsKeys | None = None
        self._asking = asyncio.Lock()

    @property
    def at_hand(self) -> AwsKeys | None:
        if self._keys is None or self._is_ending():
            return None
        return self._keys

    async def fetch(self) -> AwsKeys:
        async with self._asking:
            if (keys := self.at_hand) is None:
                try:
                    keys = self._keys = await asyncio.to_thread(self._ask)
                except _NoKeys as error:
                    told = f"no AWS credentials for {self._provider}: {error}"
                    raise TransportFailure(FailureKind.CONNECT, told) from None
            return keys

    def _is_ending(self) -> bool:
        """Keys that have an end know whether they are near it; asking them is only a look at the clock."""
        refresh_needed = getattr(self._found, "refresh_needed", None)
        return refresh_needed is not None and bool(refresh_needed())

    def _ask(self) -> AwsKeys:
        errors = import_module("botocore.exceptions")
        try:
            if self._found is None:
                self._found = self._resolved()
            frozen = self._found.get_frozen_credentials()
        except (errors.BotoCoreError, errors.ClientError, OSError) as error:
            raise _NoKeys(str(error)) from None
        return AwsKeys(frozen.access_key, frozen.secret_key, frozen.token or "")

    def _resolved(self) -> Any:
        access, credentials = self._access, import_module("botocore.credentials")
        session = import_module("botocore.session").Session(profile=access.profile or None)
        session.set_config_variable("region", access.region)
        found = (
            credentials.Credentials(access.access_key_id, access.secret_access_key, access.session_token or None)
            if access.access_key_id
            else session.get_credentials()
        )
        if found is None:
            raise _NoKeys("neither the environment, nor a file, nor this machine's role gives any")
        return self._with_role(session, found) if access.role_arn else found

    def _with_role(self, session: Any, found: Any) -> Any:
        credentials = import_module("botocore.credentials")
        config = import_module("botocore.config").Config(connect_timeout=_CONNECT_S, read_timeout=_READ_S)

        def client(service: str, **given: Any) -> Any:
            return session.create_client(service, region_name=self._access.region, config=config, **given)

        extra = {"RoleSessionName": _ROLE_SESSION}
        if self._access.external_id:
            extra["ExternalId"] = self._access.external_id
        fetcher = credentials.AssumeRoleCredentialFetcher(client, found, self._access.role_arn, extra_args=extra)
        return credentials.DeferredRefreshableCredentials(method="assume-role", refresh_using=fetcher.fetch_credentials)
