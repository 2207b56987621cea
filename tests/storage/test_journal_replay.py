"""What a journal says happened, and what an attempt without an end is charged."""

import pytest
from msgspec.structs import replace

from router.domain.ledger import LedgerEntry, Outcome
from router.domain.usage import NanoUSD
from router.storage.journal_lines import Ended, Finished, Line, Opened, Progressed, encoded
from router.storage.journal_replay import REASON, UNSEEN_TOKENS, Replay, recovered_attempt
from tests.storage.journals import OPENED, POSTINGS, TERMS, ended, finished, opened

AT = OPENED.at
SECOND = 1_000_000


def replayed(*lines: Line) -> tuple[list[LedgerEntry], list[LedgerEntry]]:
    replay = Replay()
    done = list(replay.feed(b"".join(encoded(line) for line in lines)))
    return done, list(replay.orphans())


def test_a_finished_request_comes_as_it_was_written_and_has_no_orphan() -> None:
    entry = finished("r1")
    assert replayed(Opened(opened("r1")), Finished(entry)) == ([entry], [])


def test_a_json_attempt_without_an_end_is_charged_what_it_held() -> None:
    _, [entry] = replayed(Opened(opened("r1")))
    [attempt] = entry.attempts
    assert (attempt.cost, attempt.held, attempt.postings) == (OPENED.held, OPENED.held, POSTINGS)
    assert (attempt.outcome, attempt.reason, attempt.usage.estimated) == (Outcome.RECOVERED, REASON, True)
    assert (entry.id, entry.outcome, entry.cost, entry.usage.estimated) == ("r1", Outcome.RECOVERED, OPENED.held, True)
    assert (entry.tenant, entry.key, entry.alias, entry.fingerprint) == ("demo", "demo-key", "gpt", TERMS.fingerprint)


@pytest.mark.parametrize(
    ("seen", "tokens"),
    [
        ((), UNSEEN_TOKENS),
        (((AT + 2 * SECOND, 100),), 150),
        (((AT + 2 * SECOND, 100), (AT + 4 * SECOND, 300)), 400),
        (((AT + 2 * SECOND, 100), (AT + 4 * SECOND, 100)), 101),
        (((AT, 5),), 5 + UNSEEN_TOKENS),
        (((AT + SECOND, 50), (AT + SECOND // 2, 70)), 70 + UNSEEN_TOKENS),
    ],
    ids=["none", "one", "rate between two", "silent", "clock stood", "clock went back"],
)
def test_a_stream_is_charged_its_last_checkpoint_and_an_interval_more(
    seen: tuple[tuple[int, int], ...], tokens: int
) -> None:
    attempt = recovered_attempt(opened("r1", stream=True, held=NanoUSD(10**12)), seen)
    assert attempt.usage.output_tokens == tokens
    assert attempt.cost == 100 * 250 + tokens * 2000


def test_a_stream_is_never_charged_more_than_it_held() -> None:
    line = opened("r1", stream=True, held=NanoUSD(30_000))
    assert recovered_attempt(line, ((AT + SECOND, 10_000),)).cost == 30_000


@pytest.mark.parametrize("stream", [True, False])
def test_where_nothing_was_held_the_estimate_is_charged_and_never_zero(stream: bool) -> None:
    attempt = recovered_attempt(opened("r1", stream=stream, held=NanoUSD(0)), ())
    assert attempt.cost == 100 * 250 + (UNSEEN_TOKENS * 2000 if stream else 0)


def test_an_unknown_price_stays_unknown() -> None:
    unpriced = replace(TERMS, price_input=0, price_output=0, price_known=False)
    line = opened("r1", terms=unpriced, held=NanoUSD(0))
    _, [entry] = replayed(Opened(line))
    assert (entry.cost, entry.price_known, entry.usage.input_tokens) == (0, False, 100)


def test_attempts_that_ended_keep_their_end() -> None:
    first = ended(1, started_at=AT, duration_us=7)
    _, [entry] = replayed(Opened(opened("r1")), Ended("r1", first), Opened(opened("r1", 2, at=AT + 9, held=NanoUSD(77))))
    assert entry.attempts[0] == first
    assert (entry.attempts[1].outcome, entry.attempts[1].cost) == (Outcome.RECOVERED, 77)
    assert (entry.cost, entry.started_at, entry.duration_us) == (first.cost + 77, AT, 9)


def test_an_attempt_that_was_never_opened_reached_nobody_and_is_no_request() -> None:
    assert replayed(Ended("r1", ended()), Progressed("r2", 1, 5, AT)) == ([], [])


def test_lines_that_come_twice_count_once() -> None:
    lines = (
        Opened(opened("r1", stream=True)),
        Progressed("r1", 1, 10, AT + SECOND),
        Progressed("r1", 1, 30, AT + 2 * SECOND),
    )
    assert replayed(*lines, *lines) == replayed(*lines)


def test_a_journal_cut_at_any_byte_gives_what_was_whole_before_the_cut() -> None:
    lines: list[Line] = [
        Opened(opened("r1")),
        Opened(opened("r2", stream=True)),
        Progressed("r2", 1, 50, AT + SECOND),
        Ended("r1", ended()),
        Opened(opened("r1", 2)),
        Finished(finished("r2")),
        Finished(finished("r1", 1, 2)),
    ]
    raw = [encoded(line) for line in lines]
    content = b"".join(raw)
    for size in range(len(content) + 1):
        # A line that lacks only its line feed is whole.
        whole = sum(len(b"".join(raw[: n + 1])) - 1 <= size for n in range(len(raw)))
        replay = Replay()
        found = list(replay.feed(content[:size])), list(replay.orphans())
        assert found == replayed(*lines[:whole]), size
        assert replay.damaged == 0


def test_a_damaged_line_is_counted_and_the_others_are_read() -> None:
    good = encoded(Finished(finished("r1")))
    replay = Replay()
    assert [entry.id for entry in replay.feed(good.replace(b"r1", b"rX") + good)] == ["r1"]
    assert replay.damaged == 1
