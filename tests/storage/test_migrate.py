"""How a migration file is cut into statements, and how files are named."""

from pathlib import Path

import pytest

from router.storage.migrate import read_migrations, statements


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT 'a;b', \"c;d\";", ["SELECT 'a;b', \"c;d\""]),
        ("SELECT 'it''s; fine';", ["SELECT 'it''s; fine'"]),
        ("-- one; two\nSELECT 1;", ["-- one; two\nSELECT 1"]),
        ("SELECT 1 -- it's\n; SELECT 2;", ["SELECT 1 -- it's", "SELECT 2"]),
        ("/* a; 'b */ SELECT 1;", ["/* a; 'b */ SELECT 1"]),
        ("DO $do$ BEGIN; x := $1; END; $do$; SELECT $$;$$;", ["DO $do$ BEGIN; x := $1; END; $do$", "SELECT $$;$$"]),
        (";; -- nothing;\n /* ; */ ;", []),
    ],
)
def test_semicolons_end_a_statement_only_outside_strings_and_comments(text: str, expected: list[str]) -> None:
    assert list(statements(text)) == expected


@pytest.mark.parametrize("name", ["init.sql", "1_init.sql", "0001-init.sql", "0001_init.mysql.sql"])
def test_a_misnamed_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(ValueError, match="NNNN_name"):
        read_migrations(tmp_path, "sqlite")


def test_two_files_of_one_number_are_refused(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("SELECT 1;")
    (tmp_path / "0001_b.sql").write_text("SELECT 1;")
    with pytest.raises(ValueError, match="0001 is taken by 0001_a"):
        read_migrations(tmp_path, "sqlite")
