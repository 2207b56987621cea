"""What an answer says, in no dialect's words: what plain readings make of recordings and of what callers are told."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from tests.conformance.expected import Counts

# How a choice ended, in fewer words than any dialect has.
STOP, LENGTH, TOOLS, FILTERED, PAUSED, OTHER = "stop", "length", "tools", "filtered", "paused", "other"

Call = tuple[str, str]
"""A tool's name and its arguments: text as it was written."""


@dataclass(frozen=True)
class Said:
    """One choice. `text` has refusals too. `thought` is without blanks: dialects put more or less of them between two."""

    text: str
    thought: str
    calls: tuple[Call, ...]
    finish: str
    is_refusal: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "thought", "".join(self.thought.split()))


@dataclass(frozen=True)
class Answer:
    """`counts` None: the provider does not say. `broken`: its stream has an error, or no end."""

    choices: tuple[Said, ...]
    counts: Counts | None
    broken: bool = False


def same_arguments(ours: Iterable[Call], theirs: Iterable[Call]) -> bool:
    """Whether these are the same calls: JSON is compared by what it means."""
    return [(name, _meant(arguments)) for name, arguments in ours] == [
        (name, _meant(arguments)) for name, arguments in theirs
    ]


def _meant(arguments: str) -> object:
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
