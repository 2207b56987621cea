"""One server secret, one key per purpose; generated once, readable by nobody else."""

import os
import threading
from pathlib import Path

import pytest

from router.config.paths import control_socket, sqlite_file
from router.config.schema import RouterConfig
from router.config.secrets import Purpose, SecretUnavailable, derive, server_secret


def config(url: str, secret: str = "") -> RouterConfig:
    return RouterConfig.model_validate({"database": {"url": url}, "server": {"secret": secret}})


def test_derivation_is_hkdf_sha256_without_salt() -> None:
    # RFC 5869, test case 3, has an empty salt and an empty label; its first 32 bytes.
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    assert derive(bytes([0x0B] * 22), "").hex() == expected


def test_every_purpose_has_a_key_of_its_own() -> None:
    keys = {derive(b"s" * 32, purpose) for purpose in Purpose}
    assert len(keys) == len(Purpose)
    assert derive(b"t" * 32, Purpose.API_KEYS) not in keys


def test_the_configured_secret_wins(tmp_path: Path) -> None:
    assert server_secret(config(f"sqlite:///{tmp_path}/r.db", "x" * 32)) == b"x" * 32
    assert list(tmp_path.iterdir()) == []


def test_a_generated_secret_is_private_and_stays(tmp_path: Path) -> None:
    where = config(f"sqlite:///{tmp_path}/data/r.db")
    first = server_secret(where)
    assert len(first) == 64
    assert server_secret(where) == first
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["router.secret"]
    assert (tmp_path / "data/router.secret").stat().st_mode & 0o777 == 0o600


def test_of_many_that_start_together_all_hold_the_same(tmp_path: Path) -> None:
    where, found, start = config(f"sqlite:///{tmp_path}/r.db"), [], threading.Barrier(8)

    def begin() -> None:
        start.wait()
        found.append(server_secret(where))

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 8


def test_a_secret_others_may_read_is_refused(tmp_path: Path) -> None:
    where = config(f"sqlite:///{tmp_path}/r.db")
    server_secret(where)
    os.chmod(tmp_path / "router.secret", 0o644)
    with pytest.raises(SecretUnavailable, match="set its mode to 0600"):
        server_secret(where)


def test_a_short_secret_file_is_refused_without_showing_it(tmp_path: Path) -> None:
    (tmp_path / "router.secret").write_text("canary")
    os.chmod(tmp_path / "router.secret", 0o600)
    with pytest.raises(SecretUnavailable, match="holds 6 bytes") as caught:
        server_secret(config(f"sqlite:///{tmp_path}/r.db"))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///data/router.db", Path("data/router.db")),
        ("sqlite:////var/lib/r.db", Path("/var/lib/r.db")),
        ("sqlite:///r%20s.db", Path("r s.db")),
        ("postgresql://h/d", None),
    ],
)
def test_three_slashes_are_relative_and_four_absolute(url: str, path: Path | None) -> None:
    assert sqlite_file(url) == path
    assert control_socket(url) == Path(f"{path or 'data/routerd'}.sock")
