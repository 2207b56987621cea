"""The frame around every command: names, exit codes, JSON errors, and that small commands start small."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from router.cli.main import COMMANDS, LazyGroup
from router.system import VERSION
from tests.cli.commandline import CommandLine
from tests.daemon import ROOT

PATH = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_listed_command_exists_and_explains_itself(name: str, bare: CommandLine) -> None:
    command = getattr(importlib.import_module(f"router.cli.{name}"), name)
    assert isinstance(command, click.Command)
    assert command.get_short_help_str()
    assert bare(name, "--help").code == 0


def test_help_lists_every_command(bare: CommandLine) -> None:
    printed = bare("--help")
    assert printed.code == 0
    assert all(f"  {name} " in printed.out for name in COMMANDS)


def test_a_mistyped_command_is_answered_with_the_one_meant(bare: CommandLine) -> None:
    printed = bare("chek")
    assert printed.code == 2
    assert 'Did you mean "check"?' in printed.err
    assert printed.out == ""


def test_without_any_configuration_the_daemon_points_to_init(bare: CommandLine) -> None:
    printed = bare()
    assert printed.code == 2
    assert "there is no configuration file router.yaml" in printed.err
    assert "routerd init" in printed.err


def test_a_file_named_by_the_environment_that_is_missing_says_who_named_it(bare: CommandLine) -> None:
    printed = bare("check", ROUTER_CONFIG_FILE="gone.yaml")
    assert printed.code == 2
    assert "gone.yaml (named by ROUTER_CONFIG_FILE)" in printed.err


def test_a_folder_given_as_the_file_is_named_as_such(bare: CommandLine) -> None:
    printed = bare("check", "--config", ".")
    assert (printed.code, "is a folder" in printed.err) == (2, True)


@pytest.mark.parametrize("arguments", [["--config", "other.yaml", "check"], ["check", "--config", "other.yaml"]])
def test_the_file_may_be_named_before_or_after_the_command(arguments: list[str], configured: CommandLine) -> None:
    configured.write("model_catalog: []\n", "other.yaml")
    printed = configured(*arguments)
    assert (printed.code, printed.out.splitlines()[0]) == (0, "other.yaml is good.")


def test_the_environment_names_the_file(bare: CommandLine) -> None:
    bare.write(name="other.yaml")
    assert bare("check", ROUTER_CONFIG_FILE="other.yaml").out.startswith("other.yaml is good.")


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["usage", "--json", "--by", "moon"], 2, "usage"),
        (["check", "--json", "--nope"], 2, "usage"),
        (["migrate", "--json", "--config", "gone.yaml"], 2, "no_configuration"),
        (["usage", "--json"], 1, "no_database"),
    ],
)
def test_with_json_an_error_is_a_document_too(arguments: list[str], code: int, error: str, configured: CommandLine) -> None:
    printed = configured(*arguments)
    assert (printed.code, printed.document["error"]["code"], printed.err) == (code, error, "")


@pytest.mark.parametrize("command", [["serve"], ["usage"], ["explain"], ["migrate"], ["keys", "list"], ["tenants", "list"]])
def test_a_bad_file_is_answered_alike_by_every_command(command: list[str], bare: CommandLine) -> None:
    bare.write("providers: {one: {type: simulatd}}\n")
    plain, machine = bare(*command), bare(*command, "--json")
    assert (plain.code, machine.code) == (2, 2)
    assert plain.out == ""
    assert plain.err.startswith('router.yaml:1:25: providers.one.type: found "simulatd"')
    assert machine.document["problems"][0]["line"] == 1


class Faulty(LazyGroup):
    """A command that fails as only a mistake of ours can, with a secret in the message."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return click.Command("check", callback=lambda: dict[str, int]()["my-secret"])


def test_a_fault_of_ours_is_one_line_without_traceback_or_message(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Faulty("routerd").main(["check"])
    printed = capsys.readouterr()
    assert ended.value.code == 1
    assert printed.err.startswith("error: a fault of routerd itself: KeyError at test_main.py:")
    assert "my-secret" not in printed.err
    assert "Traceback" not in printed.err


def test_help_imports_no_command() -> None:
    """Half of what the daemon needs takes longer to import than `--help` may take."""
    code = (
        "import sys\nfrom router.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'pydantic', 'aiohttp', 'router.storage', 'router.app'} & set(sys.modules)), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], env=PATH, capture_output=True, text=True, timeout=30, check=True)
    assert ran.stderr == "[]\n"


@pytest.mark.parametrize("module", ["router", "router.cli.main"])
def test_the_module_runs_as_a_program(module: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", module, "check"],
        cwd=tmp_path,
        env=PATH,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: there is no configuration file router.yaml\n")


def test_a_reader_who_leaves_early_is_no_fault(tmp_path: Path) -> None:
    many = "".join(f"  - {{alias: alias-{n}, targets: [{{provider: one, model: m}}]}}\n" for n in range(2000))
    (tmp_path / "router.yaml").write_text(f"providers: {{one: {{type: simulated}}}}\nmodel_catalog:\n{many}")
    with subprocess.Popen(
        [sys.executable, "-m", "router", "check"], cwd=tmp_path, env=PATH, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 1


def test_the_version_is_told(bare: CommandLine) -> None:
    printed = bare("--version")
    assert (printed.code, printed.out) == (0, f"routerd {VERSION}\n")
