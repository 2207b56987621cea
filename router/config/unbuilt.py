"""Keys that are accepted and validated but have no effect yet, in one table, and what that means for the operator."""

from collections.abc import Iterator
from typing import NamedTuple

from router.config.document import Listing, Node, Scalar, Table
from router.config.problems import Findings, Mark


class Row(NamedTuple):
    """`path` with `*` for any name or index; values in `inert` ask for nothing and are no reason to warn."""

    path: str
    means: str
    inert: tuple[str, ...] = ("",)


_FALSE = ("", "false", "no", "off", "0")

TABLE = (
    Row("health.mode", "targets are probed by listing models", ("", "models", *_FALSE)),
    Row("bootstrap.admin_users", "the accounts are recorded, but nobody can log in"),
    Row("bootstrap.memberships.*.role", "the role is recorded, but nobody can log in", ("", "user")),
    Row("admin.listen", "there is no administration listener"),
    Row("admin.session.jwt_secret", "there is no login"),
    Row("admin.local.enabled", "there is no login", ("", "true", "yes", "on", "1")),
    Row("admin.oidc.enabled", "there is no login", _FALSE),
    Row("admin.signup", "there is no sign-up", _FALSE),
    Row("server.public_url", "no link is made yet"),
    Row("observability.sample", "no traces are exported", ("", "0.1")),
    Row("observability.otlp_endpoint", "no traces are exported"),
    Row("auth.mode", "callers need a key", ("", "keys")),
    Row("retention.log", "only metadata is kept, never prompts or answers", ("", "metadata")),
    Row("retention.metadata_days", "no row is deleted by age", ("", "30")),
    Row("retention.zero_retention", "responses are not stored; all else is kept as always", _FALSE),
)

_KINDS = ("image", "audio")


def warn_unbuilt(tree: Table, findings: Findings) -> None:
    """One warning for each key the operator set."""
    for row in TABLE:
        for key, mark, node in _matches(tree, row.path.split(".")):
            if not _is_inert(node, row.inert):
                findings.warn(mark, key, f"accepted, not in force yet: {row.means}")
    for key, mark, node in _matches(tree, ["model_catalog", "*", "type"]):
        if isinstance(node, Scalar) and node.text in _KINDS:
            findings.warn(mark, key, f"accepted, not in force yet: no route serves models of type {node.text}")


def _is_inert(node: Node, inert: tuple[str, ...]) -> bool:
    if isinstance(node, Scalar):
        return node.text is None or node.text.lower() in inert
    return not (node.items if isinstance(node, Listing) else node.entries)


def _matches(node: Node, steps: list[str], key: str = "", mark: Mark | None = None) -> Iterator[tuple[str, Mark, Node]]:
    if not steps:
        yield key, mark or node.mark, node
    elif isinstance(node, Listing) and steps[0] == "*":
        for index, item in enumerate(node.items):
            yield from _matches(item, steps[1:], f"{key}[{index}]", item.mark)
    elif isinstance(node, Table) and steps[0] in node.entries:
        path = f"{key}.{steps[0]}" if key else steps[0]
        yield from _matches(node.entries[steps[0]], steps[1:], path, node.keys[steps[0]])
