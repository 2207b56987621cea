"""`routerd init`: a file that passes `check` for every set of keys found, and holds none of them."""

import stat
from pathlib import Path

import pytest

from router.cli.init_yaml import SERVICES
from router.domain.identity import digest_of, parse_presented_key
from tests.cli.commandline import CommandLine, Printed

EVERYTHING = {
    **{service.variable: f"value-of-{service.provider}" for service in SERVICES},
    "AZURE_OPENAI_API_KEY": "value-of-azure",
    "AZURE_OPENAI_ENDPOINT": "https://example.openai.azure.com/",
    "AZURE_OPENAI_API_VERSION": "2024-10-21",
    "AZURE_OPENAI_DEPLOYMENT": "my-gpt",
    "OLLAMA_HOST": "0.0.0.0:11434",
    "ANTHROPIC_API_KEY": "value-of-anthropic",
    "GEMINI_API_KEY": "value-of-gemini",
}


def good(printed: Printed) -> Printed:
    assert printed.code == 0, printed.err + printed.out
    return printed


def test_without_any_key_the_file_works_with_the_simulated_provider(bare: CommandLine) -> None:
    good(bare("init"))
    document = good(bare("check", "--json")).document
    assert [provider["type"] for provider in document["providers"]] == ["simulated"]
    assert document["defaults"]["chat"] == "demo"
    assert document["warnings"] == []


@pytest.mark.parametrize("variable", [*(service.variable for service in SERVICES), "OLLAMA_HOST"])
def test_each_key_alone_gives_a_file_that_passes(variable: str, bare: CommandLine) -> None:
    environ = {variable: EVERYTHING[variable]}
    good(bare("init", **environ))
    assert len(good(bare("check", "--json", **environ)).document["providers"]) == 2


@pytest.mark.parametrize("named", [{}, {"AZURE_OPENAI_DEPLOYMENT": "my-gpt"}])
def test_azure_needs_key_and_endpoint_and_offers_the_deployment_it_knows(named: dict[str, str], bare: CommandLine) -> None:
    environ = {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": "https://example.openai.azure.com", **named}
    good(bare("init", **environ))
    document = good(bare("check", "--json", **environ)).document
    assert [p["type"] for p in document["providers"]] == ["simulated", "azure-openai"]
    assert ("azure-chat" in [a["alias"] for a in document["aliases"]]) == bool(named)


def test_all_keys_together_pass_and_no_value_is_written(bare: CommandLine) -> None:
    printed = good(bare("init", **EVERYTHING))
    text = Path("router.yaml").read_text()
    assert good(bare("check", "--json", **EVERYTHING)).document["warnings"] == []
    assert "value-of-" not in text + printed.out + printed.err
    assert "# GEMINI_API_KEY is set; the type gemini is not served yet" in text
    assert '  base_url: "http://127.0.0.1:11434/v1"' in text


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("http://gpu-box:9000", "http://gpu-box:9000/v1"),
        ("gpu-box", "http://gpu-box:11434/v1"),
        ("https://ollama.example.com", "https://ollama.example.com:443/v1"),
        ("[::]:5000", "http://127.0.0.1:5000/v1"),
    ],
)
def test_an_ollama_host_becomes_an_address_to_call(written: str, address: str, bare: CommandLine) -> None:
    good(bare("init", OLLAMA_HOST=written))
    assert f'base_url: "{address}"' in Path("router.yaml").read_text()
    good(bare("check"))


def test_the_key_is_shown_once_and_kept_only_in_a_private_file(bare: CommandLine) -> None:
    printed = good(bare("init"))
    presented = parse_presented_key(printed.out.strip())
    assert presented is not None
    prefix, secret = presented
    assert (prefix, len(secret)) == ("demo", 32)
    assert secret not in Path("router.yaml").read_text() + printed.err
    assert f"={secret}\n" in Path(".env").read_text()
    assert stat.S_IMODE(Path(".env").stat().st_mode) == 0o600
    assert digest_of(secret, b"k") != digest_of(good(bare("init", "--force", "-o", "two.yaml")).out, b"k")


def test_a_dotenv_file_keeps_what_it_holds_and_its_keys_count(bare: CommandLine) -> None:
    Path(".env").write_text("GROQ_API_KEY=gsk-of-mine")
    document = good(bare("init", "--json")).document
    assert document["providers"] == ["groq"]
    assert Path(".env").read_text().startswith("GROQ_API_KEY=gsk-of-mine\n")
    good(bare("check"))


def test_a_file_that_exists_is_left_alone(bare: CommandLine) -> None:
    Path("router.yaml").write_text("# mine\n")
    printed = bare("init")
    assert (printed.code, printed.out) == (2, "")
    assert "router.yaml exists already" in printed.err
    assert Path("router.yaml").read_text() == "# mine\n"
    assert not Path(".env").exists()


def test_force_writes_anew_and_keeps_the_secret(bare: CommandLine) -> None:
    first = good(bare("init"))
    secrets = Path(".env").read_text()
    second = good(bare("init", "--force", OPENAI_API_KEY="k"))
    assert Path(".env").read_text() == secrets
    assert (first.out != "", second.out) == (True, "")
    assert "openai" in Path("router.yaml").read_text()


@pytest.mark.parametrize(("output", "said"), [("gone/router.yaml", "there is no folder gone"), (".", "is a folder")])
def test_a_place_that_cannot_be_written_is_named(output: str, said: str, bare: CommandLine) -> None:
    printed = bare("init", "--output", output)
    assert (printed.code, said in printed.err) == (2, True)


def test_the_next_step_names_the_file_that_was_written(bare: CommandLine) -> None:
    printed = good(bare("init", "-o", "other.yaml"))
    assert "routerd check --config other.yaml" in printed.err


def test_a_value_that_breaks_the_file_is_told_at_once(bare: CommandLine) -> None:
    printed = bare("init", AZURE_OPENAI_API_KEY="k", AZURE_OPENAI_ENDPOINT="no url")
    assert "providers.azure-openai.endpoint" in printed.err
