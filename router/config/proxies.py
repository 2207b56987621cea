"""`proxy: environment` of a provider: what HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say of its address.

Resolved once, when the file is read, like any other value from outside; the small spelling of a variable goes first.
"""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from pydantic_core import PydanticCustomError

from router.config.document import Scalar, Table, entries_of, node_at, text_of
from router.config.fields import proxy_url
from router.config.google_access import vertex_host
from router.config.problems import Findings
from router.config.provider_types import PROVIDER_TYPES

FROM_ENVIRONMENT = "environment"


def resolve_proxies(tree: Table, environ: Mapping[str, str], findings: Findings) -> None:
    """Put the proxy's URL, or "" for none, in the place of the word `environment`."""
    for name, provider in entries_of(tree.entries.get("providers")).items():
        node = node_at(provider, "proxy")
        if not isinstance(node, Scalar) or node.text != FROM_ENVIRONMENT:
            continue
        variable, url = proxy_for(_address(provider), environ)
        try:
            node.text = proxy_url(url)
        except PydanticCustomError as error:
            node.text = ""
            found = f"environment, and {variable} in it"
            findings.wrong(node.mark, f"providers.{name}.proxy", found, error.message().partition(", or ")[2])


def proxy_for(url: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The variable that decides and the proxy's URL; two empty texts where the address is reached directly."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "", ""
    if not host or _is_exempt(host, port, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return "", ""
    for variable in (f"{parts.scheme}_proxy", "all_proxy"):
        for spelling in (variable, variable.upper()):
            if found := environ.get(spelling, "").strip():
                return spelling, found if "://" in found else f"http://{found}"
    return "", ""


def _address(provider: object) -> str:
    """Where the provider is reached, as far as the file has it right."""
    if not isinstance(provider, Table):
        return ""
    kind = PROVIDER_TYPES.get(text_of(provider.entries.get("type")))
    if kind is not None and kind.is_google:
        return text_of(provider.entries.get("base_url")) or vertex_host(text_of(provider.entries.get("location")))
    if kind is None or not kind.url_key:
        return ""
    return text_of(provider.entries.get(kind.url_key)) or kind.base_url


def _is_exempt(host: str, port: int, exempt: str) -> bool:
    """NO_PROXY: names, which stand for what ends in them too, with a port or without; addresses; networks; `*`."""
    host = host.rstrip(".").lower()
    return any(_covers(entry.strip().lower(), host, port) for entry in exempt.split(",") if entry.strip())


def _covers(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass  # one of the two is a name
    name, _, its_port = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
    name = name.removeprefix("*").lstrip(".").rstrip(".")
    return bool(name) and its_port in {"", str(port)} and (host == name or host.endswith(f".{name}"))
