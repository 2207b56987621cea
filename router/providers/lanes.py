"""How an API is served that a provider does not speak: which codecs and which framing lie between. One row a dialect."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from router.domain.requests import SAID_IN, Api
from router.domain.routes import ProviderSpec
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.anthropic.query_in import HINTS as ANTHROPIC_HINTS
from router.providers.bedrock.codec import BEDROCK, EVENT_STREAM
from router.providers.codec import CallerSide, TargetSide
from router.providers.cohere.codec import COHERE_CHAT
from router.providers.counting import CLAUDE_ON_VERTEX_COUNT, CountTokens, counting_of
from router.providers.gemini.codec import CLAUDE_ON_VERTEX, GeminiCodec
from router.providers.gemini.query_out import GEMINI_API, VERTEX
from router.providers.ollama.codec import OLLAMA_CHAT
from router.providers.ollama.framing import NDJSON
from router.providers.openai_chat_codec.accents import Accent
from router.providers.openai_chat_codec.codec import OPENAI_CHAT, OpenAIChat
from router.providers.openai_chat_codec.query_in import HINTS
from router.providers.openai_responses_codec.codec import OPENAI_RESPONSES
from router.providers.openai_responses_codec.query_in import HINTS as RESPONSES_HINTS
from router.providers.parted.lanes import PARTED, parted_lane
from router.providers.translated import SSE, Framing, Translated
from router.providers.translation import Translator

_TargetOf = Callable[[ProviderSpec, Accent], TargetSide]


@dataclass(frozen=True, slots=True)
class Lane:
    """One API over another. `spoken`: whose URL the translated request goes to."""

    translated: Translator
    spoken: Api


def lane_of(api: Api, spec: ProviderSpec, accent: Accent) -> Lane:
    """In the first dialect of the provider's that the caller's can be said in. `accent`: how it speaks Chat Completions."""
    spoken = next(native for native in SAID_IN[api] if native in spec.apis)
    if api in PARTED:
        return Lane(parted_lane(api, spoken, spec), spoken)
    if api is Api.COUNT_TOKENS:
        return Lane(_counted(spoken, spec, accent), spoken)
    caller, hints = _CALLERS[api]
    target = _TARGETS[spoken](spec, accent)
    framing = _FRAMINGS.get(spoken, SSE)
    return Lane(Translated(caller, target, hints=hints, framing=framing, omitted=spec.omitted), spoken)


def _counted(spoken: Api, spec: ProviderSpec, accent: Accent) -> CountTokens:
    counting = counting_of(spoken, spec.type)
    target = _TARGETS[counting.said](spec, accent)
    return CountTokens(Translated(ANTHROPIC, target, hints=ANTHROPIC_HINTS, omitted=spec.omitted), counting)


def _chat_target(spec: ProviderSpec, accent: Accent) -> TargetSide:
    return OpenAIChat(accent)


def _always(target: TargetSide) -> _TargetOf:
    """Of a dialect that is spoken alike to every provider."""
    return lambda spec, accent: target


def _gemini_target(spec: ProviderSpec, accent: Accent) -> TargetSide:
    return GeminiCodec(VERTEX if spec.type == "vertex" else GEMINI_API)


def claude_lanes(spec: ProviderSpec) -> Mapping[Api, Lane]:
    """Of a provider on which Claude speaks Messages, and the others something else."""
    callers = ((api, _CALLERS[api]) for api in spec.translates if api in _CALLERS)
    lanes: dict[Api, Lane] = {
        api: Lane(
            Translated(caller, CLAUDE_ON_VERTEX, hints=hints if api is not Api.MESSAGES else None, omitted=spec.omitted),
            Api.MESSAGES,
        )
        for api, (caller, hints) in callers
    }
    if Api.COUNT_TOKENS in spec.translates:
        as_sent = Translated(ANTHROPIC, CLAUDE_ON_VERTEX)
        lanes[Api.COUNT_TOKENS] = Lane(CountTokens(as_sent, CLAUDE_ON_VERTEX_COUNT), Api.COUNT_TOKENS)
    return lanes


_CALLERS: Mapping[Api, tuple[CallerSide, Mapping[str, str]]] = {
    Api.CHAT: (OPENAI_CHAT, HINTS),
    Api.MESSAGES: (ANTHROPIC, ANTHROPIC_HINTS),
    Api.RESPONSES: (OPENAI_RESPONSES, RESPONSES_HINTS),
}
"""Who may be translated, and which of its fields nobody need be told."""

_TARGETS: Mapping[Api, _TargetOf] = {
    Api.CHAT: _chat_target,
    Api.MESSAGES: _always(ANTHROPIC),
    Api.RESPONSES: _always(OPENAI_RESPONSES),
    Api.CONVERSE: _always(BEDROCK),
    Api.GENERATE_CONTENT: _gemini_target,
    Api.COHERE_CHAT: _always(COHERE_CHAT),
    Api.OLLAMA_CHAT: _always(OLLAMA_CHAT),
}

_FRAMINGS: Mapping[Api, Framing] = {
    Api.CONVERSE: EVENT_STREAM,
    Api.OLLAMA_CHAT: NDJSON,
}
"""Of targets whose streams are not server-sent events."""
