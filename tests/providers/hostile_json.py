"""JSON that nobody meant: values of every kind, and documents with one value that is of another."""

import json
from collections.abc import Sequence

from hypothesis import strategies as st

Values = st.SearchStrategy[object]

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6)


def values_of(names: Sequence[str], words: Sequence[str]) -> Values:
    """Any JSON of moderate size whose objects have members of these `names` and whose texts may be of these `words`."""
    return st.recursive(
        leaves | st.sampled_from(words),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names), inner, max_size=6),
        max_leaves=25,
    )


@st.composite
def mutated(draw: st.DrawFn, whole: object, values: Values) -> object:
    """`whole` with one value somewhere in it replaced."""
    copy = json.loads(json.dumps(whole))
    place = copy
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return copy
        key = draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or draw(st.booleans()):
            place[key] = draw(values)
            return copy
        place = place[key]
