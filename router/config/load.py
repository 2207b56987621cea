"""From files and environment to a RouterConfig, or to every mistake at once.

Order: read, merge includes, expand `${...}`, lay ROUTER_* variables over it, validate, check what refers to what.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from router.config.check_alerts import check_alerts
from router.config.check_bootstrap import check_bootstrap, check_server_secret
from router.config.check_budgets import warn_of_budgets
from router.config.check_catalog import check_catalog
from router.config.check_files import check_tls, digests_of
from router.config.check_providers import check_providers
from router.config.check_workers import check_workers
from router.config.document import (
    MAX_BYTES,
    MAX_NODES,
    Document,
    Listing,
    Table,
    entries_of,
    merge_into,
    node_at,
    read_document,
    text_of,
    words_at,
)
from router.config.env_overrides import apply_overrides
from router.config.environment import Expander, read_bounded, read_dotenv, scalars, why_unreadable
from router.config.problems import ConfigError, Findings, Mark, Problem, did_you_mean, shown
from router.config.proxies import resolve_proxies
from router.config.schema import RouterConfig
from router.config.unbuilt import warn_unbuilt
from router.config.validate import validate

_REFERENCED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)")
_MOST_INCLUDES = 500


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that may be compiled. `folder` is what relative file names start from.

    `origins` says where each value that is no default came from (`router.yaml:3:11`, `environment PORT`) by key path;
    `files` are all that were read, for watching; `force_failover` names what ROUTER_FORCE_FAILOVER makes fail;
    `ca_digests` are of the contents of the files that `ca_file` and `credentials_file` name, by that name.
    """

    config: RouterConfig
    path: Path
    folder: Path
    warnings: tuple[str, ...]
    files: tuple[Path, ...]
    origins: Mapping[str, str] = field(repr=False)
    force_failover: frozenset[str] = frozenset()
    ca_digests: Mapping[str, str] = field(default_factory=dict)


def load(path: Path, environ: Mapping[str, str]) -> Loaded:
    """Read the configuration at `path`. Raises ConfigError with all problems; touches nothing."""
    source = _Source(path)
    tree = source.read()
    if source.problems and not source.is_whole:
        raise ConfigError(source.problems, source.files)
    variables = source.environment(environ)
    findings = Findings(source.problems)
    referenced = frozenset(name for _, s in scalars(tree) for name in _REFERENCED.findall(s.written))
    expander = Expander(variables, source.folder)
    expander.expand(tree)
    findings.problems += expander.problems
    overrides = apply_overrides(tree, variables, referenced)
    findings.problems += overrides.problems
    findings.warnings += overrides.unknown
    resolve_proxies(tree, variables, findings)
    config, problems = validate(tree)
    findings.problems += problems
    _check_references(tree, source.folder, findings)
    forced = _force_failover(tree, variables, findings)
    findings.problems = _without_echoes(findings.problems)
    if findings.problems or config is None:
        raise ConfigError(findings.problems, [*source.files, *expander.files])
    warn_of_budgets(config, tree, findings)
    tls = [source.folder / text for name in ("cert", "key") if (text := text_of(node_at(tree, "server", "tls", name)))]
    ca_files = _ca_files(tree)
    return Loaded(
        config=config,
        path=path,
        folder=source.folder,
        warnings=tuple(findings.warnings),
        files=tuple(dict.fromkeys([*source.files, *expander.files, *tls, *(source.folder / name for name in ca_files)])),
        origins={key: str(scalar.mark) for key, scalar in scalars(tree) if scalar.text is not None},
        force_failover=forced,
        ca_digests=digests_of(ca_files, source.folder),
    )


def _check_references(tree: Table, folder: Path, findings: Findings) -> None:
    providers = check_providers(tree, folder, findings)
    catalog = check_catalog(tree, providers, findings)
    check_bootstrap(tree, catalog, findings)
    check_server_secret(tree, findings)
    check_tls(tree, folder, findings)
    check_workers(tree, findings)
    check_alerts(tree, findings)
    if not catalog.kinds:
        findings.warn(tree.mark, "model_catalog", "it is empty: every request will answer model_not_found")
    warn_unbuilt(tree, findings)


def _without_echoes(problems: list[Problem]) -> list[Problem]:
    """A variable that is not set leaves an empty value; complaints about that emptiness say nothing new."""
    unset = {(p.mark, p.key) for p in problems if p.found.startswith("${") and p.found.endswith("is not set")}
    marks = {mark for mark, _ in unset}
    return [p for p in problems if p.mark not in marks or (p.mark, p.key) in unset]


