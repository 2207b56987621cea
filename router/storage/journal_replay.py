"""What a journal's lines say happened. A request without an end is charged by what is known: it must never be missing."""

import zlib
from collections.abc import Iterator
from pathlib import Path

from msgspec import structs

from router.domain.ledger import AttemptEntry, LedgerEntry, OpenedAttempt, Outcome
from router.domain.usage import PER_MILLION, NanoUSD, Usage, usage_sum
from router.storage.journal_lines import Ended, Finished, Header, Line, Opened, Progressed, decoded

INTERVAL_US = 1_000_000
UNSEEN_TOKENS = 64
"""What a stream may have sent in an interval when no rate was seen."""
REASON = "its process died before it ended"


def content_of(path: Path) -> bytes:
    """A segment's lines, wherever they are now. Raises OSError; what cannot be unpacked is one damaged line."""
    packed = path.with_suffix(".packed")
    try:
        return zlib.decompress(packed.read_bytes())
    except FileNotFoundError:
        return path.with_suffix(".journal").read_bytes().rstrip(b"\0")
    except zlib.error:
        return b"cannot be unpacked\n"


def finished_in(path: Path) -> list[LedgerEntry]:
    """The requests whose last line stands in this segment. Raises OSError."""
    lines = (decoded(raw) for raw in content_of(path).split(b"\n"))
    return [line.entry for line in lines if isinstance(line, Finished)]


class Replay:
    """Lines in, in the order they were written, entries out. A line may come more than once."""

    def __init__(self) -> None:
        self._stories: dict[str, _Story] = {}
        self.damaged = 0

    def feed(self, content: bytes) -> Iterator[LedgerEntry]:
        """The content of one segment; the requests that finished in it. Its last line may be torn."""
        *lines, last = content.split(b"\n")
        for raw in lines:
            line = decoded(raw)
            if line is None:
                self.damaged += 1
            elif (entry := self._take(line)) is not None:
                yield entry
        line = decoded(last)
        if line is not None and (entry := self._take(line)) is not None:
            yield entry

    def orphans(self) -> Iterator[LedgerEntry]:
        """The requests that have no end, each with one made up for it."""
        for request, story in self._stories.items():
            if story.opened:
                yield _recovered(request, story)

    def _take(self, line: Line) -> LedgerEntry | None:
        match line:
            case Finished(entry):
                self._stories.pop(entry.id, None)
                return entry
            case Opened(attempt):
                self._story(attempt.request).opened[attempt.attempt] = attempt
            case Ended(request, ended):
                self._story(request).ended[ended.attempt] = ended
            case Progressed(request, number, tokens, at):
                self._story(request).saw(number, at, tokens)
            case Header():
                pass
        return None

    def _story(self, request: str) -> "_Story":
        story = self._stories.get(request)
        if story is None:
            story = self._stories[request] = _Story()
        return story


class _Story:
    """One unfinished request. `seen` has the last two checkpoints of an attempt: (microseconds, tokens)."""

    __slots__ = ("ended", "opened", "seen")

    def __init__(self) -> None:
        self.opened: dict[int, OpenedAttempt] = {}
        self.ended: dict[int, AttemptEntry] = {}
        self.seen: dict[int, tuple[tuple[int, int], ...]] = {}

    def saw(self, attempt: int, at: int, tokens: int) -> None:
        """Lines that were carried on may come behind a later one of a segment that is still there."""
        points = {at: tokens} | dict(self.seen.get(attempt, ()))
        self.seen[attempt] = tuple(sorted(points.items())[-2:])


def recovered_attempt(opened: OpenedAttempt, seen: tuple[tuple[int, int], ...]) -> AttemptEntry:
    """An attempt of which nothing is known after `seen`, its last two checkpoints at most: (microseconds, tokens).

    A JSON call is charged what it held, a stream the tokens of its last checkpoint and of one interval more at the rate
    between the checkpoints, but not more than it held. Where nothing was held, no budget bounds it.
    """
    terms = opened.terms
    tokens = (seen[-1][1] if seen else 0) + (_tokens_in_interval(opened, seen) if opened.stream else 0)
    cost = -(-(opened.input_tokens * terms.price_input + tokens * terms.price_output) // PER_MILLION)
    if opened.held:
        cost = min(cost, opened.held) if opened.stream else opened.held
    return AttemptEntry(
        attempt=opened.attempt,
        alias=terms.alias,
        provider=terms.provider,
        target=terms.target,
        upstream_model=terms.upstream_model,
        credential=terms.credential,
        outcome=Outcome.RECOVERED,
        started_at=opened.at,
        duration_us=max(seen[-1][0] - opened.at, 0) if seen else 0,
        usage=Usage(opened.input_tokens, tokens, estimated=True),
        cost=NanoUSD(cost),
        price_known=terms.price_known,
        reason=REASON,
        held=opened.held,
        postings=terms.postings,
    )


def _tokens_in_interval(opened: OpenedAttempt, seen: tuple[tuple[int, int], ...]) -> int:
    if not seen:
        return UNSEEN_TOKENS
    before, last = ((opened.at, 0), *seen)[-2:]
    elapsed = last[0] - before[0]
    return max(-(-(last[1] - before[1]) * INTERVAL_US // elapsed), 1) if elapsed > 0 else UNSEEN_TOKENS


def _recovered(request: str, story: _Story) -> LedgerEntry:
    opened = story.opened
    lost = {number: recovered_attempt(line, story.seen.get(number, ())) for number, line in opened.items()}
    attempts = tuple((lost | story.ended)[number] for number in sorted(lost | story.ended))
    first = opened[min(opened)]
    terms = first.terms
    started_at = min(attempt.started_at for attempt in attempts)
    return LedgerEntry(
        id=request,
        request_id=first.request_id,
        tenant_id=terms.tenant_id,
        tenant=terms.tenant,
        key_id=terms.key_id,
        key=terms.key,
        api=terms.api,
        alias=terms.alias,
        requested_model=terms.requested_model,
        stream=first.stream,
        outcome=Outcome.RECOVERED,
        status=0,
        code="",
        started_at=started_at,
        duration_us=max(attempt.started_at + attempt.duration_us for attempt in attempts) - started_at,
        first_byte_us=None,
        usage=structs.replace(usage_sum([attempt.usage for attempt in attempts]), estimated=True),
        cost=NanoUSD(sum(attempt.cost for attempt in attempts)),
        price_known=all(attempt.price_known for attempt in attempts),
        attempts=attempts,
        fingerprint=terms.fingerprint,
        member=terms.member,
    )
