"""Every recorded refusal of a provider: what it is about, and the envelope that each caller gets of it."""

import json
import re
from typing import Any

import pytest

from router.domain.requests import Api
from router.providers.refusals import Cause, refusal_of
from tests.conformance.callers import CALLERS
from tests.conformance.every import NOT_SPOKEN, chats, labels, recording
from tests.conformance.recordings import ABSENT

NOW_US = 1_750_000_000_000_000
NONE = pytest.param("", marks=pytest.mark.skip(reason=ABSENT))
_REFUSED = [name for name in labels() if recording(name).status >= 400]
REFUSED: list[Any] = [name for name in _REFUSED if labels()[name] not in NOT_SPOKEN] or [NONE]
STRANGERS: list[Any] = [name for name in _REFUSED if labels()[name] in NOT_SPOKEN] or [NONE]
CHATS: list[Any] = [name for name in _REFUSED if name in chats()] or [NONE]
BY_STATUS = {
    401: Cause.AUTH,
    403: Cause.AUTH,
    404: Cause.NOT_FOUND,
    429: Cause.RATE_LIMITED,
    500: Cause.SERVER,
}
TELLING = {
    "real_error_scenarios": Cause.CONTEXT_WINDOW,
    "prompt-blocked": Cause.CONTENT_POLICY,
    "response_create_error": Cause.NOT_FOUND,
    "responses_create_api_error": Cause.NOT_FOUND,
    "test_google_streaming_returns_usage_metri": Cause.AUTH,
    "grok-4-1-fast": Cause.AUTH,
}
"""Part of a name -> what a 400 is about, where it is about more than the request's form."""
COMMON = {Cause.CONTEXT_WINDOW: "context_length_exceeded", Cause.CONTENT_POLICY: "content_policy_violation"}
KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_MESSAGE = re.compile(rb'"(?:message|detail|error)":\s*("(?:[^"\\]|\\.)*")')


def cause_of(name: str) -> Cause:
    of = recording(name)
    named = next((known for part, known in TELLING.items() if part in name), Cause.BAD_REQUEST)
    return BY_STATUS.get(of.status, named)


def is_understood(name: str) -> bool:
    of = recording(name)
    told = refusal_of(of.status, of.headers, of.body, NOW_US)
    waits = re.search(rb'"retryDelay": *"(\d+(?:\.\d+)?)', of.body)
    return (told.cause, told.status, told.wait_s) == (cause_of(name), of.status, float(waits[1]) if waits else None)


@pytest.mark.parametrize("recorded", REFUSED, ids=str)
def test_a_refusal_is_understood(recorded: str) -> None:
    assert is_understood(recorded)


@pytest.mark.parametrize("stranger", STRANGERS, ids=str)
def test_one_of_an_api_that_is_not_spoken_is_understood_too(stranger: str) -> None:
    """The words for it are its provider's, whatever was asked."""
    assert is_understood(stranger)


@pytest.mark.parametrize("recorded", CHATS, ids=str)
def test_each_caller_gets_its_own_envelope_with_the_providers_message(recorded: str) -> None:
    of = recording(recorded)
    cause = cause_of(recorded)
    messages = [json.loads(found) for found in _MESSAGE.findall(of.body)]
    for caller in CALLERS:
        told = json.loads(caller.way_back(of.tongue).refusal(of.status, of.body, cause, "req-1"))
        error: dict[str, Any] = told["error"]
        assert error["message"] and any(error["message"] in message for message in messages)
        assert isinstance(error["type"], str) and error["type"]
        if caller.api is Api.MESSAGES:
            assert told.keys() == {"type", "error", "request_id"} and told["type"] == "error"
            assert error["type"] == KINDS.get(of.status, "invalid_request_error")
        else:
            assert error.keys() == {"message", "type", "param", "code"}
            assert error["code"] == COMMON.get(cause, error["code"]) or b'"code"' in of.body or b'"error_type"' in of.body
