"""YAML that is broken, hostile or ambiguous is refused with its place, quickly, and never half read."""

from pathlib import Path

import pytest

from router.config.document import MAX_NODES
from tests.config.samples import MINIMAL, only, problems


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("", 1, "an empty file"),
        ("# only a comment\n", 1, "an empty file"),
        ("null\n", 1, "an empty file"),
        ("- a\n", 1, "a list"),
        ("hello\n", 1, "a single value"),
        ("server:\n\tlisten: x\n", 2, "a tab"),
        ("server: [\n", 2, "YAML mistake"),
        ("a: 1\n---\nb: 2\n", 2, "a second document"),
        ("a: *x\n", 1, "a YAML alias"),
        ("a: &x 1\n", 1, "a YAML anchor"),
        ("a: !!python/object:os.system x\n", 1, "a YAML tag"),
        ("? [a]\n: b\n", 1, "a collection as a key"),
        (b"a: \xff\n", 1, "the byte 0xff"),
        (b"a: \x00\n", 1, "a control character"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(tmp_path: Path, text: str | bytes, line: int, found: str) -> None:
    assert any(p.line == line and found in p.found for p in problems(tmp_path, text))


def test_a_key_given_twice_names_both_lines(tmp_path: Path) -> None:
    problem = only(problems(tmp_path, MINIMAL + "health: {}\npricing: {}\nhealth: {}\n"))
    assert problem.line == 8
    assert problem.expected == "one; the first is in line 6"


def test_several_ambiguities_are_reported_together_with_mistakes_of_the_schema(tmp_path: Path) -> None:
    text = MINIMAL + "health: {mode: models, mode: off}\nredis: {url: &u ''}\nserver: {listn: x}\n"
    assert [p.line for p in problems(tmp_path, text)] == [6, 7, 8]


def test_an_alias_bomb_is_refused_before_it_grows(tmp_path: Path) -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join(['*' + a] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    assert {"a YAML anchor (&name)", "a YAML alias (*name)"} <= {p.found for p in problems(tmp_path, "\n".join(lines))}


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    assert "levels of nesting" in only(problems(tmp_path, "a: " + "[" * 200_000)).found


def test_too_many_values_are_refused(tmp_path: Path) -> None:
    assert f"more than {MAX_NODES} values" in only(problems(tmp_path, "a: [" + "1," * (MAX_NODES + 1) + "]")).found


def test_a_file_over_a_megabyte_is_refused_unread(tmp_path: Path) -> None:
    assert "larger than" in only(problems(tmp_path, b"a: " + b"x" * 2**20)).found


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    assert problems(tmp_path, b"\xef\xbb\xbf" + MINIMAL.encode()) == ()


def test_an_alias_like_secret_is_not_quoted(tmp_path: Path) -> None:
    text = "providers: {o: {type: openai, api_key: *canary}, p: {type: openai, api_key: !canary x}}"
    found = problems(tmp_path, text)
    assert found
    assert not any("canary" in p.render() for p in found)
