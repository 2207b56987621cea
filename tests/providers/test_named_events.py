"""Streams whose events tell their kind: an error is known by its type or the event's name, words of it are text."""

import pytest

from router.providers.anthropic.messages import MessagesMeter
from router.providers.dialect import StreamMeter
from router.providers.openai_responses import ResponsesMeter

METERS = [MessagesMeter, ResponsesMeter]


@pytest.mark.parametrize("made", METERS)
@pytest.mark.parametrize(
    "frame",
    [
        b'event: error\ndata: {"message": "overloaded"}\n\n',
        b'event:error\r\ndata: {"message": "overloaded"}\r\n\r\n',
        b'data: {"type": "error", "error": {"message": "overloaded"}}\n\n',
        b"event: error\ndata: no JSON\n\n",
    ],
)
def test_an_error_is_known_by_its_name_or_its_type(made: type[StreamMeter], frame: bytes) -> None:
    meter = made()
    assert meter.feed(frame) == frame
    assert meter.failed and not meter.finished


@pytest.mark.parametrize("made", METERS)
@pytest.mark.parametrize(
    "frame",
    [
        b'data: {"type": "content_block_delta", "delta": {"text": "\\"type\\": \\"error\\""}}\n\n',
        b'data: {"type": "response.output_text.delta", "delta": "event: error"}\n\n',
        b'event: ping\ndata: {"type": "ping", "error": null}\n\n',
        b'data: {"type": "message_start\n\n',
    ],
)
def test_what_only_speaks_of_errors_is_none(made: type[StreamMeter], frame: bytes) -> None:
    meter = made()
    assert meter.feed(frame) == frame
    assert not meter.failed and not meter.finished
