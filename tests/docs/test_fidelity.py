"""docs/fidelity.md lists what is dropped: all of it, with the reasons the code gives, and nothing else."""

import re
from pathlib import Path

from router.providers.openai_chat_codec.query_in import HINTS
from router.providers.openai_chat_codec.query_out import DROPPED

PAGE = (Path(__file__).parents[2] / "docs" / "fidelity.md").read_text()


def listed(heading: str) -> dict[str, str]:
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", section, re.MULTILINE))


def test_what_chat_targets_are_not_told_is_listed() -> None:
    assert listed("To targets of Chat Completions") == DROPPED


def test_what_of_a_chat_callers_request_may_be_dropped_is_listed() -> None:
    assert listed("From callers of Chat Completions") == HINTS
