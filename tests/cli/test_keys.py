"""`routerd keys`: what is made works for the daemon, is shown once, and is refused once revoked."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from router.config.load import load
from router.config.secrets import Purpose, derive, server_secret
from router.domain.identity import ApiKey, Tenant, digest_of, parse_presented_key
from router.storage.database import Database
from router.storage.keys import Keys
from tests.cli.commandline import CONFIG, CommandLine
from tests.cli.daemon_socket import DaemonSocket

CREATE = ("keys", "create", "--tenant", "demo", "--name", "ci")


def stored(routerd: CommandLine, prefix: str) -> tuple[ApiKey, Tenant]:
    async def find(db: Database) -> tuple[ApiKey, Tenant] | None:
        return await Keys(db).find_key(prefix)

    found = routerd.database(find)
    assert found is not None
    return found


def test_on_a_pipe_the_key_stands_alone(routerd: CommandLine) -> None:
    printed = routerd(*CREATE)
    assert printed.code == 0
    assert re.fullmatch(r"sk-[a-z2-7]{16}\.[a-z2-7]{32}\n", printed.out)
    assert "never shown again" in printed.err


def test_the_daemon_recognises_what_was_made(routerd: CommandLine) -> None:
    presented = parse_presented_key(routerd(*CREATE).out.strip())
    assert presented is not None
    key, tenant = stored(routerd, presented[0])
    secret = server_secret(load(routerd.folder / "router.yaml", {}).config)
    assert key.digest == digest_of(presented[1], derive(secret, Purpose.API_KEYS))
    assert (key.name, tenant.name, key.disabled) == ("ci", "demo", False)


def test_every_right_and_limit_is_stored(routerd: CommandLine) -> None:
    options = ["--prefix", "mine", "--scopes", "chat,models", "--models", "smart", "--models", "wild/*"]
    limits = ["--rpm", "6", "--tpm", "7", "--parallel", "8", "--expires", "2999-01-31"]
    printed = routerd(*CREATE, *options, *limits, "--json")
    key, _ = stored(routerd, "mine")
    assert printed.code == 0
    assert printed.document["key"].startswith("sk-mine.")
    assert printed.document["warnings"] == []
    assert (key.scopes, key.models) == (("chat", "models"), ("smart", "wild/*"))
    assert (key.limits.requests, key.limits.tokens, key.limits.parallel) == (6, 7, 8)
    assert key.expires_at == int(datetime(2999, 1, 31, tzinfo=UTC).timestamp()) * 1_000_000


def test_a_span_counts_from_now(routerd: CommandLine) -> None:
    routerd(*CREATE, "--prefix", "month", "--expires", "30d")
    key, _ = stored(routerd, "month")
    expires = datetime.fromtimestamp((key.expires_at or 0) / 1e6, UTC)
    assert abs(expires - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tenant", "dmo"], 'Did you mean "demo"?'),
        (["--tenant", "zzzzzz"], "Tenants: one of demo, narrow."),
        (["--scopes", "chats"], 'Did you mean "chat"?'),
        (["--expires", "2020-01-01"], "has passed already"),
        (["--expires", "30"], "expected a span such as 24h or 30d"),
        (["--expires", "soon"], "expected a span such as 24h or 30d"),
        (["--prefix", "has space"], "1 to 32 of the characters"),
        (["--prefix", "sk-x"], "not starting with sk-"),
        (["--prefix", "x" * 33], "1 to 32 of the characters"),
        (["--prefix", "first"], "is taken"),
        (["--rpm", "0"], "--rpm"),
        (["--name", " "], "1 to 200 printable characters"),
    ],
)
def test_a_wrong_option_is_refused_and_nothing_is_made(options: list[str], said: str, routerd: CommandLine) -> None:
    printed = routerd(*CREATE, *options)
    assert (printed.code, printed.out) == (2, "")
    assert said in printed.err
    assert [row["prefix"] for row in routerd("keys", "list", "--json").document["keys"]] == ["first", "tight"]


def test_a_model_that_reaches_nothing_is_warned_about(routerd: CommandLine) -> None:
    printed = routerd(*CREATE, "--models", "smrt")
    assert (printed.code, "'smrt' names no alias. Did you mean \"smart\"?" in printed.err) == (0, True)


def test_without_a_database_the_way_to_one_is_told(configured: CommandLine) -> None:
    for command in (CREATE, ("keys", "list"), ("keys", "revoke", "first", "--yes")):
        printed = configured(*command)
        assert (printed.code, "no database yet" in printed.err) == (1, True)
        assert "Start `routerd` once" in printed.err


def test_a_list_shows_states_and_no_secret_or_digest(routerd: CommandLine) -> None:
    routerd("keys", "revoke", "first", "--yes")
    plain, machine = routerd("keys", "list"), routerd("keys", "list", "--json")
    lines = plain.out.splitlines()
    assert lines[0].split() == ["prefix", "name", "tenant", "state", "models", "expires"]
    assert lines[1].split()[:4] == ["first", "first", "demo", "revoked"]
    digest = stored(routerd, "tight")[0].digest
    assert digest not in plain.out + machine.out
    assert [row["state"] for row in machine.document["keys"]] == ["revoked", "active"]


def test_a_list_of_one_tenant_and_a_list_in_pieces(routerd: CommandLine) -> None:
    narrow = routerd("keys", "list", "--tenant", "narrow", "--json").document
    piece = routerd("keys", "list", "--limit", "1", "--json").document
    rest = routerd("keys", "list", "--after", "first", "--json").document
    assert [row["prefix"] for row in narrow["keys"]] == ["tight"]
    assert ([row["prefix"] for row in piece["keys"]], piece["has_more"]) == (["first"], True)
    assert ([row["prefix"] for row in rest["keys"]], rest["has_more"]) == (["tight"], False)


def test_a_list_of_an_unknown_tenant_is_refused(routerd: CommandLine) -> None:
    printed = routerd("keys", "list", "--tenant", "dem")
    assert (printed.code, 'Did you mean "demo"?' in printed.err) == (2, True)


@pytest.mark.parametrize("named", ["first", "sk-first", "sk-first.a-secret-of-the-tests-only"])
def test_a_key_is_revoked_by_whatever_its_owner_has_of_it(named: str, routerd: CommandLine) -> None:
    printed = routerd("keys", "revoke", named, "--yes")
    assert printed.code == 0
    assert "a-secret" not in printed.out + printed.err
    assert stored(routerd, "first")[0].disabled


def test_a_key_is_revoked_by_its_id_and_a_second_time_without_harm(routerd: CommandLine) -> None:
    identity = stored(routerd, "first")[0].id
    first = routerd("keys", "revoke", identity, "--yes", "--json").document
    second = routerd("keys", "revoke", identity, "--yes", "--json").document
    assert (first["state"], first["was_revoked"], second["was_revoked"]) == ("revoked", False, True)


def test_nothing_is_revoked_without_a_yes(routerd: CommandLine) -> None:
    printed = routerd("keys", "revoke", "first")
    assert (printed.code, "pass --yes" in printed.err) == (2, True)
    assert not stored(routerd, "first")[0].disabled


def test_an_unknown_key_is_answered_with_the_nearest(routerd: CommandLine) -> None:
    printed = routerd("keys", "revoke", "fist", "--yes")
    assert (printed.code, 'Did you mean "first"?' in printed.err) == (2, True)


def test_a_running_daemon_is_told_of_every_change(routerd: CommandLine, daemon: DaemonSocket) -> None:
    created = routerd(*CREATE)
    routerd("keys", "revoke", "first", "--yes")
    routerd("tenants", "create", "new")
    assert daemon.asked == ["POST /forget-keys"] * 3
    assert "The running daemon knows already." in created.err


def test_a_daemon_in_trouble_does_not_undo_the_change(routerd: CommandLine, daemon: DaemonSocket) -> None:
    daemon.status = 500
    printed = routerd(*CREATE, "--prefix", "made")
    assert (printed.code, stored(routerd, "made")[0].name) == (0, "ci")
    assert "within 5 seconds" in printed.err


MEMBERS = """  memberships:
    - {tenant: demo, email: Ann@example.com, role: user, budget_usd: 5}
    - {tenant: narrow, email: bob@example.com, role: user}