def _ca_files(tree: Table) -> list[str]:
    """Beside the authorities, what proves to a provider who asks: another content is another provider."""
    nodes = entries_of(tree.entries.get("providers")).values()
    names = ("ca_file", "credentials_file")
    return [text for node in nodes for name in names if (text := text_of(node_at(node, name)))]


def _force_failover(tree: Table, environ: Mapping[str, str], findings: Findings) -> frozenset[str]:
    names = [name.strip() for name in environ.get("ROUTER_FORCE_FAILOVER", "").split(",") if name.strip()]
    catalog = tree.entries.get("model_catalog")
    aliases = [text_of(node_at(item, "alias")) for item in (catalog.items if isinstance(catalog, Listing) else [])]
    known = {*entries_of(tree.entries.get("providers")), *filter(None, aliases)}
    for name in names:
        if name not in known:
            text = f"{shown(name)} is no provider and no alias; ignored. {did_you_mean(name, known)}".rstrip()
            findings.warn(Mark("environment"), "ROUTER_FORCE_FAILOVER", text)
    if known.intersection(names):
        forced = ", ".join(sorted(known.intersection(names)))
        findings.warn(Mark("environment"), "ROUTER_FORCE_FAILOVER", f"a rehearsal: every call of {forced} fails on purpose")
    return frozenset(known.intersection(names))


class _Source:
    """Reads the main file, what it includes, and the `.env` beside it. Names in messages are relative to the main file."""

    def __init__(self, path: Path) -> None:
        self.problems: list[Problem] = []
        self.files: list[Path] = [path]
        self.is_whole = True
        self.folder = path.absolute().parent
        self._path = path
        self._nodes = 0

    def read(self) -> Table:
        document = self._document(self._path, self._path.name)
        tree = document.root
        for word in words_at(tree.entries.get("include")):
            for path in self._matches(word.text, word.mark):
                self._include(tree, path)
        return tree

    def _document(self, path: Path, name: str) -> Document:
        try:
            content = read_bounded(path, MAX_BYTES)
        except (OSError, ValueError) as error:
            problem = Problem(
                Mark(name), "", f"no usable file: {why_unreadable(error)}", f"YAML of at most {MAX_BYTES} bytes"
            )
            document = Document(Table(Mark(name)), (problem,), is_whole=False)
        else:
            document = read_document(content, name)
        self.problems += document.problems
        self.is_whole = self.is_whole and document.is_whole
        return document

    def _matches(self, pattern: str, mark: Mark) -> list[Path]:
        """Files of one pattern in the order of their names. A pattern may match nothing, a plain name may not."""
        try:
            is_absolute = Path(pattern).is_absolute()
            found = sorted(Path("/").glob(pattern.lstrip("/")) if is_absolute else self.folder.glob(pattern))
        except (ValueError, OSError, NotImplementedError, IndexError):  # pathlib has a kind for each way to be no pattern
            found = []
            self.problems.append(Problem(mark, "include", shown(pattern), "a file name or a pattern such as conf.d/*.yaml"))
            return found
        if not found and not any(c in pattern for c in "*?["):
            self.problems.append(
                Problem(mark, "include", f"{shown(pattern)}, which does not exist", "a file beside this one")
            )
        if len(found) > _MOST_INCLUDES:
            self.problems.append(Problem(mark, "include", f"{len(found)} files", f"at most {_MOST_INCLUDES}"))
            return []
        return [path for path in found if path.is_file() and path.absolute() != self._path.absolute()]

    def _include(self, tree: Table, path: Path) -> None:
        inside = path.is_relative_to(self.folder)
        document = self._document(path, str(path.relative_to(self.folder)) if inside else str(path))
        self.files.append(path)
        self._nodes += sum(1 for _ in scalars(document.root))
        nested = document.root.entries.pop("include", None)
        if nested is not None:
            self.problems.append(
                Problem(nested.mark, "include", "an include in an included file", "includes in the main file")
            )
        if self._nodes > MAX_NODES:
            self.is_whole = False
            self.problems.append(Problem(Mark(path.name), "", f"more than {MAX_NODES} values in all", "smaller files"))
        elif document.is_whole:
            merge_into(tree, document.root, self.problems)

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The variables of `.env` with those of the environment over them."""
        path = self.folder / ".env"
        self.files.append(path)
        if not path.is_file():
            return dict(environ)
        try:
            text = read_bounded(path, MAX_BYTES).decode("utf-8-sig")
        except (OSError, ValueError) as error:
            self.problems.append(Problem(Mark(".env"), "", why_unreadable(error), "NAME=value lines in UTF-8"))
            return dict(environ)
        values, problems = read_dotenv(text, ".env")
        self.problems += problems
        return {**values, **environ}
