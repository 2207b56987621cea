"""The command line of the bench: what a run does when nothing is said, and what makes no sense."""

from pathlib import Path

import pytest

from bench.arguments import MODES, Options, read_arguments
from bench.scenarios import GROUPS


def test_nothing_said_is_the_whole_comparison() -> None:
    whole = Options("compare", tuple(GROUPS), 3, 1.5, 1000, "sqlite", None, None, False)
    assert read_arguments([]) == whole


def test_rounds_stores_and_files_are_taken_as_given() -> None:
    found = read_arguments(["--rounds", "7", "--seconds", "2", "--store", "postgres-redis", "--json", "out.json", "--peers"])
    assert (found.rounds, found.seconds, found.store, found.json, found.peers) == (
        *(7, 2.0, "postgres-redis"),
        *(Path("out.json"), True),
    )


def test_only_keeps_the_order_of_the_table_and_leaves_the_rest_out() -> None:
    found = read_arguments(["--only", "stream,json,stream"])
    assert (found.groups, found.streams) == (("json", "stream"), 0)


def test_quick_is_short_and_gives_way_to_what_is_said() -> None:
    quick, longer = read_arguments(["--quick"]), read_arguments(["--quick", "--rounds", "2"])
    assert (quick.rounds, quick.streams) == (1, 200)
    assert quick.seconds < 1
    assert longer.rounds == 2


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_is_another_run(mode: str) -> None:
    assert read_arguments([f"--{mode}"]).mode == mode


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--rounds", "0"], "expected a number from 1 to 20"),
        (["--rounds", "many"], "found 'many'"),
        (["--seconds", "61"], "expected a number from 0.1 to 60"),
        (["--only", "json,images"], "found 'images'; expected some of json, stream, large, memory"),
        (["--store", "mysql"], "invalid choice: 'mysql'"),
        (["--scale", "--ablation"], "two runs: choose one"),
        (["--scale", "--peers"], "does not go with --scale"),
    ],
)
def test_what_makes_no_sense_ends_with_a_word_about_it(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        read_arguments(words)
    assert end.value.code == 2
    assert named in capsys.readouterr().err
