"""A whole answer and its stream say the same."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.domain.chat import (
    Audio,
    ChatResult,
    Choice,
    Citation,
    Document,
    Family,
    Finish,
    Image,
    Logprob,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Source,
    Text,
    ToolCall,
)
from router.domain.events import (
    Broken,
    Finished,
    PartEnded,
    PartStarted,
    SignatureDelta,
    Started,
    StreamEvent,
    TextDelta,
    UsageReported,
)
from router.domain.folding import Fold, folded, unfolded
from router.domain.usage import Usage

texts = st.text(max_size=12)
families = st.sampled_from(Family)
counts = st.integers(min_value=0, max_value=9999)
raws = st.builds(lambda text: msgspec.Raw(msgspec.json.encode({"said": text})), texts)
logprobs = st.builds(Logprob, texts, st.floats(-9, 0), st.none() | st.tuples(counts), st.just(()))
citations = st.builds(Citation, families, raws, texts, texts, texts, st.none() | counts, st.none() | counts)
sources = st.builds(Source, texts, texts)
parts: st.SearchStrategy[Part] = st.one_of(
    st.builds(
        Text,
        texts,
        citations=st.lists(citations, max_size=2).map(tuple),
        logprobs=st.lists(logprobs, max_size=2).map(tuple),
        signature=texts,
    ),
    st.builds(Reasoning, texts, st.none() | families, texts, texts, texts, st.booleans()),
    st.builds(ToolCall, texts, texts, texts, st.booleans(), texts, st.none() | families, texts),
    st.builds(Refusal, texts),
    st.builds(Audio, sources, texts, texts, texts, st.none() | counts),
    st.builds(Image, sources, texts),
    st.builds(Document, sources, texts),
    st.builds(Opaque, families, texts, raws),
)
choices = st.builds(Choice, st.lists(parts, max_size=4).map(tuple), st.sampled_from(Finish), texts, st.none() | texts)
results = st.builds(
    ChatResult,
    families,
    texts,
    texts,
    st.lists(choices, max_size=3).map(tuple),
    st.none() | st.builds(Usage, counts, counts),
    counts,
    texts,
    texts,
)


@settings(max_examples=300, deadline=None)
@given(results)
def test_a_whole_answer_comes_back_from_its_stream(result: ChatResult) -> None:
    assert folded(unfolded(result)) == result


@settings(max_examples=50, deadline=None)
@given(results)
def test_a_part_begins_before_its_deltas_and_ends_after_them(result: ChatResult) -> None:
    open_parts: set[tuple[int, int]] = set()
    for event in unfolded(result):
        if isinstance(event, PartStarted):
            open_parts.add((event.choice, event.index))
        elif isinstance(event, PartEnded):
            open_parts.remove((event.choice, event.index))
        elif isinstance(event, TextDelta):
            assert (event.choice, event.index) in open_parts
    assert not open_parts


def of(*events: StreamEvent) -> ChatResult:
    return folded([Started(Family.CHAT, "a", "m"), *events])


def test_interleaved_parts_and_choices_are_put_in_order() -> None:
    result = of(
        PartStarted(0, Text(""), 1),
        PartStarted(0, Text("")),
        PartStarted(1, ToolCall("c", "f", "")),
        TextDelta(0, "B", 1),
        TextDelta(1, "{"),
        TextDelta(0, "A"),
        TextDelta(1, "}"),
        Finished(Finish.STOP, choice=1),
        Finished(Finish.TOOLS, "tool_calls"),
    )
    assert result.choices == (
        Choice((Text("A"), ToolCall("c", "f", "{}")), Finish.TOOLS, "tool_calls"),
        Choice((Text("B"),), Finish.STOP),
    )


def test_the_last_usage_and_the_last_signature_count() -> None:
    result = of(
        PartStarted(0, Reasoning("", Family.ANTHROPIC)),
        SignatureDelta(0, "first"),
        SignatureDelta(0, "last"),
        UsageReported(Usage(1, 1)),
        UsageReported(Usage(1, 9)),
    )
    assert result.choices[0].parts == (Reasoning("", Family.ANTHROPIC, "last"),)
    assert result.usage == Usage(1, 9)
    assert result.choices[0].finish is Finish.UNKNOWN


def test_a_part_told_again_whole_stands_as_told() -> None:
    result = of(PartStarted(0, Text("")), TextDelta(0, "dra"), PartEnded(0, part=Text("draft")))
    assert result.choices[0].parts == (Text("draft"),)


def test_a_broken_stream_is_known_as_broken() -> None:
    fold = Fold()
    fold.feed(Broken("overloaded_error", "busy"))
    assert fold.broken == Broken("overloaded_error", "busy")
    with pytest.raises(ValueError, match="not started"):
        fold.result()


@pytest.mark.parametrize(
    "events", [[TextDelta(0, "a")], [PartEnded(3)], [PartStarted(0, Text("")), PartStarted(0, Text(""))]]
)
def test_events_out_of_order_are_refused(events: list[StreamEvent]) -> None:
    with pytest.raises(ValueError, match="part"):
        of(*events)
