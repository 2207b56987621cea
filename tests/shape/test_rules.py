"""Each shape rule finds what it forbids and lets pass what it allows."""

from textwrap import dedent

import pytest

from tests.shape.locks import disagreements, drift, pins_of, unhashed
from tests.shape.rules import SourceFile, breaches_of
from tests.shape.texts import missing_mentions, names_a_machine

DOC = '"""What it is for."""\n'


def found(code: str, path: str = "router/gateway/call.py", docstring: str = DOC) -> list[str]:
    return breaches_of(SourceFile.parse(path, docstring + dedent(code)))


def function_of(lines: int) -> str:
    return "def run() -> None:\n" + "    pass\n" * (lines - 1)


def nest(levels: int) -> str:
    rows = [
        "def run(x: int) -> None:",
        *("    " * n + "if x:" for n in range(1, levels + 1)),
        "    " * (levels + 1) + "pass",
    ]
    return "\n".join(rows)


SQL = 'def run(name: str) -> str:\n    return f"SELECT a FROM keys WHERE {}"\n'
VALUE = "@dataclass(frozen=True, slots=True)\nclass Price: ...\n"
SILENT = "no" + "qa"
UNFINISHED = "TO" + "DO"


@pytest.mark.parametrize(
    ("code", "path", "named"),
    [
        ("x = 1\n" * 400, "router/app.py", "401 lines; at most 400"),
        (function_of(51), "router/app.py", "run has 51 lines; at most 50"),
        ("def run(a, b, c, d, e, f): ...", "router/app.py", "6 positional parameters; at most 5"),
        ("def run(a, *, b, c, d, e, f, g, h, i): ...", "router/app.py", "9 parameters; at most 8"),
        ("class A:\n    def run(self, a, b, c, d, e, f): ...", "router/app.py", "6 positional parameters; at most 5"),
        (nest(5), "router/app.py", "nests 5 deep; at most 4"),
        ("", "router/gateway/utils.py", "a module named 'utils'"),
        ("", "router/helpers/call.py", "a module named 'helpers'"),
        ("import os", "router/gateway/__init__.py", "__init__.py is empty or one docstring"),
        (
            "from dataclasses import dataclass\n@dataclass\nclass A: ...",
            "router/domain/routes.py",
            "without frozen and slots",
        ),
        ("@dataclass(frozen=True)\nclass A: ...", "router/domain/routes.py", "without slots"),
        ("import yaml", "router/domain/routes.py", "the domain imports yaml"),
        ("from router.config import snapshot", "router/domain/routes.py", "the domain imports router.config"),
        (SQL.replace("{}", "{name}"), "router/storage/keys.py", "SQL with name spelled into it"),
        ('x = f"INSERT INTO keys VALUES ({values})"', "router/storage/keys.py", "SQL with values spelled into it"),
        (f"x = 1  # {SILENT}", "router/app.py", "silenced without its code and a reason"),
        (f"x = 1  # {SILENT}: E501", "router/app.py", "silenced without its code and a reason"),
        ("x = 1  # type: " + "ignore[misc]", "router/app.py", "silenced without its code and a reason"),
        (f"x = 1  # {UNFINISHED} later", "router/app.py", "a note of unfinished work"),
    ],
)
def test_a_breach_is_found(code: str, path: str, named: str) -> None:
    assert any(named in breach for breach in found(code, path)), found(code, path)


@pytest.mark.parametrize(
    ("code", "path"),
    [
        ("x = 1\n" * 399, "router/app.py"),
        (function_of(50), "router/app.py"),
        ("class A:\n    def run(self, a, b, c, d, e, *, f, g, h): ...", "router/app.py"),
        ("def test_x(a, b, c, d, e, f): ...", "tests/test_x.py"),
        (nest(4), "router/app.py"),
        ("", "router/gateway/__init__.py"),
        (VALUE, "router/domain/usage.py"),
        ("@dataclass\nclass Work: ...", "router/gateway/call.py"),
        ("import json\nimport msgspec\nfrom router.domain.usage import Usage", "router/domain/ledger.py"),
        (SQL.replace("{}", "{_COLUMNS}"), "router/storage/keys.py"),
        (SQL.replace("{}", "{Status.DISABLED.value}"), "router/storage/keys.py"),
        ('x = f"selected {name} from a list"', "router/storage/keys.py"),
        (f"x = 1  # {SILENT}: E501 - a URL cannot be broken", "router/app.py"),
    ],
)
def test_what_is_allowed_passes(code: str, path: str) -> None:
    assert found(code, path) == []


