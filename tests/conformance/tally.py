"""How many of how many: the table that a run prints at its end."""

from collections import Counter
from collections.abc import Iterator, Mapping

from tests.conformance.expected import is_mapped
from tests.conformance.recordings import EXPLAINED, exchange, names

COLUMNS = ("passed", "mapped", "explained", "failed")
HEADER = (
    "passed: requests and answers byte for byte, usage as recorded. mapped: the provider's 401, 403, 429, 5xx as our error.",
    "explained: not replayed, reasons in tests/conformance/explained.json. What fetches, counts or compacts responses",
    "(recorded as responses_get, responses_aux) are other routes: 404, since nothing is kept under those ids, or 501.",
)


def class_of(name: str, failed: bool) -> str:
    if failed:
        return "failed"
    if name in EXPLAINED:
        return "explained"
    return "mapped" if is_mapped(exchange(name)) else "passed"


def lines_of(failed: Mapping[str, bool], tests: int) -> Iterator[str]:
    """The table over the exchanges that were tried; `failed` says of each whether any of its `tests` failed."""
    yield from HEADER
    rows: dict[tuple[str, str], Counter[str]] = {}
    for name, has_failed in sorted(failed.items()):
        family, kind, _ = name.split("/")
        rows.setdefault((family, kind), Counter())[class_of(name, has_failed)] += 1
    yield f"{'provider':<22}{'api':<26}" + "".join(f"{column:>10}" for column in COLUMNS)
    for (family, kind), counts in rows.items():
        yield f"{family:<22}{kind:<26}" + "".join(f"{counts[column] or '-':>10}" for column in COLUMNS)
    total: Counter[str] = sum(rows.values(), Counter())
    yield f"{'all':<48}" + "".join(f"{total[column]:>10}" for column in COLUMNS)
    good = total["passed"] + total["mapped"]
    share = f"{100 * total['explained'] / max(1, total.total()):.1f} % explained"
    yield f"{good} of {total.total()} exchanges as promised, {share} ({len(names())} recorded; {tests} tests)"
