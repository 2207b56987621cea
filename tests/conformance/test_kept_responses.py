"""Recorded answers of the Responses API as they are told when they are kept: under ids of ours, and else as they came."""

import json
from typing import Any

import pytest

from router.domain.requests import Api
from router.domain.responses import ResponseStatus
from router.gateway.response_items import asked_of, items_of, names_items, outputs_of, rewritten
from router.gateway.response_stamp import stamped, stamped_frames, status_in
from router.providers.sse import FrameSplitter, blocks
from tests.conformance.recordings import ABSENT, exchange, names

NONE = pytest.param("none", marks=pytest.mark.skip(ABSENT))
OURS = {"id": "resp_ours", "store": True, "previous_response_id": "resp_before"}
MEMBERS = {name: json.dumps(value).encode() for name, value in OURS.items()}


def recorded(*, stream: bool) -> list[Any]:
    found = [n for n in names() if exchange(n).api is Api.RESPONSES and exchange(n).status == 200]
    return [n for n in found if exchange(n).is_sse is stream] or [NONE]


@pytest.mark.parametrize("name", recorded(stream=False))
def test_a_recorded_answer_differs_in_the_stamped_members_alone(name: str) -> None:
    body = exchange(name).body
    told = stamped(body, MEMBERS)
    assert status_in(told) is ResponseStatus(json.loads(body)["status"])
    assert json.loads(told) == json.loads(body) | OURS
    assert list(json.loads(told))[-len(json.loads(body)) :] == list(json.loads(body))
    theirs = {n: json.dumps(json.loads(body)[n]).encode() for n in OURS if n in json.loads(body)}
    if theirs.keys() == OURS.keys():
        assert stamped(told, theirs) == body
    assert [json.loads(item) for item in outputs_of(told)] == json.loads(body)["output"]


@pytest.mark.parametrize("name", recorded(stream=True))
@pytest.mark.parametrize("size", [1, 7, 64, 1 << 30])
def test_a_recorded_stream_differs_in_its_response_objects_alone(name: str, size: int) -> None:
    body = exchange(name).body
    splitter = FrameSplitter()
    told = [
        frame
        for at in range(0, len(body), size)
        if (whole := splitter.feed(body[at : at + size]))
        for frame in stamped_frames(whole, MEMBERS)
    ]
    rest = splitter.end()
    told += stamped_frames(rest, MEMBERS) if rest else ()
    got, came = list(blocks(b"".join(f.frame for f in told))), list(blocks(body))
    assert len(got) == len(came)
    for ours, theirs in zip(got, came, strict=True):
        if ours != theirs:
            event, before = (json.loads(b.partition(b"data:")[2]) for b in (ours, theirs))
            assert event["response"] == before["response"] | OURS
            assert event | {"response": 0} == before | {"response": 0}
        else:
            assert b'"response":{' not in theirs.replace(b" ", b"")
    ended = [f.ended for f in told if f.ended is not None]
    assert [status for status, _ in ended] == [ResponseStatus(json.loads(answer)["status"]) for _, answer in ended]


@pytest.mark.parametrize("name", [n for n in names() if exchange(n).api is Api.RESPONSES] or [NONE])
def test_a_recorded_request_keeps_its_members_and_its_items(name: str) -> None:
    fields = exchange(name).fields
    body = json.dumps(fields, indent=1).encode()
    asked = asked_of(body)
    given = fields["input"]
    items = [json.loads(item) for item in items_of(bytes(asked.input))]
    assert items == (
        given
        if isinstance(given, list)
        else [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    )
    named = [item for item in items if item.get("type") == "item_reference"]
    assert names_items(body) or not named
    told = json.loads(rewritten(body, {"store": b"false", "previous_response_id": None}))
    assert told == {n: v for n, v in fields.items() if n != "previous_response_id"} | {"store": False}
