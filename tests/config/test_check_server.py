"""The server's, database's and model sections: addresses, secrets, files and references."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.config.samples import DEMO, ONE_ALIAS, only, problems, write

_SECRET_32 = "0123456789abcdef0123456789abcdef"
_REST = DEMO + ONE_ALIAS


@pytest.mark.parametrize(
    ("section", "key", "found", "expected"),
    [
        ("tiers: {fast: aa}\n", "tiers.fast", '"aa"', "one of a"),
        ("defaults: {embeddings: a}\n", "defaults.embeddings", '"a" of type chat', "type embeddings"),
        ("defaults: {caht: a}\n", "defaults.caht", 'the unknown key "caht"', "one of chat"),
        ("server: {listen: 'localhost'}\n", "server.listen", '"localhost"', "127.0.0.1:8080"),
        ("server: {listen: 'h:99999'}\n", "server.listen", '"h:99999"', "a port"),
        ("server: {trusted_proxies: [10.0.0.0/33]}\n", "server.trusted_proxies[0]", '"10.0.0.0/33"', "10.0.0.0/8"),
        ("server: {secret: canary}\n", "server.secret", "*** (6 bytes)", "at least 32 bytes"),
        ("server: {tls: {cert: c.pem}}\n", "server.tls.key", "nothing", "go together"),
        ("server: {tls: {cert: c.pem, key: k.pem}}\n", "server.tls.cert", "no such file", "PEM"),
        ("server: {public_models: maybe}\n", "server.public_models", '"maybe"', "true or false"),
        ("server: {body_limit_mb: 1.5}\n", "server.body_limit_mb", '"1.5"', "a whole number"),
        ("server: [a]\n", "server", "a list", "a mapping"),
        ("server: x\n", "server", '"x"', "a mapping"),
        ("database: {url: 'mysql://u:canary@h/d'}\n", "database.url", "***", "sqlite://"),
        ("database: {url: 'postgres://u:canary@h/d'}\n", "server.secret", "nothing", "PostgreSQL"),
        ("redis: {url: 'http://h'}\n", "redis.url", '"http://h"', "redis://"),
    ],
)
def test_a_mistake_is_one_located_error(tmp_path: Path, section: str, key: str, found: str, expected: str) -> None:
    problem = only(problems(tmp_path, _REST + section))
    assert problem.key == key
    assert found in problem.found, problem.render()
    assert expected in problem.expected, problem.render()
    assert problem.line > 0
    assert "canary" not in problem.render()


def test_a_secret_of_32_bytes_is_enough_for_postgresql(tmp_path: Path) -> None:
    assert problems(tmp_path, _REST + f"server: {{secret: {_SECRET_32}}}\ndatabase: {{url: 'postgresql://u@h/d'}}\n") == ()


def test_files_that_are_no_pair_are_refused_and_a_pair_is_accepted(tmp_path: Path) -> None:
    openssl = shutil.which("openssl") or pytest.skip("needs the openssl command")
    make = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    for name in ("one", "two"):
        files = ["-keyout", str(tmp_path / f"{name}.key"), "-out", str(tmp_path / f"{name}.pem")]
        subprocess.run([*make, "-subj", "/CN=localhost", *files], check=True, capture_output=True)
    text = _REST + "server: {tls: {cert: one.pem, key: %s.key}}\n"
    assert problems(tmp_path, text % "one") == ()
    assert only(problems(tmp_path, text % "two")).found == "files that are no pair"
    ca = "providers: {p: {type: openai-compatible, base_url: 'https://h', ca_file: %s}}\n"
    assert problems(tmp_path, ca % "one.pem") == ()
    write(tmp_path, "nothing here\n", "empty.pem")
    assert "holds no certificate" in only(problems(tmp_path, ca % "empty.pem")).found


@pytest.mark.parametrize(
    "url",
    [
        "",
        "r.db",
        "sqlite:///",
        "sqlite:///data/",
        "sqlite:///:memory:",
        "sqlite:///r.db?mode=ro",
        "sqlite://data/r.db",
        "postgres:///",
        "postgresql://h:99999/d",
        "postgresql://[::1/d",
    ],
)
def test_what_is_no_database_is_refused(tmp_path: Path, url: str) -> None:
    found = problems(tmp_path, _REST + f"server: {{secret: {_SECRET_32}}}\ndatabase: {{url: '{url}'}}\n")
    assert only(found).key == "database.url"


@pytest.mark.parametrize(
    "url", ["postgres://u:p@h:5432/d?sslmode=disable", "postgresql:///d?host=/run/postgresql", "sqlite:////var/lib/r.db"]
)
def test_every_way_to_name_a_database_is_accepted(tmp_path: Path, url: str) -> None:
    assert problems(tmp_path, _REST + f"server: {{secret: {_SECRET_32}}}\ndatabase: {{url: '{url}'}}\n") == ()