def test_elif_and_case_are_one_level() -> None:
    chain = "def run(x):\n    if x == 1:\n        pass\n" + "".join(
        f"    elif x == {n}:\n        pass\n" for n in range(2, 9)
    )
    cases = """
        def run(x):
            match x:
                case 1:
                    if x:
                        if x:
                            if x: ...
    """
    assert found(chain) == []
    assert found(cases) == []


def test_a_function_inside_a_function_starts_its_own_count() -> None:
    inner = """
        def outer(x):
            if x:
                if x:
                    def inner():
                        if x:
                            if x:
                                if x: ...
    """
    assert found(inner) == []


def test_a_file_says_what_it_is_for_in_five_lines() -> None:
    long = '"""' + "line\n" * 5 + 'line"""\n'
    assert any("no docstring" in breach for breach in found("x = 1", docstring=""))
    assert any("a docstring of 6 lines" in breach for breach in found("", docstring=long))
    assert found("", "router/domain/errors.py", docstring=long) == []
    assert found("", "router/limits/__init__.py", docstring="") == []


@pytest.mark.parametrize(
    "line",
    [
        "path = '/" + "root/x'",
        "cd /" + "work/main",
        "open('/" + "tmp/a.db')",
        "https://py" + "pi.org/simple",
        "registry.npm" + "js.org",
    ],
)
def test_a_machine_or_a_registry_in_a_text_is_found(line: str) -> None:
    assert list(names_a_machine(f"first\n{line}\n"))


@pytest.mark.parametrize(
    "line", ["mountPath: /tmp", "/v1/home/page", "../work/main", "https://example.com/tmp/x", "GET /workers/1"]
)
def test_an_ordinary_path_is_no_machine(line: str) -> None:
    assert not list(names_a_machine(line))


def test_prose_that_promises_what_is_not_there_is_found() -> None:
    links = "See [a](docs/a.md), [b](docs/b.md#part), [web](https://x.y), `router/app.py`, `router/gone.py`.\n"
    prose = links + "\n`make run`, then\n    make fly\n"
    missing = missing_mentions(prose, {"docs/a.md", "router/app.py"}.__contains__, frozenset({"run"}))
    assert list(missing) == ["link to docs/b.md", "mention of router/gone.py", "make fly"]


LOCK = """\
# made by a command
aiohttp==3.14.5 \\
    --hash=sha256:00 \\
    --hash=sha256:01
    # via routerd (pyproject.toml)
Py_YAML==6.0.3 ; sys_platform != 'win32' \\
    --hash=sha256:02
"""


def test_a_lock_that_lags_behind_is_found() -> None:
    assert pins_of(LOCK) == {"aiohttp": "3.14.5", "py-yaml": "6.0.3"}
    assert list(drift(["aiohttp>=3.14.5,<4", "py.yaml"], LOCK)) == []
    assert list(drift(["aiohttp>=3.15", "redis"], LOCK)) == [
        "aiohttp is locked at 3.14.5; required is >=3.15",
        "redis is not locked",
    ]
    assert list(disagreements({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "1"})) == ["b: 2 and 3"]


@pytest.mark.parametrize(
    "line",
    [
        "click==8.5.1",
        "--index-url https://example.com/simple",
        "--find-links wheels",
        "-e .",
        "click @ https://example.com/click.whl",
    ],
)
def test_a_locked_line_without_hash_or_with_an_address_is_found(line: str) -> None:
    assert not list(unhashed(LOCK))
    assert list(unhashed(f"{LOCK}{line}\n"))