"""


@pytest.fixture
def with_members(bare: CommandLine) -> CommandLine:
    bare.write(CONFIG + MEMBERS)
    bare.prepare()
    return bare


def test_a_key_of_a_member_is_listed_with_whose_it_is(with_members: CommandLine) -> None:
    made = with_members(*CREATE, "--prefix", "hers", "--member", "ANN@example.com", "--json")
    assert (made.code, made.document["member"]) == (0, "ann@example.com")
    plain, machine = with_members("keys", "list"), with_members("keys", "list", "--json")
    lines = plain.out.splitlines()
    assert lines[0].split() == ["prefix", "name", "tenant", "member", "state", "models", "expires"]
    (hers,) = (line for line in lines if line.startswith("hers"))
    assert hers.split()[:5] == "hers ci demo ann@example.com active".split()
    assert {row["prefix"]: row["member"] for row in machine.document["keys"]} == {
        "first": None,
        "hers": "ann@example.com",
        "tight": None,
    }


def test_the_key_of_somebody_who_is_no_longer_a_member_is_listed_as_such(with_members: CommandLine) -> None:
    with_members(*CREATE, "--prefix", "hers", "--member", "ann@example.com")

    async def leave(db: Database) -> int:
        return await db.run("UPDATE memberships SET disabled = 1")

    with_members.database(leave)
    states = {row["prefix"]: row["state"] for row in with_members("keys", "list", "--json").document["keys"]}
    assert (states["hers"], states["first"]) == ("no member", "active")
    refused = with_members("explain", "--key", "hers")
    assert (refused.code, "no longer a member" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("email", "said"), [("anne@example.com", 'Did you mean "ann@example.com"?'), ("bob@example.com", "is no member of the")]
)
def test_a_key_is_made_for_a_member_of_its_own_tenant_only(email: str, said: str, with_members: CommandLine) -> None:
    refused = with_members(*CREATE, "--member", email)
    assert (refused.code, said in refused.err) == (2, True)


def test_without_members_the_way_to_one_is_told(routerd: CommandLine) -> None:
    refused = routerd(*CREATE, "--member", "ann@example.com")
    assert (refused.code, "bootstrap.memberships" in refused.err) == (2, True)
