"""`routerd check`: good files are summed up, bad ones answered with every mistake at once."""

from tests.cli.commandline import CommandLine

TEN_MISTAKES = """\
server: {listen: "nowhere", drain: soon}
provders: {}
health: {interval: 0s, mode: sometimes}
providers:
  one: {type: simulatd}
  two: {type: openai-compatible}
model_catalog:
  - {alias: a, strategy: fastest, targets: [{provider: thre, model: m}]}
  - {alias: a, targets: [{provider: two, model: m, weight: -1}]}
tiers: {fast: b}
"""


def test_a_good_file_is_summed_up(configured: CommandLine) -> None:
    printed = configured("check")
    assert (printed.code, printed.err) == (0, "")
    rows = {line.split()[0]: line for line in printed.out.splitlines() if line.strip()}
    assert rows["listen"].endswith("http://127.0.0.1:8080")
    assert rows["smart"].split(None, 4)[1:] == ["chat", "weighted", "2", "unknown for 1 of 2 targets"]
    assert rows["tenants"].endswith("demo (1 key), narrow (1 key)")
    assert "not in force yet" in printed.out


def test_ten_mistakes_are_ten_located_lines(bare: CommandLine) -> None:
    bare.write(TEN_MISTAKES)
    printed = bare("check")
    lines = printed.out.splitlines()
    assert (printed.code, printed.err) == (2, "")
    assert len(lines) >= 10
    assert all(line.startswith("router.yaml:") and "found" in line and "expected" in line for line in lines)
    assert any('Did you mean "providers"?' in line for line in lines)


def test_the_json_document_holds_the_same_problems(bare: CommandLine) -> None:
    bare.write(TEN_MISTAKES)
    plain, machine = bare("check"), bare("check", "--json")
    assert machine.code == 2
    assert machine.document["ok"] is False
    assert len(machine.document["problems"]) == len(plain.out.splitlines())
    assert {"file", "line", "column", "key", "found", "expected", "hint"} == set(machine.document["problems"][0])


def test_a_variable_that_is_not_set_is_named(bare: CommandLine) -> None:
    bare.write('providers: {one: {type: openai, api_key: "${OPENAI_API_KEY}"}}\n')
    printed = bare("check")
    assert (printed.code, "${OPENAI_API_KEY}, which is not set" in printed.out) == (2, True)


def test_a_summary_says_which_prices_are_known(configured: CommandLine) -> None:
    prices = {row["alias"]: row["price"] for row in configured("check", "--json").document["aliases"]}
    assert (prices["smart"], prices["backup"]) == ("partly", "unknown")


def test_checking_makes_no_file(configured: CommandLine) -> None:
    configured("check")
    assert [path.name for path in configured.folder.iterdir()] == ["router.yaml"]


def test_no_secret_is_shown(bare: CommandLine) -> None:
    secret = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ"
    bare.write(
        f"server: {{secret: {secret}-{secret}}}\n"
        f'database: {{url: "postgresql://me:{secret}@db/router"}}\n'
        f"providers: {{one: {{type: openai, api_key: {secret}}}}}\n"
    )
    for arguments in (["check"], ["check", "--json"]):
        printed = bare(*arguments)
        assert printed.code == 0
        assert secret not in printed.out + printed.err
