"""The model catalog against the providers and itself: targets, fallbacks, tiers and defaults name what exists."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from router.config.check_providers import ProviderView
from router.config.document import Node, Scalar, Table, Word, entries_of, items_of, node_at, quoted, text_of, words_at
from router.config.problems import Findings, Mark, did_you_mean, one_of, shown
from router.config.provider_types import translated_apis
from router.domain.requests import API_KIND, Api, Kind

DEFAULT_KINDS = {
    "chat": Kind.CHAT,
    "embeddings": Kind.EMBEDDINGS,
    "images": Kind.IMAGE,
    "speech": Kind.AUDIO,
    "transcription": Kind.AUDIO,
    "moderation": Kind.MODERATION,
    "rerank": Kind.RERANK,
}
"""The kind of alias that each key of `defaults` must name."""

_KINDS = {kind.value for kind in Kind}


@dataclass(slots=True)
class CatalogView:
    """Alias names with their kinds; `edges` are the fallbacks of each, with the place of each name."""

    kinds: dict[str, str] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    edges: dict[str, list[Word]] = field(default_factory=dict)

    def kind_of(self, name: str) -> str | None:
        """The kind of the alias that `name` reaches, wildcards included; None if it reaches none."""
        if name in self.kinds:
            return self.kinds[name]
        wild = [alias for alias in self.kinds if alias.endswith("*") and name.startswith(alias[:-1])]
        return self.kinds[max(wild, key=len)] if wild else None


def check_catalog(tree: Table, providers: Mapping[str, ProviderView], findings: Findings) -> CatalogView:
    view = CatalogView()
    for index, node in enumerate(items_of(tree.entries.get("model_catalog"))):
        if isinstance(node, Table):
            _check_alias(node, f"model_catalog[{index}]", view, providers, findings)
    _check_fallbacks(view, findings)
    check_references(tree, "", view, findings)
    return view


def _check_alias(
    node: Table, key: str, view: CatalogView, providers: Mapping[str, ProviderView], findings: Findings
) -> None:
    name, kind = text_of(node.entries.get("alias")), text_of(node.entries.get("type")) or Kind.CHAT.value
    mark = node.entries["alias"].mark if name else node.mark
    if name in view.kinds:
        found = f"the alias {shown(name)} a second time"
        findings.wrong(mark, f"{key}.alias", found, f"one of a name; the first is at {view.marks[name]}")
    elif name:
        view.kinds[name], view.marks[name] = kind, mark
    if not name.isprintable():
        findings.wrong(mark, f"{key}.alias", shown(name), "a name without control characters: headers carry it")
    if "*" in name[:-1]:
        findings.wrong(mark, f"{key}.alias", shown(name), "a name with * as its last character only")
    view.edges.setdefault(name, []).extend(_fallback_words(node.entries.get("fallbacks")))
    _check_targets(node, key, kind, providers, findings)
    price = node.entries.get("price")
    for place, price_key in [(price, key), *_target_prices(node, key)]:
        _check_price(place, f"{price_key}.price", kind, findings)


def _fallback_words(node: Node | None) -> list[Word]:
    if isinstance(node, Table):
        return [word for name, names in node.entries.items() if name != "locked" for word in words_at(names)]
    return words_at(node)


def _target_prices(node: Table, key: str) -> list[tuple[Node | None, str]]:
    targets = items_of(node.entries.get("targets"))
    return [(node_at(target, "price"), f"{key}.targets[{i}]") for i, target in enumerate(targets)]


def _check_price(node: Node | None, key: str, kind: str, findings: Findings) -> None:
    """Charging nothing for the tokens nobody priced would be silent: chat names both sides."""
    if not isinstance(node, Table):
        return
    if kind == Kind.RERANK and text_of(node.entries.get("search")):
        return
    needed = (
        ("input", "output") if kind == Kind.CHAT else ("input",) if kind in ("embeddings", "moderation", "rerank") else ()
    )
    for name in needed:
        if not text_of(node.entries.get(name)):
            findings.wrong(node.mark, key, "nothing", f"the key {name} (0 if it is free)")


def _check_targets(alias: Table, key: str, kind: str, providers: Mapping[str, ProviderView], findings: Findings) -> None:
    targets = [t for t in items_of(alias.entries.get("targets")) if isinstance(t, Table)]
    seen: set[tuple[str, str]] = set()
    for index, target in enumerate(targets):
        place = f"{key}.targets[{index}]"
        _check_provider(target, place, kind, providers, findings)
        model = text_of(target.entries.get("deployment")) or text_of(target.entries.get("model"))
        identity = (text_of(target.entries.get("provider")), model)
        if identity in seen:
            findings.wrong(
                target.mark, place, "the same provider and model a second time", "one target of each, with its weight"
            )
        seen.add(identity)
    weights = [text_of(t.entries.get("weight")) or "1" for t in targets]
    if targets and all(w.strip("0") == "" for w in weights):
        findings.wrong(targets[0].mark, f"{key}.targets", "weights that are all 0", "at least one weight above 0")


def _check_provider(target: Table, key: str, kind: str, providers: Mapping[str, ProviderView], findings: Findings) -> None:
    node = target.entries.get("provider")
    name = text_of(node)
    if not name or node is None:
        return
    view = providers.get(name)
    if view is None:
        findings.wrong(node.mark, f"{key}.provider", quoted(node), _names(providers), did_you_mean(name, providers))
        return
    if view.needs_deployment and not text_of(target.entries.get("deployment")):
        hint = 'With api_version "v1" the model is the deployment.'
        findings.wrong(target.mark, key, "nothing", f"the key deployment: {name} is an azure-openai provider", hint)
    spoken = {api for api in Api if api in view.apis}
    served = {API_KIND[api].value for api in API_KIND if api in spoken or api in translated_apis(frozenset(spoken))}
    if view.kind is not None and kind in {k.value for k in API_KIND.values()} and kind not in served:
        found = f"{quoted(node)}, which serves {', '.join(sorted(view.apis))}"
        findings.wrong(node.mark, f"{key}.provider", found, f"a provider for the alias's type, {kind}")


def _names(names: Mapping[str, object]) -> str:
    return one_of(names) if names else "a name from the section providers, which is empty"


def _check_fallbacks(view: CatalogView, findings: Findings) -> None:
    exact = {name: kind for name, kind in view.kinds.items() if not name.endswith("*")}
    for alias, edges in view.edges.items():
        for name, mark, said in edges:
            key = f"fallbacks of {alias}"
            if name not in exact:
                hint = did_you_mean(name, exact)
                found = f"{said}, a wildcard" if name in view.kinds else said
                findings.wrong(mark, key, found, one_of(exact), hint)
            elif exact[name] != view.kinds.get(alias) and {exact[name], view.kinds.get(alias)} <= _KINDS:
                found = f"{said} of type {exact[name]}"
                findings.wrong(mark, key, found, f"an alias of type {view.kinds.get(alias)}")
    cycle = find_cycle({alias: [word.text for word in edges] for alias, edges in view.edges.items()})
    if cycle:
        mark = next(word.mark for word in view.edges[cycle[0]] if word.text == cycle[1])
        found = f"a circle: {' -> '.join(cycle)}"
        findings.wrong(mark, f"fallbacks of {cycle[0]}", found, "fallbacks that lead to an end")


def find_cycle(edges: Mapping[str, list[str]]) -> list[str]:
    """A path that returns to its start, or nothing. Iterative: chains may be longer than Python's stack."""
    done: set[str] = set()
    for start in edges:
        path: list[str] = []
        on_path: set[str] = set()
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                on_path.discard(path.pop())
                done.add(name)
            elif name in on_path:
                return [*path[path.index(name) :], name]
            elif name not in done:
                path.append(name)
                on_path.add(name)
                stack.append((name, True))
                stack.extend((after, False) for after in reversed(edges.get(name, ())))
    return []


def check_references(node: Node, key: str, view: CatalogView, findings: Findings) -> None:
    """`tiers` and `defaults` of the file or of one tenant."""
    prefix = f"{key}." if key else ""
    for name, value in entries_of(node_at(node, "tiers")).items():
        _check_reference(value, f"{prefix}tiers.{name}", Kind.CHAT, view, findings)
    for name, value in entries_of(node_at(node, "defaults")).items():
        if name in DEFAULT_KINDS:
            _check_reference(value, f"{prefix}defaults.{name}", DEFAULT_KINDS[name], view, findings)


def _check_reference(node: Node, key: str, kind: Kind, view: CatalogView, findings: Findings) -> None:
    if not isinstance(node, Scalar) or not node.text:
        return
    actual = view.kind_of(node.text)
    if actual is None:
        expected = one_of(view.kinds) if view.kinds else "an alias of model_catalog, which is empty"
        findings.wrong(node.mark, key, quoted(node), expected, did_you_mean(node.text, view.kinds))
    elif actual != kind.value and actual in _KINDS:
        findings.wrong(node.mark, key, f"{quoted(node)} of type {actual}", f"an alias of type {kind.value}")
