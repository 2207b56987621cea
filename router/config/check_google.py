"""A provider at Google's Vertex: a project, and one way to prove who asks."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from router.config.document import Node, Table, items_of, text_of
from router.config.environment import read_bounded, why_unreadable
from router.config.google_access import has_google_auth
from router.config.problems import Mark

_MOST_BYTES = 2**20
_EXTRA = "the extra google (pip install 'routerd[google]'), or an api_key"
_KINDS = (
    "service_account",
    "authorized_user",
    "external_account",
    "external_account_authorized_user",
    "impersonated_service_account",
    "gdch_service_account",
)
_A_KEY = "the JSON of a service account's key, or of another credential of Google's, with its type"


class _Credential(msgspec.Struct):
    type: str = ""


def google_mistakes(node: Table, mark: Mark, folder: Path) -> Iterator[tuple[str, Mark, str]]:
    """Each as (found, where, expected)."""
    has_key = bool(text_of(node.entries.get("api_key")) or items_of(node.entries.get("api_keys")))
    is_bearer = text_of(node.entries.get("auth")) == "bearer"
    if text_of(node.entries.get("auth")) == "x-api-key":
        yield "auth: x-api-key", node.keys["auth"], "nothing, for an API key, or bearer, for an access token as api_key"
    if is_bearer and not has_key:
        yield "auth: bearer without a token", node.keys["auth"], "the access token as api_key"
    if not text_of(node.entries.get("project")) and (is_bearer or not has_key):
        yield "nothing", node.keys.get("project", mark), "the key project: Google Cloud's id of the project that pays"
    given = [name for name in ("credentials_file", "credentials") if text_of(node.entries.get(name))]
    if len(given) > 1:
        yield "both credentials_file and credentials", node.keys["credentials"], "one of the two"
    if given and has_key:
        yield f"{given[0]} beside an API key", node.keys[given[0]], "one of the two"
    if not has_key and not has_google_auth():
        place = node.keys[given[0]] if given else node.keys.get("project", mark)
        yield f"{given[0] if given else 'default credentials'} without google-auth", place, _EXTRA
    for name in given:
        if wrong := _unreadable(node.entries[name], folder if name == "credentials_file" else None):
            yield f"{name}: {wrong}", node.keys[name], _A_KEY


def _unreadable(node: Node, folder: Path | None) -> str:
    """What is wrong with a credential, never what it holds; "" for nothing. `folder` None: `node` is its content."""
    try:
        content = text_of(node).encode() if folder is None else read_bounded(folder / text_of(node), _MOST_BYTES)
    except (OSError, ValueError) as error:
        return why_unreadable(error)
    try:
        kind = msgspec.json.decode(content, type=_Credential).type
    except (msgspec.MsgspecError, RecursionError):
        return "it is no JSON object with a type"
    return "" if kind in _KINDS else f"its type is {kind[:40]!r}"
