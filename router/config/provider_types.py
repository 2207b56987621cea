"""The table of provider types: where each listens, which APIs it serves, which keys it takes."""

from dataclasses import dataclass

from router.domain.requests import SAID_IN, Api

_CHAT, _COMPLETIONS, _RESPONSES = Api.CHAT, Api.COMPLETIONS, Api.RESPONSES
_EMBEDDINGS, _MODERATIONS = Api.EMBEDDINGS, Api.MODERATIONS
_ANTHROPIC_APIS = frozenset({Api.MESSAGES, Api.COUNT_TOKENS})
_OPENAI_APIS = frozenset({_CHAT, _COMPLETIONS, _RESPONSES, _EMBEDDINGS, _MODERATIONS})
_LOCAL_APIS = frozenset({_CHAT, _COMPLETIONS, _RESPONSES, _EMBEDDINGS})
_TEI_APIS = frozenset({Api.TEI_EMBED, Api.TEI_RERANK})
_BATCH = frozenset({"max_batch"})
_COMMON = frozenset({"type", "apis", "timeouts", "stream_usage", "bills_on_cancel", "drop_unsupported", "locked"})
_REMOTE = _COMMON | {"api_key", "api_keys", "base_url", "headers", "ca_file", "proxy"}


_AWS = frozenset(
    "region access_key_id secret_access_key session_token profile default_credentials role_arn external_id".split()
)


_GOOGLE = frozenset("project location credentials_file credentials auth".split())


@dataclass(frozen=True, slots=True)
class ProviderType:
    """`base_url` is the default, "" where the operator must give one under `url_key`.

    `apis` is what the type can serve at all, `unasked` what of it is taken for granted where the file does not list any;
    `prices` names its part of the price table, "" for none. `is_aws`: it is in a region of AWS's, and AWS's
    keys open it. `is_google`: it is in a project of Google Cloud's.
    """

    name: str
    base_url: str = ""
    url_key: str = "base_url"
    apis: frozenset[Api] = _OPENAI_APIS
    unasked: frozenset[Api] = frozenset(Api)
    needs_key: bool = False
    keys: frozenset[str] = _REMOTE
    prices: str = ""
    is_aws: bool = False
    is_google: bool = False


AZURE_V1 = frozenset({"v1", "preview"})
"""Values of `api_version` that select Azure's v1 route, where the deployment is named in the body."""

AZURE_DEFAULT_VERSION = "2024-10-21"
SAFETY_DEFAULT_VERSION = "2024-09-01"
"""Of Azure's Content Safety, which counts its own versions."""

_ROWS = (
    ProviderType(
        "openai",
        "https://api.openai.com/v1",
        apis=_OPENAI_APIS | {Api.RESPONSES_COUNT},
        needs_key=True,
        prices="openai",
    ),
    ProviderType(
        "azure-openai",
        url_key="endpoint",
        apis=frozenset({_CHAT, _COMPLETIONS, _EMBEDDINGS, _RESPONSES, Api.CONTENT_SAFETY}),
        unasked=frozenset(Api) - {Api.CONTENT_SAFETY},
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
    ProviderType(
        "openai-compatible",
        apis=_OPENAI_APIS | _ANTHROPIC_APIS | _TEI_APIS | {Api.RERANK, Api.RESPONSES_COUNT, Api.TOKENIZE},
        unasked=_OPENAI_APIS | {Api.RERANK},
        keys=_REMOTE | _BATCH,
    ),
    ProviderType("simulated", url_key="", apis=_OPENAI_APIS | {Api.RERANK, Api.TOKENIZE}, keys=_COMMON | {"simulate"}),
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
    ProviderType(
        "ollama",
        "http://127.0.0.1:11434/v1",
        apis=_LOCAL_APIS | _ANTHROPIC_APIS | {Api.OLLAMA_CHAT, Api.OLLAMA_EMBED},
        unasked=_LOCAL_APIS,
        keys=_REMOTE | _BATCH,
    ),
    ProviderType(
        "cohere",
        "https://api.cohere.com",
        apis=frozenset({Api.COHERE_CHAT, Api.COHERE_EMBED, Api.COHERE_RERANK}),
        needs_key=True,
        keys=(_REMOTE - {"stream_usage"}) | _BATCH,
        prices="cohere",
    ),
    ProviderType(
        "vllm",
        apis=_LOCAL_APIS | _ANTHROPIC_APIS | {Api.RERANK, Api.TOKENIZE},
        unasked=_LOCAL_APIS | {Api.RERANK, Api.TOKENIZE},
    ),
    ProviderType(
        "huggingface",
        "https://router.huggingface.co/v1",
        apis=frozenset({_CHAT, _RESPONSES, _EMBEDDINGS, Api.FEATURE_EXTRACTION}) | _TEI_APIS,
        unasked=frozenset({_CHAT, _RESPONSES, Api.FEATURE_EXTRACTION}),
        needs_key=True,
        keys=_REMOTE | _BATCH,
    ),
    ProviderType(
        "bedrock",
        url_key="",
        apis=frozenset({Api.CONVERSE, Api.CONVERSE_COUNT, Api.BEDROCK_EMBED, Api.BEDROCK_RERANK}),
        keys=(_REMOTE - {"stream_usage"}) | _AWS | _BATCH,
        is_aws=True,
    ),
    ProviderType(
        "gemini",
        "https://generativelanguage.googleapis.com",
        apis=frozenset({Api.GENERATE_CONTENT, Api.GEMINI_COUNT, Api.GEMINI_EMBED}),
        needs_key=True,
        keys=(_REMOTE - {"stream_usage"}) | _BATCH,
        prices="gemini",
    ),
    ProviderType(
        "vertex",
        url_key="",
        apis=frozenset({Api.GENERATE_CONTENT, Api.GEMINI_COUNT, Api.VERTEX_EMBED}),
        keys=(_REMOTE - {"stream_usage"}) | _GOOGLE | _BATCH,
        prices="gemini",
        is_google=True,
    ),
)

PROVIDER_TYPES = {row.name: row for row in _ROWS}


def default_apis(kind: ProviderType, api_version: str) -> frozenset[Api]:
    """What a provider serves when its `apis` is absent. Azure's dated versions have no Responses route."""
    if kind.name == "azure-openai" and api_version not in AZURE_V1:
        return (kind.apis & kind.unasked) - {_RESPONSES}
    return kind.apis & kind.unasked


def translated_apis(apis: frozenset[Api]) -> frozenset[Api]:
    """What a provider that speaks `apis` can be asked beside them, in the words of one of them."""
    return frozenset(api for api, spoken in SAID_IN.items() if api not in apis and not apis.isdisjoint(spoken))
