"""The router.yaml that `routerd init` writes: which variables stand for which provider, and the file's text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

SECRET_VARIABLE = "ROUTERD_DEMO_SECRET"  # noqa: S105 - the name of a variable, not its value
KEY_PREFIX = "demo"
_OLLAMA_PORT = 11434


@dataclass(frozen=True, slots=True)
class Service:
    """One provider recognised by its `variable`. `models` are (alias, type) offered beside the wildcard `<provider>/*`."""

    variable: str
    provider: str
    type: str
    base_url: str = ""
    models: tuple[tuple[str, str], ...] = ()


SERVICES = (
    Service(
        "OPENAI_API_KEY",
        "openai",
        "openai",
        models=(
            ("gpt-5-mini", "chat"),
            ("gpt-5", "chat"),
            ("text-embedding-3-small", "embeddings"),
            ("omni-moderation-latest", "moderation"),
        ),
    ),
    Service("ANTHROPIC_API_KEY", "anthropic", "anthropic"),
    Service("GROQ_API_KEY", "groq", "groq"),
    Service("MISTRAL_API_KEY", "mistral", "mistral", models=(("mistral-embed", "embeddings"),)),
    Service("DEEPSEEK_API_KEY", "deepseek", "openai-compatible", "https://api.deepseek.com"),
    Service("TOGETHER_API_KEY", "together", "openai-compatible", "https://api.together.xyz/v1"),
    Service("OPENROUTER_API_KEY", "openrouter", "openai-compatible", "https://openrouter.ai/api/v1"),
    Service("FIREWORKS_API_KEY", "fireworks", "openai-compatible", "https://api.fireworks.ai/inference/v1"),
    Service("CEREBRAS_API_KEY", "cerebras", "openai-compatible", "https://api.cerebras.ai/v1"),
    Service("XAI_API_KEY", "xai", "openai-compatible", "https://api.x.ai/v1"),
    Service("COHERE_API_KEY", "cohere", "cohere"),
    Service("HF_TOKEN", "huggingface", "huggingface"),
)
_UNSERVED = {
    "GEMINI_API_KEY": "gemini",
    "GOOGLE_API_KEY": "gemini",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A provider to write: its name, its lines below `providers`, and its (alias, type, target's keys) for the catalog."""

    provider: str
    lines: tuple[str, ...]
    aliases: tuple[tuple[str, str, str], ...]


def find_providers(environ: Mapping[str, str]) -> list[Found]:
    """In the order of the table, then Azure and Ollama, which need more than a key."""
    found = [_of_service(service) for service in SERVICES if _first_set(environ, service.variable)]
    return [*found, *_azure(environ), *_ollama(environ)]


def unserved(environ: Mapping[str, str]) -> list[str]:
    """Variables whose providers have no dialect yet."""
    return [name for name in _UNSERVED if _first_set(environ, name)]


def _of_service(service: Service) -> Found:
    address = (f"base_url: {service.base_url}",) if service.base_url else ()
    lines = (f"type: {service.type}", *address, f'api_key: "${{{service.variable}}}"')
    named = tuple((alias, kind, f"model: {alias}") for alias, kind in service.models)
    return Found(service.provider, lines, (*named, (f"{service.provider}/*", "chat", "")))


def _azure(environ: Mapping[str, str]) -> list[Found]:
    """Azure's models are deployments: without one named there is a provider, and a comment on how to use it."""
    if not (_first_set(environ, "AZURE_OPENAI_API_KEY") and _first_set(environ, "AZURE_OPENAI_ENDPOINT")):
        return []
    version = _first_set(environ, "AZURE_OPENAI_API_VERSION", "OPENAI_API_VERSION")
    lines = ["type: azure-openai", 'endpoint: "${AZURE_OPENAI_ENDPOINT}"', 'api_key: "${AZURE_OPENAI_API_KEY}"']
    if version:
        lines.append(f'api_version: "${{{version}}}"')
    names = ("AZURE_OPENAI_DEPLOYMENT", "AZURE_OPENAI_DEPLOYMENT_NAME", "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME")
    named = _first_set(environ, *names)
    alias = (("azure-chat", "chat", f'deployment: "${{{named}}}"'),) if named else ()
    return [Found("azure-openai", tuple(lines), alias)]


def _first_set(environ: Mapping[str, str], *names: str) -> str:
    return next((name for name in names if environ.get(name, "").strip()), "")


