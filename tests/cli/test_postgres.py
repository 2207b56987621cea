"""The same commands on PostgreSQL, from an empty database to its first key."""

from tests.cli.commandline import CONFIG, CommandLine


def test_an_empty_server_is_brought_to_its_first_key(bare: CommandLine, postgres_url: str) -> None:
    config = CONFIG.replace("sqlite:///data/router.db", postgres_url)
    bare.write(f"server: {{secret: {'s' * 40}}}\n{config}")
    unready, migrated = bare("usage"), bare("migrate", "--json")
    assert (unready.code, "run `routerd migrate`" in unready.err) == (2, True)
    assert migrated.document["pending"] == []
    assert bare("tenants", "create", "demo").code == 0
    key = bare("keys", "create", "--tenant", "demo", "--name", "ci").out.strip()
    assert [row["state"] for row in bare("keys", "list", "--json").document["keys"]] == ["active"]
    assert bare("keys", "revoke", key, "--yes").code == 0
    assert bare("usage", "--by", "day", "--json").document["sum"]["requests"] == 0
    assert bare("check", "--json").document["database"] == "PostgreSQL"
