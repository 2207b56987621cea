"""The table of provider types: where each listens, which APIs it serves, which keys it takes."""

from dataclasses import dataclass

from router.domain.requests import SAID_IN, Api

_CHAT, _COMPLETIONS, _RESPONSES = Api.CHAT, Api.COMPLETIONS, Api.RESPONSES
_EMBEDDINGS, _MODERATIONS = Api.EMBEDDINGS, Api.MODERATIONS
_ANTHROPIC_APIS = frozenset({Api.MESSAGES, Api.COUNT_TOKENS})
_OPENAI_APIS = frozenset({_CHAT, _COMPLETIONS, _RESPONSES, _EMBEDDINGS, _MODERATIONS})
_LOCAL_APIS = frozenset({_CHAT, _COMPLETIONS, _RESPONSES, _EMBEDDINGS})
_COMMON = frozenset({"type", "apis", "timeouts", "stream_usage", "bills_on_cancel", "locked"})
_REMOTE = _COMMON | {"api_key", "api_keys", "base_url", "headers", "ca_file", "proxy"}


@dataclass(frozen=True, slots=True)
class ProviderType:
    """`base_url` is the default, "" where the operator must give one under `url_key`.

    `apis` is what the type can serve at all, `unasked` what of it is taken for granted where the file does not list any;
    `prices` names its part of the price table, "" for none. `is_built` False: the name is known, its dialect is not there
    yet.
    """

    name: str
    base_url: str = ""
    url_key: str = "base_url"
    apis: frozenset[Api] = _OPENAI_APIS
    unasked: frozenset[Api] = frozenset(Api)
    needs_key: bool = False
    keys: frozenset[str] = _REMOTE
    prices: str = ""
    is_built: bool = True


AZURE_V1 = frozenset({"v1", "preview"})
"""Values of `api_version` that select Azure's v1 route, where the deployment is named in the body."""

AZURE_DEFAULT_VERSION = "2024-10-21"

_KEYS_OF_LATER_TYPES = _REMOTE | {"endpoint", "api_version"}

_ROWS = (
    ProviderType("openai", "https://api.openai.com/v1", needs_key=True, prices="openai"),
    ProviderType(
        "azure-openai",
        url_key="endpoint",
        apis=frozenset({_CHAT, _COMPLETIONS, _EMBEDDINGS, _RESPONSES}),
        needs_key=True,
        keys=(_REMOTE - {"base_url"}) | {"endpoint", "api_version"},
        prices="openai",
    ),
    ProviderType(
        "anthropic",
        "https://api.anthropic.com",
        apis=_ANTHROPIC_APIS,
        needs_key=True,
        keys=(_REMOTE - {"stream_usage"}) | {"auth"},
        prices="anthropic",
    ),
    ProviderType("openai-compatible", apis=_OPENAI_APIS | _ANTHROPIC_APIS, unasked=_OPENAI_APIS),
    ProviderType("simulated", url_key="", keys=_COMMON | {"simulate"}),
    ProviderType(
        "groq",
        "https://api.groq.com/openai/v1",
        apis=frozenset({_CHAT, _RESPONSES}),
        needs_key=True,
        prices="groq",
    ),
    ProviderType(
        "mistral",
        "https://api.mistral.ai/v1",
        apis=frozenset({_CHAT, _EMBEDDINGS, _MODERATIONS}),
        needs_key=True,
        prices="mistral",
    ),
    ProviderType("ollama", "http://127.0.0.1:11434/v1", apis=_LOCAL_APIS | _ANTHROPIC_APIS, unasked=_LOCAL_APIS),
    ProviderType("vllm", apis=_LOCAL_APIS | _ANTHROPIC_APIS, unasked=_LOCAL_APIS),
    ProviderType(
        "huggingface",
        "https://router.huggingface.co/v1",
        apis=frozenset({_CHAT, _RESPONSES}),
        needs_key=True,
    ),
    *(
        ProviderType(name, url_key="", keys=_KEYS_OF_LATER_TYPES, prices=prices, is_built=False)
        for name, prices in (
            ("gemini", "gemini"),
            ("vertex", "gemini"),
            ("bedrock", ""),
            ("cohere", ""),
        )
    ),
)

PROVIDER_TYPES = {row.name: row for row in _ROWS}


def default_apis(kind: ProviderType, api_version: str) -> frozenset[Api]:
    """What a provider serves when its `apis` is absent. Azure's dated versions have no Responses route."""
    if kind.name == "azure-openai" and api_version not in AZURE_V1:
        return kind.apis - {_RESPONSES}
    return kind.apis & kind.unasked


def translated_apis(apis: frozenset[Api]) -> frozenset[Api]:
    """What a provider that speaks `apis` can be asked beside them, in the words of one of them."""
    return frozenset(api for api, spoken in SAID_IN.items() if api not in apis and not apis.isdisjoint(spoken))
