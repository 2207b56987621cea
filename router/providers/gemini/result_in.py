"""An answer of Gemini's as one in common words."""

import msgspec

from router.domain.chat import ChatResult, Choice, Family, Finish, Part, Refusal, Text, ToolCall
from router.providers.gemini.citations import citations_of, shifted_by
from router.providers.gemini.counts import Meter, tier_told
from router.providers.gemini.shapes import (
    TOLD,
    Candidate,
    Feedback,
    Told,
    call_id,
    logprobs_of,
    read_part,
    seconds_of,
    text_of,
)
from router.providers.gemini.wording import finish_of, reason_word


def decode_result(answer: bytes) -> ChatResult:
    """Raises ValueError where it is no answer."""
    try:
        told = TOLD.decode(answer)
        choices = _choices(told)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"the answer is no content of Gemini's: {error}") from None
    if not choices:
        raise ValueError("the answer has neither candidates nor promptFeedback")
    return ChatResult(
        family=Family.GEMINI,
        id=text_of(told.response_id),
        model=model_of(told),
        choices=choices,
        usage=Meter().add(told.usage_metadata),
        created=seconds_of(told.create_time),
        service_tier=tier_told(told.usage_metadata),
    )


def model_of(told: Told) -> str:
    return text_of(told.model_version).removeprefix("models/")


def _choices(told: Told) -> tuple[Choice, ...]:
    if told.candidates:
        answer = text_of(told.response_id)
        ordered = sorted(enumerate(told.candidates), key=lambda item: number_of(item[1], item[0]))
        return tuple(_choice(candidate, number, answer) for number, (_, candidate) in enumerate(ordered))
    if told.prompt_feedback is None:
        return ()
    refusal = refusal_of(told.prompt_feedback)
    return (Choice((refusal,) if refusal is not None else (), Finish.FILTERED, text_of(told.prompt_feedback.block_reason)),)


def number_of(candidate: Candidate, place: int = 0) -> int:
    """The candidate's index; Vertex leaves that of the only one out."""
    index = candidate.index
    return index if type(index) is int and 0 <= index < 1000 else place


def refusal_of(feedback: Feedback) -> Refusal | None:
    """Why a prompt was not answered, where Gemini has words for it."""
    message = text_of(feedback.block_reason_message)
    return Refusal(message) if message else None


def _choice(candidate: Candidate, number: int, answer: str) -> Choice:
    raws = (candidate.content.parts or ()) if candidate.content is not None else ()
    parts: list[Part] = []
    calls = 0
    for raw in raws:
        part = read_part(raw)
        if isinstance(part, ToolCall):
            part = call_id(part, answer, number, calls)
            calls += 1
        if part is not None:
            parts.append(part)
    word = reason_word(candidate.finish_reason)
    return Choice(tuple(_annotated(parts, candidate)), finish_of(word, has_calls=bool(calls)), word)


def _annotated(parts: list[Part], candidate: Candidate) -> list[Part]:
    """Citations and probabilities are of the whole text: they stand with the last of its parts, by offsets in that part."""
    texts = [part.text for part in parts if isinstance(part, Text)]
    citations, probabilities = citations_of(candidate, "".join(texts)), logprobs_of(candidate.logprobs_result)
    if not citations and not probabilities:
        return parts
    place = max((at for at, part in enumerate(parts) if isinstance(part, Text)), default=len(parts))
    found = parts[place] if place < len(parts) else Text("")
    before = sum(map(len, texts[:-1]))
    shifted = tuple(shifted_by(before, citation) for citation in citations)
    parts[place : place + 1] = [msgspec.structs.replace(found, citations=shifted, logprobs=probabilities)]
    return parts
