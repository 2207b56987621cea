"""`routerd tenants`: made once, listed, and usable for keys at once."""

import pytest

from tests.cli.commandline import CommandLine


def test_a_new_tenant_is_listed_and_takes_keys(routerd: CommandLine) -> None:
    created = routerd("tenants", "create", "new team", "--models", "smart,backup")
    rows = {row["name"]: row for row in routerd("tenants", "list", "--json").document["tenants"]}
    key = routerd("keys", "create", "--tenant", "new team", "--name", "x")
    assert (created.code, key.code) == (0, 0)
    assert rows["new team"]["models"] == ["smart", "backup"]
    assert (rows["demo"]["models"], rows["demo"]["status"]) == (["*"], "active")


@pytest.mark.parametrize(
    ("name", "said"), [("demo", "there is a tenant 'demo' already"), (" ", "printable"), ("a\nb", "printable")]
)
def test_a_name_that_is_taken_or_unreadable_is_refused(name: str, said: str, routerd: CommandLine) -> None:
    printed = routerd("tenants", "create", name)
    assert (printed.code, said in printed.err) == (2, True)


def test_a_plain_list_has_a_line_for_each(routerd: CommandLine) -> None:
    lines = routerd("tenants", "list").out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["demo", "active"], ["narrow", "active"]]


def test_an_empty_list_says_how_to_begin(configured: CommandLine) -> None:
    configured("migrate")
    assert "routerd tenants create NAME" in configured("tenants", "list").out


def test_a_list_that_is_cut_says_so(routerd: CommandLine) -> None:
    assert "more than 1" in routerd("tenants", "list", "--limit", "1").out
