"""Whatever a caller asks is said to a target, refused by name, or named among what was dropped."""

import json

import pytest
from hypothesis import given, settings

from router.domain.chat import ChatQuery
from router.domain.errors import InvalidRequest, UnsupportedFeature
from router.providers.codec import Encoded, TargetSide
from tests.providers.properties.made_chats import queries
from tests.providers.properties.targets import TARGETS

MAY_GO = {"file's name": "file's name", "title": "file's name"}
"""Place -> the name under which it may have been dropped."""


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(asked=queries())
def test_nothing_of_a_request_is_lost_in_silence(name: str, asked: tuple[ChatQuery, dict[str, str]]) -> None:
    query, marks = asked
    target, models = TARGETS[name]
    for model in models:
        encoded = encoded_or_refused(target, query, model)
        if not isinstance(encoded, Encoded):
            assert encoded.param, encoded.message
            continue
        json.loads(encoded.body)
        body = encoded.body.decode()
        lost = {place for word, place in marks.items() if word not in body and MAY_GO.get(place) not in encoded.dropped}
        assert not lost


def encoded_or_refused(target: TargetSide, query: ChatQuery, model: str) -> Encoded | UnsupportedFeature | InvalidRequest:
    try:
        return target.encode_query(query, model, f"p/{model}")
    except (UnsupportedFeature, InvalidRequest) as error:
        return error
