"""Whatever the file holds: a configuration or a ConfigError, never a crash, never a secret in the message."""

import string
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from router.config.compile import compile_snapshot
from router.config.load import load
from router.config.problems import ConfigError
from router.config.schema_paths import ROOT, Shape, children

_CANARY = "sk-canary-9f8e7d6c5b4a39281706"


def _keys(shape: Shape) -> set[str]:
    found: set[str] = set()
    if shape.section is not None:
        for name, child in children(shape.section).items():
            found |= {name} | _keys(child)
    return found | _keys(shape.item) if shape.item is not None else found


KEYS = sorted(_keys(ROOT))
WORDS = st.sampled_from(
    "demo openai simulated azure-openai a b * o/* chat off 5s 0 -1 1e400 nan true http://h 127.0.0.1:1 10.0.0.0/8 "
    f"sqlite:///x postgres://u:p@h/d ${{X}} ${{Y:-}} ${{file:/nope}} \x7f {_CANARY}".split()
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=8) | st.dates().map(str)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=30,
)
ROOTS = st.dictionaries(
    st.sampled_from(sorted(children(ROOT.section) if ROOT.section else {})), TREES, min_size=1, max_size=6
)


def outcome(content: bytes, environ: dict[str, str]) -> str:
    """The fingerprint, or the error as printed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "router.yaml"
        path.write_bytes(content)
        try:
            return compile_snapshot(load(path, environ)).fingerprint
        except ConfigError as error:
            refused = error
    assert refused.problems
    assert _CANARY not in refused.render()
    return refused.render()


@settings(max_examples=250, deadline=None)
@given(ROOTS)
def test_random_mappings_load_or_are_refused(tree: dict[str, Any]) -> None:
    assert outcome(yaml.safe_dump(tree, allow_unicode=True).encode(), {"X": _CANARY})


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet=string.printable, max_size=200).map(str.encode))
def test_random_bytes_load_or_are_refused(content: bytes) -> None:
    assert outcome(content, {})


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.lists(st.sampled_from(KEYS), min_size=1, max_size=4).map(lambda w: "ROUTER_" + "_".join(w).upper()), WORDS
    )
)
def test_random_variables_load_or_are_refused(environ: dict[str, str]) -> None:
    text = b"providers: {demo: {type: simulated}}\nmodel_catalog: [{alias: a, targets: [{provider: demo}]}]\n"
    assert outcome(text, environ | {"X": _CANARY})
