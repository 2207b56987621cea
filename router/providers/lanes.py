"""How an API is served that a provider does not speak: which codecs and which framing lie between. One row a dialect."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from router.domain.requests import SAID_IN, Api
from router.domain.routes import ProviderSpec
from router.providers.anthropic.codec import ANTHROPIC
from router.providers.anthropic.query_in import HINTS as ANTHROPIC_HINTS
from router.providers.codec import CallerSide, TargetSide
from router.providers.openai_chat_codec.codec import OPENAI_CHAT, OpenAIChat
from router.providers.openai_chat_codec.query_in import HINTS
from router.providers.openai_chat_codec.query_out import Accent
from router.providers.translated import SSE, Framing, Translated


@dataclass(frozen=True, slots=True)
class Lane:
    """One API over another. `spoken`: whose URL the translated request goes to."""

    translated: Translated
    spoken: Api


def lane_of(api: Api, spec: ProviderSpec, accent: Accent) -> Lane:
    """In the first dialect of the provider's that the caller's can be said in. `accent`: how it speaks Chat Completions."""
    spoken = next(native for native in SAID_IN[api] if native in spec.apis)
    caller, hints = _CALLERS[api]
    target = _TARGETS[spoken](spec, accent)
    return Lane(Translated(caller, target, hints=hints, framing=_FRAMINGS.get(spoken, SSE)), spoken)


def _chat_target(spec: ProviderSpec, accent: Accent) -> TargetSide:
    return OpenAIChat(accent)


def _messages_target(spec: ProviderSpec, accent: Accent) -> TargetSide:
    return ANTHROPIC


_CALLERS: Mapping[Api, tuple[CallerSide, Mapping[str, str]]] = {
    Api.CHAT: (OPENAI_CHAT, HINTS),
    Api.MESSAGES: (ANTHROPIC, ANTHROPIC_HINTS),
}
"""Who may be translated, and which of its fields nobody need be told."""

_TARGETS: Mapping[Api, Callable[[ProviderSpec, Accent], TargetSide]] = {
    Api.CHAT: _chat_target,
    Api.MESSAGES: _messages_target,
}

_FRAMINGS: Mapping[Api, Framing] = {}
"""Of targets whose streams are not server-sent events."""
