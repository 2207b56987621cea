"""`drop_unsupported` of a provider: names of fields that may be refused, and that a request can do without."""

import re
from difflib import get_close_matches

from router.config.document import Node, words_at
from router.config.problems import Findings, one_of
from router.domain.omissions import ALWAYS_TAKEN, INDISPENSABLE, OMISSIBLE, OTHER_NAMES, TOOLS, kind_of

# Callers have fields of their own, whose names may be like others: reasoning_format, reasoning_effort.
_AS_GOOD_AS_WRITTEN = 0.88
_NAME = re.compile(r"[A-Za-z_][\w-]*(?:(?:\[\])?\.[A-Za-z_][\w:-]*)*")


def check_omissions(node: Node | None, key: str, findings: Findings) -> None:
    seen: set[str] = set()
    for word, mark, said in words_at(node):
        expected, hint = _mistake(word)
        if not expected and word in seen:
            expected = "each name once"
        seen.add(word)
        if expected:
            findings.wrong(mark, key, said, expected, hint)


def _mistake(name: str) -> tuple[str, str]:
    """(what would be right, a hint); two empty texts where it is right. A field that no API knows is some caller's own."""
    known = one_of([*OMISSIBLE, f"{TOOLS}KIND"])
    if name in OTHER_NAMES:
        return f"the name {OTHER_NAMES[name]}, which stands for it everywhere", ""
    if name in INDISPENSABLE:
        return f"{known}, or a caller's own field", f"A request without {name} would be another one."
    if name in ALWAYS_TAKEN:
        return f"{known}, or a caller's own field", f"{name} is never refused."
    if not _NAME.fullmatch(name):
        return f"{known}, or a caller's own field", ""
    if name.startswith(TOOLS):
        kind = name.removeprefix(TOOLS)
        return ("", "") if kind_of(kind) == kind else (f"{TOOLS}{kind_of(kind)}, which is every version of it", "")
    if name in OMISSIBLE:
        return "", ""
    near = get_close_matches(name.replace("-", "_"), OMISSIBLE, n=1, cutoff=_AS_GOOD_AS_WRITTEN)
    return (f"{known}, or a caller's own field", f'Did you mean "{near[0]}"?') if near else ("", "")
