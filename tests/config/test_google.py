"""Providers of the type vertex: each likely mistake is told where it stands, and what would be right."""

import json
from pathlib import Path

import pytest

from router.config.compile import compile_snapshot
from router.config.google_access import GoogleAccess
from router.config.load import load
from tests.config.samples import only, problems

ALIAS = "model_catalog: [{alias: a, targets: [{provider: p, model: gemini-2.5-flash}]}]\n"
GOOD = json.dumps({"type": "service_account", "private_key": "canary"})


@pytest.mark.parametrize(
    ("keys", "found", "expected"),
    [
        ("", "nothing", "the key project"),
        (
            'project: p, api_key: k, credentials: \'{"type": "service_account"}\'',
            "credentials beside an API key",
            "one of the two",
        ),
        ("project: p, credentials_file: nope.json", "credentials_file: there is no such file", "JSON of a service account"),
        ("project: p, credentials_file: bad.json", "credentials_file: it is no JSON object", "JSON of a service account"),
        ("project: p, credentials_file: odd.json", "credentials_file: its type is 'canary'", "JSON of a service account"),
        ("project: p, credentials: nonsense", "credentials: it is no JSON object", "JSON of a service account"),
        ("project: p, auth: bearer", "auth: bearer without a token", "api_key"),
        ("api_key: k, auth: bearer", "nothing", "the key project"),
        ("project: p, api_key: k, auth: x-api-key", "auth: x-api-key", "bearer"),
        ("project: p, region: us-east-1", "the key region", "one of"),
    ],
)
def test_a_mistake_is_told_where_it_stands(tmp_path: Path, keys: str, found: str, expected: str) -> None:
    pytest.importorskip("google.auth", reason="google-auth is not installed")
    (tmp_path / "bad.json").write_text("canary-secret")
    (tmp_path / "odd.json").write_text('{"type": "canary"}')
    problem = only(problems(tmp_path, f"providers: {{p: {{type: vertex{', ' if keys else ''}{keys}}}}}\n" + ALIAS))
    assert problem.key == "providers.p" and found in problem.found and expected in problem.expected
    assert "canary-secret" not in str(problem)


@pytest.mark.parametrize(("keys", "key"), [("project: 'a b'", "project"), ("location: 'x/y'", "location")])
def test_a_project_and_a_location_have_a_form(tmp_path: Path, keys: str, key: str) -> None:
    text = f"providers: {{p: {{type: vertex, api_key: k, {keys}}}}}\n" + ALIAS
    assert only(problems(tmp_path, text)).key == f"providers.p.{key}"


def compiled(tmp_path: Path, keys: str) -> GoogleAccess:
    path = tmp_path / "router.yaml"
    path.write_text(f"providers: {{p: {{type: vertex, {keys}}}}}\n" + ALIAS)
    access = compile_snapshot(load(path, {})).providers["p"].options["google"]
    assert isinstance(access, GoogleAccess)
    return access


def test_a_changed_key_file_is_another_access(tmp_path: Path) -> None:
    pytest.importorskip("google.auth", reason="google-auth is not installed")
    (tmp_path / "key.json").write_text(GOOD)
    first = compiled(tmp_path, "project: p, credentials_file: key.json")
    assert first.credentials_file == str(tmp_path / "key.json") and first.has_token
    (tmp_path / "key.json").write_text(GOOD + " ")
    assert compiled(tmp_path, "project: p, credentials_file: key.json") != first


def test_an_api_key_needs_neither_project_nor_token(tmp_path: Path) -> None:
    access = compiled(tmp_path, "api_key: k")
    assert (access.project, access.location, access.has_token) == ("", "global", False)


def test_the_environments_proxy_is_that_of_the_locations_host(tmp_path: Path) -> None:
    path = tmp_path / "router.yaml"
    path.write_text("providers: {p: {type: vertex, api_key: k, location: eu, proxy: environment}}\n" + ALIAS)
    environ = {"HTTPS_PROXY": "http://proxy.test:1"}
    assert compile_snapshot(load(path, environ)).providers["p"].proxy == "http://proxy.test:1"
    exempt = environ | {"NO_PROXY": "aiplatform.eu.rep.googleapis.com"}
    assert compile_snapshot(load(path, exempt)).providers["p"].proxy == ""
