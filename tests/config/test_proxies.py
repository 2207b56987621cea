"""`proxy: environment`: which variable decides, who is exempt, and what of it is never shown."""

from pathlib import Path

import pytest

from router.config.compile import compile_snapshot
from router.config.proxies import proxy_for
from tests.config.samples import loaded, only, problems

TEXT = """\
providers:
  p: {type: openai, api_key: k, proxy: environment}
  q: {type: ollama, proxy: environment}
  r: {type: groq, api_key: k}
  s: {type: groq, api_key: k, proxy: "http://fixed:1"}
model_catalog: [{alias: a, targets: [{provider: p}]}]
"""


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        ("https://h/v1", {}, ""),
        ("https://h/v1", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://h/v1", {"HTTP_PROXY": "http://p:1"}, ""),
        ("http://h/v1", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("https://h/v1", {"HTTPS_PROXY": "http://p:1", "https_proxy": "http://q:1"}, "http://q:1"),
        ("https://h/v1", {"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ("https://h/v1", {"ALL_PROXY": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "http://q:1"),
        ("https://h/v1", {"HTTPS_PROXY": "p:1"}, "http://p:1"),
        ("https://h/v1", {"HTTPS_PROXY": " "}, ""),
        ("not a url", {"HTTPS_PROXY": "http://p:1"}, ""),
        ("https://h:99999/", {"HTTPS_PROXY": "http://p:1"}, ""),
    ],
)
def test_the_variable_of_the_scheme_decides(url: str, environ: dict[str, str], expected: str) -> None:
    assert proxy_for(url, environ)[1] == expected


@pytest.mark.parametrize(
    ("host", "exempt", "is_exempt"),
    [
        ("h.example", "*", True),
        ("h.example", "h.example", True),
        ("H.Example", "h.EXAMPLE", True),
        ("h.example.", "h.example", True),
        ("a.h.example", "h.example", True),
        ("a.h.example", ".h.example", True),
        ("a.h.example", "*.h.example", True),
        ("ah.example", "h.example", False),
        ("h.example", "other, h.example ,", True),
        ("h.example", "h.example:443", True),
        ("h.example", "h.example:8443", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("[2001:db8::1]", "2001:db8::/32", True),
        ("[2001:db8::1]", "[2001:db8::1]", True),
        ("10.1.2.3", "h.example", False),
        ("h.example", "10.0.0.0/8", False),
        ("h.example", ", ,.", False),
    ],
)
def test_who_is_exempt_is_reached_directly(host: str, exempt: str, is_exempt: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        found = proxy_for(f"https://{host}/v1", {"HTTPS_PROXY": "http://p:1", name: exempt})
        assert (found == ("", "")) is is_exempt


def test_only_providers_that_ask_for_it_look_at_the_environment(tmp_path: Path) -> None:
    environ = {"HTTPS_PROXY": "http://me:canary@p:3128", "HTTP_PROXY": "http://q:3128", "NO_PROXY": "127.0.0.0/8"}
    result = loaded(tmp_path, TEXT, environ)
    snapshot = compile_snapshot(result)
    assert {name: spec.proxy for name, spec in snapshot.providers.items()} == {
        "p": "http://me:canary@p:3128",
        "q": "",
        "r": "",
        "s": "http://fixed:1",
    }
    for shown in (snapshot.masked_yaml, repr(snapshot), repr(result.config)):
        assert "canary" not in shown
    assert "canary" in set(snapshot.secrets())
    other = compile_snapshot(loaded(tmp_path, TEXT, environ | {"HTTPS_PROXY": "http://me:other@p:3128"}))
    assert other.fingerprint != snapshot.fingerprint


def test_the_dotenv_file_is_part_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HTTPS_PROXY=http://p:3128\n")
    assert compile_snapshot(loaded(tmp_path, TEXT)).providers["p"].proxy == "http://p:3128"


@pytest.mark.parametrize("bad", ["https://me:canary@p:1", "socks5://canary:1", "http://p:0", "http://"])
def test_a_proxy_of_the_environment_that_cannot_be_used_is_one_located_error(tmp_path: Path, bad: str) -> None:
    problem = only(problems(tmp_path, TEXT, {"HTTPS_PROXY": bad}))
    assert (problem.key, problem.line) == ("providers.p.proxy", 2)
    assert "HTTPS_PROXY" in problem.found
    assert "http://proxy.example:3128" in problem.expected
    assert "canary" not in problem.render()
