"""A provider at AWS: one way to prove who asks, whole, and what that way needs."""

from collections.abc import Iterator

from router.config.aws_access import CHAIN_KEYS, has_chain
from router.config.document import Table, text_of
from router.config.problems import Mark

_PAIR = ("access_key_id", "secret_access_key")
_STATIC = (*_PAIR, "session_token")
_WAYS = "one of api_key, access_key_id with secret_access_key, profile, or default_credentials: true"


def aws_mistakes(node: Table, mark: Mark) -> Iterator[tuple[str, Mark, str]]:
    """Each as (found, where, expected)."""
    if not _given(node, "region"):
        yield "nothing", node.keys.get("region", mark), "the key region, such as us-east-1"
    ways = [way for way in ("api_key", "api_keys", "profile", "default_credentials") if _given(node, way)]
    if any(_given(node, name) for name in _STATIC):
        ways.append("access_key_id")
        yield from _incomplete(node, mark)
    if len(ways) > 1 and ways != ["api_key", "api_keys"]:
        yield f"{' and '.join(ways)}", node.keys.get(ways[-1], mark), _WAYS
    if not ways and not _given(node, "role_arn"):
        empty = [name for name in (*_STATIC, "api_key", "profile") if name in node.entries]
        yield ("an empty credential" if empty else "nothing"), node.keys[empty[0]] if empty else mark, _WAYS
    if _given(node, "role_arn") and {"api_key", "api_keys"} & set(ways):
        yield (
            "role_arn beside an API key",
            node.keys["role_arn"],
            "keys of AWS, which can assume a role, or the API key alone",
        )
    if _given(node, "external_id") and not _given(node, "role_arn"):
        yield "external_id without role_arn", node.keys["external_id"], "the key role_arn, whose trust policy asks for it"
    for name in CHAIN_KEYS:
        if _given(node, name) and not has_chain():
            yield (
                f"{name} without botocore",
                node.keys[name],
                "the extra aws (pip install 'routerd[aws]'), or keys in the file",
            )


def _incomplete(node: Table, mark: Mark) -> Iterator[tuple[str, Mark, str]]:
    for name in _PAIR:
        if not _given(node, name):
            place = node.keys.get(name, next((node.keys[other] for other in _STATIC if other in node.keys), mark))
            yield f"no {name}", place, "access_key_id and secret_access_key together, and session_token if there is one"


def _given(node: Table, name: str) -> bool:
    """Whether a key says something: an empty text and `false` do not."""
    found = node.entries.get(name)
    return found is not None and (not hasattr(found, "text") or text_of(found).lower() not in {"", "false"})
