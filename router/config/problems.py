"""What is wrong with a configuration: located, complete, and safe to print. Nothing here ever shows a secret."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

_LONGEST_SHOWN = 60
# Spellings of well-known credentials, and long runs without the separators of a name, an address or a path.
_LOOKS_SECRET = re.compile(
    r"(?i)\b(?:sk|pk|rk|gsk|hf|ghp|xox[a-z])[-_]\S{4,}|\b(?:key|token)[-_](?=\S*\d)\S{8,}|\b(?:bearer|basic)\s+\S{4,}"
    r"|eyJ[\w-]{8,}|AKIA\w{8,}|AIza\w{8,}|://[^/\s]*@"
)
_LONG_RUN = re.compile(r"[A-Za-z0-9+/=_-]{24,}")


@dataclass(frozen=True, slots=True)
class Mark:
    """Where something stands: 1-based line and column of `file`; line 0 means a whole file or a variable."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `key` is the path in the configuration; `found` and `expected` complete "found ..., expected ..."."""

    mark: Mark
    key: str
    found: str
    expected: str
    hint: str = ""

    @property
    def file(self) -> str:
        return self.mark.file

    @property
    def line(self) -> int:
        return self.mark.line

    @property
    def column(self) -> int:
        return self.mark.column

    def render(self) -> str:
        """`router.yaml:12:7: key: found "x"; expected y. Hint.`, without the parts that are empty."""
        where = f"{self.mark}: {self.key}" if self.key else str(self.mark)
        text = f"{where}: found {self.found}; expected {self.expected}"
        return f"{text}. {self.hint}" if self.hint else text

    def as_dict(self) -> dict[str, str | int]:
        """For machine-readable output."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "key": self.key,
            "found": self.found,
            "expected": self.expected,
            "hint": self.hint,
        }


class ConfigError(Exception):
    """The configuration cannot be used; `problems` is never empty and is in the order of the files.

    `files` are those that were read, so that they can be watched for the correction.
    """

    def __init__(self, problems: Sequence[Problem], files: Iterable[Path] = ()) -> None:
        self.files = tuple(files)
        self.problems = tuple(sorted(set(problems), key=lambda p: (p.mark.line == 0, p.file, p.line, p.column, p.key)))
        super().__init__(self.render())

    def render(self) -> str:
        """Plain text, one problem a line."""
        return "\n".join(problem.render() for problem in self.problems)


@dataclass(slots=True)
class Findings:
    """What the checks have to say: problems refuse the configuration, warnings do not."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def wrong(self, mark: Mark, key: str, found: str, expected: str, hint: str = "") -> None:
        self.problems.append(Problem(mark, key, found, expected, hint))

    def warn(self, mark: Mark, key: str, text: str) -> None:
        self.warnings.append(f"{mark}: {key}: {text}")


def shown(text: str) -> str:
    """`text` in quotes for an error message; what looks like a credential is `***`, what is long is cut."""
    if _LOOKS_SECRET.search(text) or any(_is_dense(run) for run in _LONG_RUN.findall(text)):
        return "***"
    flat = "".join(c if c.isprintable() else "?" for c in text)
    return f'"{flat[:_LONGEST_SHOWN]}..."' if len(flat) > _LONGEST_SHOWN else f'"{flat}"'


def _is_dense(run: str) -> bool:
    """Names have words; keys mix digits into long runs."""
    longest_word = max((len(word) for word in re.split(r"[-_/]", run)), default=0)
    return longest_word >= 20 and any(c.isdigit() for c in run) and any(c.isalpha() for c in run)


def one_of(names: Iterable[str]) -> str:
    """`one of a, b, c`, cut after twenty names."""
    ordered = sorted(names)
    rest = f" and {len(ordered) - 20} more" if len(ordered) > 20 else ""
    return f"one of {', '.join(ordered[:20])}{rest}" if ordered else "nothing here"


def did_you_mean(found: str, names: Iterable[str]) -> str:
    """A sentence naming the nearest of `names`, or ""."""
    by_fold = {name.lower(): name for name in names}
    near = get_close_matches(found.lower()[:100], by_fold, n=1, cutoff=0.6)
    return f'Did you mean "{by_fold[near[0]]}"?' if near else ""
