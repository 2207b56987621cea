"""Binds a configured provider to what is needed to call it: dialects, URLs, headers, a transport. One table row a type."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from router.domain.ports import Transport
from router.domain.requests import Api, ModelRequest
from router.domain.routes import Candidate, Credential, ProviderSpec, Timeouts
from router.domain.upstream import Destination, UpstreamCall
from router.providers.credentials import AuthHeader, api_key, bearer, subscription_key, x_api_key, x_goog_api_key
from router.providers.dialect import Dialect
from router.providers.dialects import DIALECTS
from router.providers.gemini.routes import gemini_route, is_claude, vertex_route
from router.providers.lanes import Lane, claude_lanes, lane_of
from router.providers.openai_chat_codec.accents import COMPATIBLE, GROQ, MISTRAL, OPENAI, Accent
from router.providers.parted.lanes import PARTED
from router.providers.parted.transport import PartsTransport
from router.providers.routes import Route, anthropic_route, azure_route, bedrock_route, hub_route, path_route, rooted_route
from router.providers.translation import TranslatedRequest

_TRACE = "traceparent"
"""The one of the caller's headers that differs from request to request."""

_OF_A_CLIENT = ("content-type", "accept", "anthropic-version", "anthropic-beta", "openai-beta", "user-agent")

TRAVELS_UP = (*_OF_A_CLIENT, _TRACE)
"""The caller's headers that a provider sees. Nothing else of the caller's does."""

_TRANSLATED = ("accept", "user-agent")
"""Of those what a provider sees that is not spoken to in the caller's dialect, beside the trace."""

_TO_CLAUDE = (*_TRANSLATED, "anthropic-beta")
"""The same where Claude is asked in its callers' own words: what they try out goes along."""

_MAX_DESTINATIONS = 256
_NONE: Mapping[str, str] = {}

PROBE_TIMEOUT_S = 15.0
ANTHROPIC_DEFAULT_VERSION = "2023-06-01"
"""What is spoken to Anthropic where the caller does not say."""

_CAPS: Mapping[Api, str] = {
    Api.COMPLETIONS: "max_tokens",
    Api.RESPONSES: "max_output_tokens",
    Api.MESSAGES: "max_tokens",
}
_NEEDS_CAP = frozenset({Api.MESSAGES})
"""Where a request must name an output cap: what the catalog says is more than a codec could know."""
_STREAM_USAGE_APIS = frozenset({Api.CHAT, Api.COMPLETIONS})


@dataclass(frozen=True, slots=True)
class _Binding:
    """How a type differs from the rest. `asks_usage` False: a stream reports its usage unasked, and must not be asked.
    `chat`: how its Chat Completions differ from those of others. `first`: headers that the caller's and the configured
    ones may replace."""

    route: Callable[[ProviderSpec], Route] = path_route
    auth: AuthHeader = bearer
    asks_usage: bool = True
    chat: Accent = COMPATIBLE
    first: Mapping[str, str] = field(default_factory=dict)


_BINDINGS = {
    "openai": _Binding(chat=OPENAI),
    "azure-openai": _Binding(route=azure_route, auth=api_key, chat=OPENAI),
    "anthropic": _Binding(route=anthropic_route, auth=x_api_key, first={"anthropic-version": ANTHROPIC_DEFAULT_VERSION}),
    "openai-compatible": _Binding(),
    "bedrock": _Binding(route=bedrock_route),
    "gemini": _Binding(route=gemini_route, auth=x_goog_api_key),
    "vertex": _Binding(route=vertex_route, auth=x_goog_api_key),
    "simulated": _Binding(),
    "groq": _Binding(chat=GROQ),
    "mistral": _Binding(asks_usage=False, chat=MISTRAL),
    "ollama": _Binding(route=rooted_route),
    "cohere": _Binding(route=rooted_route),
    "vllm": _Binding(),
    "huggingface": _Binding(route=hub_route),
}


