"""The effective configuration as YAML that may be shown and stored: each secret is `***` and a short keyed digest."""

import hmac
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import yaml

from router.config.schema import RouterConfig
from router.config.schema_paths import ROOT, Shape

_USER_PART = re.compile(r"(?<=://)([^/@]*)@")
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def masked_yaml(config: RouterConfig, key: bytes, extra: Mapping[str, str]) -> str:
    """Keys in alphabetical order, defaults included; `extra` is added below `_effective`.

    A changed secret changes its digest, so that equal texts mean equal configurations; `key` keeps the digest from being
    a way to guess short secrets.
    """
    plain = config.model_dump(mode="json", by_alias=True, exclude_none=True)
    masked = _masked(plain, ROOT, key)
    masked.pop("include", None)
    return str(
        yaml.dump({**masked, "_effective": dict(extra)}, Dumper=_DUMPER, sort_keys=True, allow_unicode=True, width=1000)
    )


def _masked(value: Any, shape: Shape | None, key: bytes) -> Any:
    if isinstance(value, dict):
        return {
            name: _masked(item, shape.child(name) if shape else None, key)
            for name, item in value.items()
            if not (name == "locked" and not item)
        }
    if isinstance(value, list):
        return [_masked(item, shape.item if shape else None, key) for item in value]
    if shape is None or not isinstance(value, str) or not value:
        return value
    if shape.is_secret:
        return f"***{_digest(value, key)}"
    if shape.is_url and "@" in value:
        return _USER_PART.sub(lambda m: f"***{_digest(m[1], key)}@", value)
    return value


def _digest(secret: str, key: bytes) -> str:
    return hmac.new(key, secret.encode(), sha256).hexdigest()[:8]
