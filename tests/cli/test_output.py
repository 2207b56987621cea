"""What is printed: colours and layout on a terminal, whole aligned lines on a pipe, nothing a terminal would obey."""

from io import StringIO

import pytest

from router.cli.output import Column, Grid, Screen, show_problems
from router.cli.wording import counted, duration, limits_text, per_million, read_moment, split_words
from router.config.problems import Mark, Problem
from router.domain.limits import Limits

GRID = Grid((Column("name"), Column("count", right=True)), [("a" * 120, "1"), ("b", "1000")], ("sum", "1001"))


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    return Terminal()


def test_a_pipe_gets_whole_aligned_lines_without_colour() -> None:
    pipe = StringIO()
    Screen(pipe).grid(GRID)
    Screen(pipe).line("x" * 200, "bold red")
    lines = pipe.getvalue().splitlines()
    assert lines[2] == "b" + " " * 119 + "   1000"
    assert lines[4] == "x" * 200
    assert "\x1b" not in pipe.getvalue()


def test_a_terminal_gets_colour_and_at_most_its_width(terminal: Terminal) -> None:
    Screen(terminal).line("good", "green")
    Screen(terminal).grid(GRID)
    Screen(terminal).listed(["word " * 40])
    Screen(terminal).facts([("name", "value " * 40)])
    assert "\x1b[32mgood\x1b[0m" in terminal.getvalue()
    plain = terminal.getvalue().replace("\x1b[32m", "").replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert max(len(line) for line in plain.splitlines()) <= 80
    assert " 1000" in plain


def test_no_color_is_respected(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    Screen(terminal).line("good", "green")
    assert "\x1b[32m" not in terminal.getvalue()


@pytest.mark.parametrize("stream", [StringIO, Terminal])
def test_names_cannot_reach_the_terminal_as_commands(stream: type[StringIO]) -> None:
    out = stream()
    screen = Screen(out)
    evil = "a\x1b[2Jb\x9bc\rd[bold]e[/bold]\u202ef"
    screen.line(evil)
    screen.listed([evil])
    screen.facts([(evil, evil)])
    screen.grid(Grid((Column("x"),), [(evil,)]))
    assert out.getvalue().count("a?[2Jb?c?d[bold]e[/bold]?f") == 5


def test_problems_are_a_line_each_on_a_pipe_and_a_block_each_on_a_terminal(terminal: Terminal) -> None:
    problems = [Problem(Mark("router.yaml", 3, 7), "server.drain", '"soon"', "a duration", "Try 30s.")]
    pipe = StringIO()
    show_problems(Screen(pipe), problems)
    show_problems(Screen(terminal), problems)
    assert pipe.getvalue() == 'router.yaml:3:7: server.drain: found "soon"; expected a duration. Try 30s.\n'
    assert "router.yaml:3:7  server.drain" in terminal.getvalue()
    assert 'found     "soon"' in terminal.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "250ms"), (5, "5s"), (90, "90s"), (120, "2m"), (900, "15m"), (86400, "1d"), (0, "0s"), (1.5, "1.5s")],
)
def test_durations_are_exact(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_small_words() -> None:
    assert [counted(n, "key") for n in (0, 1, 2)] == ["0 keys", "1 key", "2 keys"]
    assert split_words(["a, b", "b", "", "c"]) == ("a", "b", "c")
    assert limits_text(Limits(60, None, 5)) == "60 requests/min, 5 at a time"
    assert [per_million(n) for n in (250_000_000, 37, 10_000_000_000)] == ["0.25", "0.000000037", "10.00"]


def test_moments_are_spans_from_now_or_dates() -> None:
    now = 10**15
    assert read_moment("1h30m", "--since", now=now, ahead=False) == now - 5400 * 10**6
    assert read_moment("2d", "--expires", now=now, ahead=True) == now + 172_800 * 10**6
    assert read_moment("1970-01-02T00:00:00+01:00", "--since", now=now, ahead=False) == 82_800 * 10**6
    assert read_moment("3650d", "--since", now=1, ahead=False) == 0
