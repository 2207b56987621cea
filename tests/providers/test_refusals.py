"""What providers say when they refuse, as each of them says it, is told apart for routing."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.providers.codec import ToldError
from router.providers.disguises import blocked, disguised, error_body, error_event
from router.providers.refusals import Cause, Refusal, coded, refusal_of

NOW_US = 1_750_000_000_000_000


def refused(status: int, body: object = None, **headers: str) -> Refusal:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return refusal_of(status, named, json.dumps(body).encode() if body is not None else b"", NOW_US)


def openai(message: str = "no", kind: str | None = "invalid_request_error", code: Any = None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code, "param": None} | more}


def claude(kind: str, message: str = "no") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def google(status: str, message: str = "no", *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": 400, "status": status, "message": message, "details": list(details)}}


FILTERED = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}}
DAY, MINUTE = ({"violations": [{"quotaId": f"GenerateRequestsPer{span}PerProject"}]} for span in ("Day", "Minute"))

TABLE: list[tuple[Cause, int, Any, dict[str, str]]] = [
    # OpenAI, Azure and compatible servers
    (Cause.RATE_LIMITED, 429, openai("Rate limit reached", "tokens", "rate_limit_exceeded"), {}),
    (Cause.QUOTA, 429, openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"), {}),
    (Cause.CONTEXT_WINDOW, 400, openai(code="context_length_exceeded"), {}),
    (Cause.CONTEXT_WINDOW, 400, openai("This model's maximum context length is 8192 tokens."), {}),
    (
        Cause.CONTEXT_WINDOW,
        400,
        {"object": "error", "message": "This model's maximum context length is 10 tokens", "code": 400},
        {},
    ),
    (Cause.CONTENT_POLICY, 400, openai(code="content_policy_violation"), {}),
    (Cause.CONTENT_POLICY, 400, openai("filtered", None, "content_filter", innererror=FILTERED), {}),
    (Cause.CONTENT_POLICY, 400, openai("filtered", None, "BadRequest", innererror=FILTERED), {}),
    (Cause.AUTH, 401, openai("Incorrect API key provided", code="invalid_api_key"), {}),
    (Cause.AUTH, 403, openai("Country, region, or territory not supported", code="unsupported_country"), {}),
    (Cause.NOT_FOUND, 404, openai(code="model_not_found"), {}),
    (Cause.BAD_REQUEST, 400, openai("Unknown parameter: 'x'.", code="unknown_parameter"), {}),
    (Cause.BAD_REQUEST, 413, openai("Request too large for tokens per minute", "tokens", "rate_limit_exceeded"), {}),
    (Cause.OVERLOADED, 503, openai("The engine is currently overloaded", "server_error"), {}),
    (Cause.SERVER, 500, openai("The server had an error", "server_error"), {}),
    (Cause.SERVER, 502, None, {}),
    (Cause.SERVER, 409, openai(), {}),
    # Anthropic
    (Cause.CONTEXT_WINDOW, 400, claude("invalid_request_error", "prompt is too long: 200001 tokens > 200000 maximum"), {}),
    (
        Cause.CONTEXT_WINDOW,
        400,
        claude("invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 2"),
        {},
    ),
    (Cause.CONTENT_POLICY, 400, claude("invalid_request_error", "Output blocked by content filtering policy"), {}),
    (Cause.QUOTA, 400, claude("invalid_request_error", "Your credit balance is too low to access the API."), {}),
    (Cause.RATE_LIMITED, 429, claude("rate_limit_error"), {}),
    (Cause.OVERLOADED, 529, claude("overloaded_error"), {}),
    (Cause.AUTH, 401, claude("authentication_error"), {}),
    (Cause.QUOTA, 402, claude("billing_error"), {}),
    (Cause.NOT_FOUND, 404, claude("not_found_error"), {}),
    (Cause.BAD_REQUEST, 413, claude("request_too_large"), {}),
    # Google
    (Cause.RATE_LIMITED, 429, google("RESOURCE_EXHAUSTED", "quota", MINUTE), {}),
    (Cause.QUOTA, 429, google("RESOURCE_EXHAUSTED", "quota", DAY), {}),
    (Cause.OVERLOADED, 503, google("UNAVAILABLE", "The model is overloaded."), {}),
    (Cause.AUTH, 400, google("INVALID_ARGUMENT", "API key not valid.", {"reason": "API_KEY_INVALID"}), {}),
    (Cause.AUTH, 403, google("PERMISSION_DENIED"), {}),
    (
        Cause.CONTEXT_WINDOW,
        400,
        google("INVALID_ARGUMENT", "The input token count (2) exceeds the maximum number of tokens allowed (1)."),
        {},
    ),
    (Cause.BAD_REQUEST, 400, google("INVALID_ARGUMENT", "Request contains an invalid argument."), {}),
    (Cause.SERVER, 504, google("DEADLINE_EXCEEDED"), {}),
    # Amazon: the name stands in a header
    (
        Cause.RATE_LIMITED,
        429,
        {"message": "Too many tokens, please wait"},
        {"x_amzn_errortype": "ThrottlingException:http://x/"},
    ),
    (Cause.QUOTA, 400, {"message": "no"}, {"x_amzn_errortype": "ServiceQuotaExceededException"}),
    (Cause.OVERLOADED, 429, {"message": "no"}, {"x_amzn_errortype": "ModelNotReadyException"}),
    (Cause.SERVER, 424, {"message": "no"}, {"x_amzn_errortype": "ModelErrorException"}),
    (Cause.AUTH, 403, {"message": "no"}, {"x_amzn_errortype": "ExpiredTokenException:http://x/"}),
    (
        Cause.CONTEXT_WINDOW,
        400,
        {"message": "Input is too long for requested model."},
        {"x_amzn_errortype": "ValidationException"},
    ),
    (
        Cause.BAD_REQUEST,
        400,
        {"message": "The provided model identifier is invalid."},
        {"x_amzn_errortype": "ValidationException"},
    ),
    # Cohere, Mistral, Groq, Hugging Face, Ollama
    (Cause.CONTEXT_WINDOW, 400, {"error_type": "TOO_MANY_TOKENS", "message": "too many tokens"}, {}),
    (Cause.RATE_LIMITED, 429, {"message": "Please wait and try again later"}, {}),
    (Cause.AUTH, 401, {"detail": "Invalid API Key"}, {}),
    (Cause.BAD_REQUEST, 422, {"detail": [{"type": "missing", "msg": "Field required"}]}, {}),
    (Cause.BAD_REQUEST, 400, openai("Tool choice is required", code="tool_use_failed"), {}),
    (
        Cause.CONTEXT_WINDOW,
        422,
        {"error": "`inputs` tokens + `max_new_tokens` must be <= 10", "error_type": "validation"},
        {},
    ),
    (Cause.OVERLOADED, 429, {"error": "Model is overloaded", "error_type": "overloaded"}, {}),
    (Cause.NOT_FOUND, 404, {"error": "model 'x' not found"}, {}),
]


@pytest.mark.parametrize(("cause", "status", "body", "headers"), TABLE)
def test_every_providers_refusal_is_told_apart(cause: Cause, status: int, body: Any, headers: dict[str, str]) -> None:
    assert refused(status, body, **headers).cause is cause


@pytest.mark.parametrize("quoted", ["Incorrect API key provided", "credit balance is too low", "API key not valid"])
def test_what_a_caller_wrote_cannot_rest_a_key(quoted: str) -> None:
    assert refused(400, openai(f"Invalid value: '{quoted}'.")).cause is Cause.BAD_REQUEST


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after_ms": "1500", "retry_after": "2"}, 1.5),
        ({"retry_after": "Sun, 15 Jun 2025 15:06:50 GMT"}, 10.0),
        ({"retry_after": "garbage"}, None),
        ({"retry_after": "nan"}, None),
        ({"x_ratelimit_reset_requests": "6m0s", "x_ratelimit_remaining_requests": "0"}, 360.0),
        ({"x_ratelimit_reset_tokens": "20ms", "x_ratelimit_remaining_tokens": "0"}, 0.02),
        ({"x_ratelimit_reset_tokens": "1h2m3s", "x_ratelimit_remaining_tokens": "12"}, None),
        ({"x_ratelimit_reset": "1750000030000"}, 30.0),
        ({"x_ratelimit_reset": "1750000030"}, 30.0),
        ({"ratelimit_reset": "12"}, 12.0),
        (
            {"anthropic_ratelimit_requests_reset": "2025-06-15T15:07:00Z", "anthropic_ratelimit_requests_remaining": "0"},
            20.0,
        ),
        ({}, None),
    ],
)
def test_when_to_come_back_is_read_in_every_spelling(headers: Mapping[str, str], seconds: float | None) -> None:
    wait = refused(429, openai(), **headers).wait_s
    assert wait == (None if seconds is None else pytest.approx(seconds))


def test_googles_retry_info_says_when_to_come_back() -> None:
    told = google("RESOURCE_EXHAUSTED", "quota", {"@type": "google.rpc.RetryInfo", "retryDelay": "34.4s"})
    assert refused(429, told).wait_s == 34.4


def test_a_request_that_is_refused_is_told_no_time_to_come_back() -> None:
    assert refused(400, openai(code="context_length_exceeded"), retry_after="5").wait_s is None


@given(st.integers(100, 599), st.binary(max_size=200), st.text(max_size=20))
def test_nothing_that_a_provider_sends_is_too_odd(status: int, body: bytes, value: str) -> None:
    refusal_of(status, {"retry-after": value, "x-ratelimit-reset": value, "x-amzn-errortype": value}, body, NOW_US)
    error_event(body)
    disguised(b'{"error":' + body)
    json.loads(error_body(body))


# -- errors in a 200 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "cause"),
    [
        ({"error": {"code": 429, "message": "Provider returned error"}}, 429, Cause.RATE_LIMITED),
        ({"error": {"code": 502, "message": "bad gateway"}}, 502, Cause.SERVER),
        ({"error": {"message": "x", "type": "server_error"}}, 502, Cause.SERVER),
        ({"error": {"message": "x", "type": "invalid_request_error"}}, 400, Cause.BAD_REQUEST),
        ({"error": {"message": "x", "code": "context_length_exceeded"}}, 400, Cause.CONTEXT_WINDOW),
        (claude("overloaded_error"), 503, Cause.OVERLOADED),
        ({"error": "something"}, 502, Cause.SERVER),
    ],
)
def test_an_error_with_a_good_status_is_seen(body: object, status: int, cause: Cause) -> None:
    found = disguised(json.dumps(body).encode())
    assert found is not None and (found.status, found.cause) == (status, cause)


@pytest.mark.parametrize(
    "body",
    [
        {"object": "response", "error": None, "output": []},
        {"object": "response", "status": "failed", "error": {"code": "server_error", "message": "x"}, "output": []},
        {"choices": [{"message": {"content": '{"error":{"code":500}}'}}]},
        {"choices": [], "error": {}},
        {"content": [], "type": "message", "error": None},
        {"candidates": [], "error": None},
    ],
)
def test_an_answer_that_speaks_of_errors_is_an_answer(body: object) -> None:
    assert disguised(json.dumps(body).encode()) is None


@pytest.mark.parametrize(
    ("answer", "is_blocked"),
    [
        ({"choices": [{"finish_reason": "content_filter", "message": {"content": None}}]}, True),
        ({"choices": [{"finish_reason": "content_filter", "message": {"content": "half"}}]}, False),
        ({"choices": [{"finish_reason": "stop", "message": {"content": None, "refusal": "no content_filter"}}]}, False),
        ({"type": "message", "stop_reason": "refusal", "content": []}, True),
        ({"type": "message", "stop_reason": "refusal", "content": [{"type": "text", "text": "x"}]}, False),
        ({"type": "message", "stop_reason": "end_turn", "content": [{"type": "text", "text": "refusal"}]}, False),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}, "output": []}, True),
        ({"status": "completed", "incomplete_details": None, "output": []}, False),
    ],
)
def test_an_empty_answer_of_a_filter_is_told_from_an_answer(answer: object, is_blocked: bool) -> None:
    assert blocked(json.dumps(answer).encode()) is is_blocked


def test_a_refusal_without_a_code_gets_the_common_one_and_keeps_its_own() -> None:
    assert coded(ToldError("x"), Cause.CONTEXT_WINDOW).code == "context_length_exceeded"
    assert coded(ToldError("x", code="own"), Cause.CONTEXT_WINDOW).code == "own"
    assert coded(ToldError("x"), Cause.BAD_REQUEST).code is None
