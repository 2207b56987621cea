"""A certificate for loopback, and who trusts it."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.providers.certificates import make_certificate


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return make_certificate(tmp_path / "loopback.pem")


@pytest.fixture
def trust(certificate: Path) -> Callable[[], ssl.SSLContext]:
    """As the system's trust store would be with the test's authority in it."""
    return lambda: ssl.create_default_context(cafile=str(certificate))
