"""The bootstrap section against itself and the catalog, and the secrets the file must or must not hold."""

from collections.abc import Iterator

from router.config.check_catalog import CatalogView, check_references
from router.config.document import Node, Scalar, Table, items_of, node_at, quoted, text_of, words_at
from router.config.problems import Findings, Mark, did_you_mean, one_of

_SHORT_SECRET = 20
_SERVER_SECRET_BYTES = 32


def check_bootstrap(tree: Table, catalog: CatalogView, findings: Findings) -> None:
    section = tree.entries.get("bootstrap")
    tenants = _unique(section, "tenants", "name", findings)
    _unique(section, "admin_users", "email", findings)
    _unique(section, "api_keys", "prefix", findings)
    for rows in ("tenant_limits", "tenant_budgets"):
        _unique(section, rows, "tenant", findings)
    for rows in ("api_keys", "memberships", "tenant_limits", "tenant_budgets"):
        for key, row in _rows(section, rows):
            _check_name(row.entries.get("tenant"), f"{key}.tenant", tenants, findings)
    _check_members(section, findings)
    for rows in ("tenants", "api_keys"):
        for key, row in _rows(section, rows):
            _warn_patterns(row.entries.get("models"), f"{key}.models", catalog, findings)
    for key, row in _rows(section, "tenants"):
        check_references(row, key, catalog, findings)
    for key, row in _rows(section, "api_keys"):
        _check_secret(row.entries.get("secret"), f"{key}.secret", findings)


def _rows(section: Node | None, name: str) -> Iterator[tuple[str, Table]]:
    for index, row in enumerate(items_of(node_at(section, name))):
        if isinstance(row, Table):
            yield f"bootstrap.{name}[{index}]", row


def _unique(section: Node | None, rows: str, column: str, findings: Findings) -> dict[str, Mark]:
    """The values of a column with the place of each first one; a second one is a problem."""
    seen: dict[str, Mark] = {}
    for key, row in _rows(section, rows):
        node = row.entries.get(column)
        value = text_of(node)
        if node is None or not value:
            continue
        if value in seen:
            found = f"{quoted(node)} a second time"
            findings.wrong(node.mark, f"{key}.{column}", found, f"each {column} once; the first is at {seen[value]}")
        seen.setdefault(value, node.mark)
    return seen


def _check_members(section: Node | None, findings: Findings) -> None:
    """A member is an e-mail address, in any case, within a tenant; a key may belong to one of its own tenant."""
    members: dict[str, dict[str, Mark]] = {}
    for key, row in _rows(section, "memberships"):
        node, tenant = row.entries.get("email"), text_of(row.entries.get("tenant"))
        email = text_of(node).lower()
        if node is None or not email:
            continue
        seen = members.setdefault(tenant, {})
        if email in seen:
            expected = f"each member of a tenant once; the first is at {seen[email]}"
            findings.wrong(node.mark, f"{key}.email", f"{quoted(node)} a second time", expected)
        seen.setdefault(email, node.mark)
    for key, row in _rows(section, "api_keys"):
        node, tenant = row.entries.get("member"), text_of(row.entries.get("tenant"))
        email, known = text_of(node).lower(), members.get(tenant, {})
        if node is not None and email and email not in known:
            expected = f"a member that bootstrap.memberships lists for the tenant {tenant}: "
            expected += one_of(known) if known else "it lists none"
            findings.wrong(node.mark, f"{key}.member", quoted(node), expected, did_you_mean(email, known))


def _check_name(node: Node | None, key: str, names: dict[str, Mark], findings: Findings) -> None:
    name = text_of(node)
    if node is None or not name or name in names:
        return
    expected = one_of(names) if names else "a name this section declares, and it declares none"
    findings.wrong(node.mark, key, quoted(node), expected, did_you_mean(name, names))


def _warn_patterns(node: Node | None, key: str, catalog: CatalogView, findings: Findings) -> None:
    for pattern, mark, said in words_at(node):
        prefix = pattern[:-1] if pattern.endswith("*") else None
        reaches = catalog.kind_of(pattern) is not None
        if prefix is not None:
            reaches = reaches or any(alias.startswith(prefix) for alias in catalog.kinds)
        if not reaches:
            hint = did_you_mean(pattern, catalog.kinds)
            findings.warn(mark, key, f"{said} names no alias. {hint}".rstrip())


def _check_secret(node: Node | None, key: str, findings: Findings) -> None:
    text = text_of(node)
    if node is None or not text:
        return
    if not all("!" <= c <= "~" for c in text):
        findings.wrong(node.mark, key, "***", "printable ASCII characters without spaces")
    elif 8 <= len(text) < _SHORT_SECRET:
        findings.warn(node.mark, key, f"a secret of {len(text)} characters can be guessed; use {_SHORT_SECRET} or more")


def check_server_secret(tree: Table, findings: Findings) -> None:
    """Keys are stored as digests under this secret: short is weak, and on PostgreSQL every process needs the same."""
    node, url = node_at(tree, "server", "secret"), node_at(tree, "database", "url")
    secret = text_of(node)
    if node is not None and secret and len(secret.encode("utf-8", "surrogateescape")) < _SERVER_SECRET_BYTES:
        found = f"*** ({len(secret.encode('utf-8', 'surrogateescape'))} bytes)"
        findings.wrong(node.mark, "server.secret", found, f"at least {_SERVER_SECRET_BYTES} bytes")
    master = node_at(tree, "encryption", "master_key")
    if master is not None and 0 < len(text_of(master)) < _SERVER_SECRET_BYTES:
        advice = f"a key of {len(text_of(master))} characters can be guessed; use {_SERVER_SECRET_BYTES} or more"
        findings.warn(master.mark, "encryption.master_key", advice)
    if not secret and isinstance(url, Scalar) and text_of(url).startswith(("postgres://", "postgresql://")):
        hint = "All processes on one database share it; `openssl rand -hex 32` makes one."
        mark = node.mark if node is not None else url.mark
        findings.wrong(
            mark,
            "server.secret",
            "nothing",
            f"{_SERVER_SECRET_BYTES} bytes or more, because the database is PostgreSQL",
            hint,
        )