def _ollama(environ: Mapping[str, str]) -> list[Found]:
    """OLLAMA_HOST is an address to listen on as often as one to call: `0.0.0.0:11434` is called on loopback."""
    written = environ.get("OLLAMA_HOST", "").strip()
    if not written:
        return []
    try:
        parts = urlsplit(written if "://" in written else f"http://{written}")
        host, port = parts.hostname or "127.0.0.1", parts.port or (443 if parts.scheme == "https" else _OLLAMA_PORT)
    except ValueError:
        return []
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared with, not bound to
    shown = f"[{host}]" if ":" in host else host
    lines = ("type: ollama", f'base_url: "{parts.scheme}://{shown}:{port}/v1"')
    return [Found("ollama", lines, (("ollama/*", "chat", ""),))]


def router_yaml(found: Sequence[Found], not_served: Sequence[str]) -> str:
    """The file's whole text: names of variables, no value of any secret one."""
    defaults = [
        "# The alias that answers when a caller names no model.",
        "defaults:",
        f"  chat: {_first(found, 'chat') or 'demo'}",
        f"  embeddings: {_first(found, 'embeddings') or 'demo-embeddings'}",
    ]
    return "\n".join([*_HEAD, *_providers(found, not_served), *_catalog(found), *defaults, *_BOOTSTRAP, ""])


def _first(found: Sequence[Found], wanted: str) -> str:
    return next((alias for one in found for alias, kind, _ in one.aliases if kind == wanted and "*" not in alias), "")


def _providers(found: Sequence[Found], not_served: Sequence[str]) -> list[str]:
    lines = ["providers:", "  demo:                                # answers without a key or a network", _SIMULATED]
    for one in found:
        lines += [f"  {one.provider}:", *(f"    {line}" for line in one.lines)]
    for variable in not_served:
        lines.append(f"  # {variable} is set; the type {_UNSERVED[variable]} is not served yet")
    return [*lines, ""]


def _catalog(found: Sequence[Found]) -> list[str]:
    lines = list(_DEMO_ALIASES)
    for one in found:
        for alias, kind, keys in one.aliases:
            target = ", ".join(part for part in (f"provider: {one.provider}", keys) if part)
            lines.append(f'  - alias: "{alias}"' if "*" in alias else f"  - alias: {alias}")
            lines += [f"    type: {kind}"] if kind != "chat" else []
            lines.append(f"    targets: [{{{target}}}]")
        if not one.aliases:
            lines += _EXAMPLE_DEPLOYMENT
    return [*lines, ""]


_SIMULATED = "    type: simulated"
_HEAD = (
    "# routerd: one file, one daemon. `routerd check` validates it, `routerd` runs it,",
    "# and a running daemon takes up a changed file by itself.",
    "# ${NAME} is a variable of the environment or of `.env` beside this file.",
    "",
    "server:",
    '  listen: "127.0.0.1:8080"             # ":8080" listens on every address',
    "",
    "database:",
    '  url: "sqlite:///data/router.db"      # or postgresql://user:password@host/name',
    "",
    "# rate_limits:                         # for keys and tenants without limits of their own",
    "#   requests_per_minute: 600",
    "#   tokens_per_minute: 200000",
    "#   parallel_requests_key: 50",
    "",
)
_DEMO_ALIASES = (
    "# What callers name as `model`, and where it leads. `provider/*` passes the rest of the name on.",
    "model_catalog:",
    "  - alias: demo",
    "    targets: [{provider: demo, model: demo}]",
    "    price: {input: 0, output: 0}       # USD per million tokens; absent: the shipped table",
    "  - alias: demo-embeddings",
    "    type: embeddings",
    "    targets: [{provider: demo, model: demo-embeddings}]",
    "    price: {input: 0}",
    "  # Two targets share the load by weight, and take over from one another:",
    "  # - alias: smart",
    "  #   strategy: weighted",
    "  #   targets:",
    "  #     - {provider: openai, model: gpt-5, weight: 80}",
    "  #     - {provider: openrouter, model: openai/gpt-5, weight: 20}",
    "  #   fallbacks: [demo]",
)
_EXAMPLE_DEPLOYMENT = (
    "  # - alias: azure-chat",
    "  #   targets: [{provider: azure-openai, deployment: the-name-of-your-deployment}]",
)
_BOOTSTRAP = (
    "",
    "bootstrap:",
    "  tenants:",
    '    - {name: demo, models: ["*"]}',
    "  api_keys:",
    f'    - {{tenant: demo, name: demo, prefix: {KEY_PREFIX}, secret: "${{{SECRET_VARIABLE}}}"}}',
)
