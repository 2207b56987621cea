"""Providers against the table of types: known type, the keys it takes, an address, a credential."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from router.config.check_aws import aws_mistakes
from router.config.check_files import check_ca_file
from router.config.check_google import google_mistakes
from router.config.check_omissions import check_omissions
from router.config.document import Node, Table, entries_of, items_of, node_at, quoted, text_of, words_at
from router.config.problems import Findings, Mark, did_you_mean, one_of, shown
from router.config.provider_types import AZURE_DEFAULT_VERSION, AZURE_V1, PROVIDER_TYPES, ProviderType, default_apis
from router.config.schema_catalog import ProviderConfig
from router.config.schema_paths import children
from router.domain.requests import INBOUND, Api
from router.domain.upstream import TRANSPORT_HEADERS

_NOT_CONFIGURED = TRANSPORT_HEADERS | {"accept-encoding"}


@dataclass(frozen=True, slots=True)
class ProviderView:
    """What the catalog's checks need of a provider. `kind` None: its type is unknown, so nothing can be said."""

    name: str
    kind: ProviderType | None
    apis: frozenset[str]
    needs_deployment: bool


def check_providers(tree: Table, folder: Path, findings: Findings) -> dict[str, ProviderView]:
    providers = tree.entries.get("providers")
    views = {}
    for name, node in entries_of(providers).items():
        if isinstance(node, Table) and isinstance(providers, Table):
            views[name] = _check(name, node, providers.keys[name], folder, findings)
        else:
            views[name] = ProviderView(name, None, INBOUND, needs_deployment=False)
    return views


def _check(name: str, node: Table, mark: Mark, folder: Path, findings: Findings) -> ProviderView:
    key = f"providers.{name}"
    if not name.isprintable():
        findings.wrong(mark, key, shown(name), "a name without control characters: headers carry it")
    written = text_of(node.entries.get("type"))
    kind = PROVIDER_TYPES.get(written)
    if kind is None:
        if written:
            hint = did_you_mean(written, PROVIDER_TYPES)
            findings.wrong(
                node.entries["type"].mark, f"{key}.type", quoted(node.entries["type"]), one_of(PROVIDER_TYPES), hint
            )
        return ProviderView(name, None, INBOUND, needs_deployment=False)
    mistakes = [*_mistakes(node, mark, kind), *(aws_mistakes(node, mark) if kind.is_aws else ())]
    if kind.is_google:
        mistakes += google_mistakes(node, mark, folder)
    for wrong, place, expected in mistakes:
        findings.wrong(place, key, wrong, expected)
    apis = _check_apis(node, kind, key, findings)
    _check_headers(node.entries.get("headers"), key, findings)
    check_ca_file(node.entries.get("ca_file"), f"{key}.ca_file", folder, findings)
    check_omissions(node.entries.get("drop_unsupported"), f"{key}.drop_unsupported", findings)
    version = text_of(node.entries.get("api_version")) or AZURE_DEFAULT_VERSION
    is_dated = kind.name == "azure-openai" and version not in AZURE_V1 and Api.CONTENT_SAFETY not in apis
    return ProviderView(name, kind, apis, needs_deployment=is_dated)


def _mistakes(node: Table, mark: Mark, kind: ProviderType) -> Iterator[tuple[str, Mark, str]]:
    """Each as (found, where, expected)."""
    for wrong in node.entries:
        if wrong not in kind.keys and wrong in children(ProviderConfig):
            yield f"the key {wrong}", node.keys[wrong], f"for the type {kind.name} {one_of(kind.keys - {'locked'})}"
    if kind.url_key and not kind.base_url and not text_of(node.entries.get(kind.url_key)):
        yield "nothing", mark, f"the key {kind.url_key}: the type {kind.name} has no address of its own"
    has_key, has_keys = bool(text_of(node.entries.get("api_key"))), bool(items_of(node.entries.get("api_keys")))
    if has_key and has_keys:
        yield "both api_key and api_keys", node.keys["api_keys"], "one of the two"
    if kind.needs_key and not has_key and not has_keys:
        place = node.keys.get("api_key", mark)
        yield "an empty credential" if "api_key" in node.entries else "nothing", place, "the key api_key or api_keys"


def _check_headers(node: Node | None, key: str, findings: Findings) -> None:
    """What frames a request or belongs to one connection is written by whoever holds the connection."""
    for name, mark in node.keys.items() if isinstance(node, Table) else ():
        if name.lower() in _NOT_CONFIGURED:
            wrong = "answers are asked for uncompressed" if name.lower() == "accept-encoding" else "routerd writes it itself"
            findings.wrong(mark, f"{key}.headers.{name}", f"the header {name.lower()}", f"any other: {wrong}")


def _check_apis(node: Table, kind: ProviderType, key: str, findings: Findings) -> frozenset[str]:
    written = words_at(node.entries.get("apis"))
    for api, mark, said in written:
        if api in set(Api) and api not in kind.apis:
            findings.wrong(mark, f"{key}.apis", said, f"{one_of(kind.apis)}: the type {kind.name} serves no other")
        elif api == Api.CONTENT_SAFETY and len(written) > 1:
            alone = "content_safety alone: it is a service of its own, with a key and versions of its own"
            findings.wrong(mark, f"{key}.apis", f"{said} among others", alone)
    return frozenset(word.text for word in written) or default_apis(kind, text_of(node_at(node, "api_version")))