@dataclass(frozen=True)
class BoundProvider:
    """A provider ready to be called. Everything that does not depend on the request is made once."""

    spec: ProviderSpec
    transport: Transport
    dialects: Mapping[Api, Dialect]
    route: Route
    auth: AuthHeader
    asks_usage: bool
    chat_cap: str
    first: Mapping[str, str]
    lanes: "Mapping[Api, Lane]" = field(default_factory=dict)
    claude: "Mapping[Api, Lane]" = field(default_factory=dict)
    """What is asked of Claude where other models of the provider's are asked otherwise."""
    _fixed: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    _destinations: dict[tuple[str, str | None, tuple[str | None, ...]], Destination] = field(
        default_factory=dict, repr=False
    )

    def injects_usage(self, request: ModelRequest) -> bool:
        """Whether the usage of this stream is asked for on our own account, so that its frame must not reach the caller."""
        return request.stream and self.asks_usage and request.api in _STREAM_USAGE_APIS and not request.asked_for_usage

    def prepare(
        self,
        candidate: Candidate,
        request: ModelRequest,
        credential: Credential | None,
        *,
        forwarded: Mapping[str, str],
        timeouts: Timeouts,
        total_s: float,
        cap: int | None = None,
    ) -> tuple[UpstreamCall, TranslatedRequest | None]:
        """The call for one attempt, and the way back for its answer: None where its bytes pass.

        `cap`: an output cap to set, since the caller gave none. `forwarded`: the caller's headers, names in lower case;
        those that may travel do.

        Raises UnsupportedFeature or InvalidRequest where the request cannot be said in the target's dialect.
        """
        api, stream = request.api, request.stream
        dialect = self.dialects.get(api)
        model, translation, parts = self.route.model(candidate), None, None
        if dialect is not None:
            travels: Sequence[str] = _OF_A_CLIENT
            named_cap = None if cap is None else (_CAPS.get(api, self.chat_cap), cap)
            body = dialect.build_body(request, model, inject_usage=stream and self.injects_usage(request), cap=named_cap)
        else:
            lane = self._lane(api, model)
            travels = _TO_CLAUDE if lane.spoken is api else _TRANSLATED
            api = lane.spoken
            if cap is None and api in _NEEDS_CAP:
                cap = candidate.alias.max_output_tokens
            translation = lane.translated.translation(request, model, candidate.target.id, cap=cap)
            body, parts = translation.body, translation.parts
        to = self._destination(self.route.url(api, candidate, stream=stream), credential, travels, forwarded)
        trace = forwarded.get(_TRACE)
        own = {_TRACE: trace} if trace is not None and _TRACE not in to.headers else _NONE
        return UpstreamCall(to, body, stream, timeouts, total_s, own, parts), translation

    def probe_call(self, credential: Credential | None = None) -> UpstreamCall:
        """A free question: the list of models. With the first credential where none is given."""
        known = self.spec.credentials
        headers = {**self.first, **self._headers(credential or (known[0] if known else None))}
        timeouts = self.spec.timeouts
        to = self._made("GET", self.route.models_url, headers)
        return UpstreamCall(to, b"", False, timeouts, min(PROBE_TIMEOUT_S, timeouts.total))

    def _lane(self, api: Api, model: str) -> Lane:
        lane = self.lanes[api]
        return self.claude.get(api, lane) if self.claude and is_claude(model) else lane

    def _destination(
        self, url: str, credential: Credential | None, travels: Sequence[str], forwarded: Mapping[str, str]
    ) -> Destination:
        """The same one for as long as its callers say the same of themselves, as those of one client do."""
        # No two kinds of caller have as many headers that travel: the values tell by their number whose they are.
        label = credential.label if credential is not None else None
        known = (url, label, tuple(map(forwarded.get, travels)))
        found = self._destinations.get(known)
        if found is None:
            headers = {"content-type": "application/json", **self.first}
            headers.update((name, forwarded[name]) for name in travels if name in forwarded)
            headers.update(self._headers(credential))
            if len(self._destinations) >= _MAX_DESTINATIONS:
                self._destinations.clear()
            found = self._destinations[known] = self._made("POST", url, headers)
        return found

    def _made(self, method: str, url: str, headers: Mapping[str, str]) -> Destination:
        spec = self.spec
        return Destination(method, url, headers, spec.ca_file, spec.ca_digest, spec.trusted_host)

    def _headers(self, credential: Credential | None) -> dict[str, str]:
        """The configured headers and the credential's; ours win over the caller's, the credential over the configured."""
        label = credential.label if credential is not None else ""
        found = self._fixed.get(label)
        if found is None:
            found = {name.lower(): value for name, value in self.spec.headers}
            if credential is not None:
                name, value = self.auth(credential)
                found[name] = value
            found["accept-encoding"] = "identity"
            self._fixed[label] = found
        return found


def _auth(spec: ProviderSpec, binding: _Binding) -> AuthHeader:
    if Api.CONTENT_SAFETY in spec.apis:
        return subscription_key
    return bearer if spec.sends_bearer else binding.auth


def bind(spec: ProviderSpec, transport: Transport) -> BoundProvider:
    """Raises KeyError for a type without a dialect; the configuration refuses those before."""
    binding = _BINDINGS[spec.type]
    asks_usage = binding.asks_usage and spec.stream_usage
    accent = replace(binding.chat, asks_usage=asks_usage)
    return BoundProvider(
        spec=spec,
        transport=transport if PARTED.isdisjoint(spec.translates) else PartsTransport(transport),
        dialects={api: dialect for api, dialect in DIALECTS.items() if api in spec.apis},
        route=binding.route(spec),
        auth=_auth(spec, binding),
        asks_usage=asks_usage,
        chat_cap=binding.chat.cap,
        first=binding.first,
        lanes={api: lane_of(api, spec, accent) for api in spec.translates},
        claude=claude_lanes(spec) if spec.type == "vertex" else {},
    )
