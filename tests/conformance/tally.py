"""How many of how many: the table that a run prints at its end, a row for each provider's API."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache

from tests.conformance.every import NOT_SPOKEN, labels, recording
from tests.conformance.expected import is_mapped
from tests.conformance.recordings import BEYOND_SDKS, EXPLAINED, EXPLAINED_CHATS, exchange, names

COLUMNS = ("passed", "mapped", "explained", "failed", "not run", "not spoken")
HEADER = (
    "passed: an API with callers byte for byte, at the recorded usage; a chat is also read, told to every caller, whose",
    "SDKs read it, and asked of every dialect. mapped: the provider's 401, 403, 429, 5xx as our error. explained: not what",
    "its folder says, or more than an SDK knows (explained.json). not spoken: no API of routerd's (not_spoken.json).",
)
WIDTH = 124


@cache
def _replayed() -> frozenset[str]:
    return frozenset(names())


def class_of(name: str, failed: bool | None) -> str:
    """`failed`: whether any of its tests did, None where none was run."""
    if name in EXPLAINED | EXPLAINED_CHATS | BEYOND_SDKS:
        return "failed" if failed else "explained"
    if failed is None:
        return "not spoken" if labels()[name] in NOT_SPOKEN else "not run"
    if failed:
        return "failed"
    return "mapped" if name in _replayed() and is_mapped(exchange(name)) else "passed"


def lines_of(failed: Mapping[str, bool], tests: int, *, by_feature: bool) -> Iterator[str]:
    """The table over all exchanges; `failed` says of those that were tried whether any of their `tests` failed."""
    yield from HEADER
    rows: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for name, label in labels().items():
        rows.setdefault((name.split("/")[0], label), []).append((name, class_of(name, failed.get(name))))
    yield f"{'provider':<22}{'api':<38}" + "".join(f"{column:>11}" for column in COLUMNS)
    total: Counter[str] = Counter()
    for (provider, label), told in rows.items():
        counts = Counter(kind for _, kind in told)
        total += counts
        yield f"{provider:<22}{label:<38}" + "".join(f"{counts[column] or '-':>11}" for column in COLUMNS)
        if by_feature and counts.keys() != {"not spoken"}:
            yield from textwrap.wrap(_features(told), WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 4)
    yield f"{'all':<60}" + "".join(f"{total[column]:>11}" for column in COLUMNS)
    good, spoken = total["passed"] + total["mapped"], total.total() - total["not spoken"]
    share = f"{100 * total['explained'] / max(1, spoken):.1f} % explained"
    yield f"{good} of {spoken} exchanges as promised, {share} ({total.total()} recorded; {tests} tests)"


def _features(told: list[tuple[str, str]]) -> str:
    """`tools 12, thinking 4+1 explained`: the exchanges with each feature, as promised and not."""
    found: dict[str, Counter[str]] = {}
    for name, kind in told:
        for feature in recording(name).features or ("plain",):
            found.setdefault(feature, Counter())["" if kind in {"passed", "mapped"} else f" {kind}"] += 1
    parts = ((feature, sorted(counts.items())) for feature, counts in sorted(found.items()))
    return ", ".join(f"{feature} " + "+".join(f"{count}{kind}" for kind, count in counts) for feature, counts in parts)
