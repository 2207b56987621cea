"""`routerd migrate`: applies what is pending once, asks without touching, refuses a database of a later release."""

from pathlib import Path

from router.storage.database import Database
from tests.cli.commandline import CommandLine


def test_a_new_database_is_made_and_the_second_run_finds_nothing_to_do(configured: CommandLine) -> None:
    first, second = configured("migrate"), configured("migrate")
    assert (first.code, first.out.startswith("Applied ")) == (0, True)
    assert (second.code, second.out.startswith("Nothing to do: the database is at ")) == (0, True)


def test_asking_for_the_status_makes_no_database(configured: CommandLine) -> None:
    printed = configured("migrate", "--status")
    assert (printed.code, printed.out.splitlines()[0].split()) == (0, ["0001_init", "pending"])
    assert not Path("data").exists()


def test_the_json_document_tells_before_and_after(configured: CommandLine) -> None:
    before = configured("migrate", "--status", "--json").document
    applied = configured("migrate", "--json").document
    after = configured("migrate", "--status", "--json").document
    assert before["applied"] == []
    assert applied["applied_now"] == applied["applied"] == before["pending"]
    assert (after["pending"], after["applied_now"]) == ([], [])


def test_a_database_of_a_later_release_is_refused(routerd: CommandLine) -> None:
    async def from_the_future(db: Database) -> None:
        await db.run("INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (9999, '9999_x', 'y', 0)")

    routerd.database(from_the_future)
    for command in (["migrate"], ["migrate", "--status"], ["usage"], ["keys", "list"]):
        printed = routerd(*command)
        assert (printed.code, "a later routerd has used it" in printed.err) == (2, True)


def test_a_database_behind_this_release_is_told_how_to_catch_up(configured: CommandLine) -> None:
    async def touch(db: Database) -> None:
        await db.ping()

    configured.database(touch)
    printed = configured("usage")
    assert (printed.code, "run `routerd migrate`" in printed.err) == (2, True)


def test_a_database_that_cannot_be_opened_says_why(configured: CommandLine) -> None:
    Path("data").mkdir()
    Path("data/router.db").write_text("this is no database, but a text of some length\n" * 40)
    printed = configured("migrate")
    assert (printed.code, "the file is not a SQLite database" in printed.err) == (1, True)


def test_a_server_that_does_not_answer_is_a_failure_without_its_password(bare: CommandLine) -> None:
    bare.write(f'server: {{secret: {"s" * 40}}}\ndatabase: {{url: "postgresql://me:hidden-word@127.0.0.1:9/x"}}\n')
    printed = bare("migrate")
    assert (printed.code, "not available" in printed.err) == (1, True)
    assert "hidden-word" not in printed.err
