"""Every recorded request of a caller, told to every dialect that is spoken to providers: whole, or refused by name.

Where the target's dialect has callers too, what was told is read again and must mean the same.
"""

import json
from collections import Counter
from functools import cache
from typing import Any

import msgspec
import pytest

from router.domain.chat import ChatQuery
from router.domain.errors import InvalidRequest, UnsupportedFeature
from router.domain.requests import SAID_IN, Api, parse_request
from router.domain.routes import ProviderSpec
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.codec import TargetSide
from router.providers.lanes import claude_lanes, lane_of
from router.providers.openai_chat_codec.accents import COMPATIBLE, GROQ, MISTRAL, OPENAI, Accent
from router.providers.openai_chat_codec.codec import OPENAI_CHAT
from router.providers.openai_responses_codec.codec import OPENAI_RESPONSES
from router.providers.translated import Translated
from tests.conformance.callers import CALLERS, MODEL, TARGET, Caller
from tests.conformance.every import Recording, chats, recording
from tests.conformance.meaning import difference
from tests.conformance.recordings import ABSENT

NONE = pytest.param("", marks=pytest.mark.skip(reason=ABSENT))
OF = {caller.api: caller for caller in CALLERS}
_NEEDED = {Api.CHAT: "messages", Api.MESSAGES: "messages", Api.RESPONSES: "input"}
OWN: dict[Api, TargetSide] = {Api.CHAT: OPENAI_CHAT, Api.MESSAGES: ANTHROPIC, Api.RESPONSES: OPENAI_RESPONSES}
MODELS = {
    "gemini": ("gemini-2.5-flash", "gemini-3.1-pro-preview"),
    "vertex": ("gemini-2.5-flash", "gemini-3.1-pro-preview"),
    "bedrock": ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "us.amazon.nova-2-lite-v1:0"),
}


def is_asked(of: Recording) -> bool:
    """Whether the request is one of a caller's: Claude on Vertex is asked by us alone."""
    needed = _NEEDED.get(of.tongue.api)
    return of.sent is not None and needed in of.sent and not of.label.startswith("vertex_")


ASKED: list[Any] = [name for name in chats() if is_asked(recording(name))] or [NONE]


def lanes_of(caller: Caller) -> dict[str, Translated]:
    """Name of a target -> the way there. Those that speak the caller's own dialect are told in it too."""

    def lane(kind: str, spoken: Api, accent: Accent = COMPATIBLE) -> Translated:
        spec = ProviderSpec("p", kind, "https://p.test", apis=frozenset({spoken}))
        found = lane_of(caller.api, spec, accent).translated
        assert isinstance(found, Translated)
        return found

    kinds = {
        Api.MESSAGES: "anthropic",
        Api.RESPONSES: "openai",
        Api.GENERATE_CONTENT: "gemini",
        Api.CONVERSE: "bedrock",
        Api.COHERE_CHAT: "cohere",
        Api.OLLAMA_CHAT: "ollama",
    }
    found = {kinds[spoken]: lane(kinds[spoken], spoken) for spoken in SAID_IN[caller.api] if spoken is not Api.CHAT}
    found["vertex"] = lane("vertex", Api.GENERATE_CONTENT)
    if Api.CHAT in SAID_IN[caller.api]:
        accents = {"openai-chat": OPENAI, "compatible": COMPATIBLE, "mistral": MISTRAL, "groq": GROQ}
        found |= {kind: lane(kind, Api.CHAT, accent) for kind, accent in accents.items()}
    spec = ProviderSpec("p", "vertex", "https://p.test", translates=frozenset({caller.api}))
    claude = claude_lanes(spec)[caller.api].translated
    assert isinstance(claude, Translated)
    return found | {"claude-on-vertex": claude, "own": Translated(caller.side, OWN[caller.api], hints=caller.hints)}


LANES = {caller.api: lanes_of(caller) for caller in CALLERS}
SPOKEN_BETWEEN = {"mistral": "OK."}
READ_AGAIN = {
    "own": None,
    "anthropic": Api.MESSAGES,
    "openai": Api.RESPONSES,
    "openai-chat": Api.CHAT,
    "compatible": Api.CHAT,
    "mistral": Api.CHAT,
    "groq": Api.CHAT,
}


# The least share of a caller's recorded requests that a target must be told: a codec that refuses all is none.
LEAST = 0.8


@pytest.mark.parametrize("recorded", ASKED, ids=str)
def test_a_request_is_told_to_every_target_with_its_meaning_or_refused_by_name(recorded: str) -> None:
    of = recording(recorded)
    outcomes = outcomes_of(recorded)
    if not outcomes:
        assert of.status >= 400, "the provider has answered what was found to be no request"
        return
    for (target, _), outcome in outcomes.items():
        if isinstance(outcome, UnsupportedFeature):
            assert outcome.param and outcome.param in outcome.message and TARGET in outcome.message, outcome.message
        elif target in READ_AGAIN:
            reader = OF[READ_AGAIN[target] or of.tongue.api]
            found = difference(
                reader.side.decode_query(outcome), query_of(recorded), spoken_between=SPOKEN_BETWEEN.get(target, "")
            )
            assert not found, f"{target}: {found}"
        else:
            assert isinstance(json.loads(outcome), dict)


def query_of(recorded: str) -> ChatQuery:
    of = recording(recorded)
    return OF[of.tongue.api].side.decode_query(msgspec.json.encode(of.sent))


@cache
def outcomes_of(recorded: str) -> dict[tuple[str, str], bytes | UnsupportedFeature]:
    """Target and model -> what is told, or why it cannot be; nothing where the request itself is wrong."""
    of = recording(recorded)
    api, body = of.tongue.api, msgspec.json.encode(of.sent)
    found: dict[tuple[str, str], bytes | UnsupportedFeature] = {}
    try:
        query_of(recorded)
    except InvalidRequest:
        return found
    for target, lane in LANES[api].items():
        for model in MODELS.get(target, (MODEL,)):
            try:
                found[target, model] = lane.translation(parse_request(api, body), model, TARGET).body
            except UnsupportedFeature as refusal:
                found[target, model] = refusal
    return found


@pytest.mark.skipif(ASKED == [NONE], reason=ABSENT)
@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: str(caller.api))
def test_most_requests_are_told(caller: Caller) -> None:
    told, of_all = Counter[str](), Counter[str]()
    for name in ASKED:
        for (target, _), outcome in (outcomes_of(name) if recording(name).tongue.api is caller.api else {}).items():
            of_all[target] += 1
            told[target] += isinstance(outcome, bytes)
    shares = {target: told[target] / count for target, count in of_all.items()}
    assert shares.keys() == LANES[caller.api].keys()
    assert not {target: f"{share:.2f}" for target, share in shares.items() if share < LEAST}
    assert shares["own"] == 1
