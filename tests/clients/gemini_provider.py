"""A provider that has the shape of the Gemini API and of Vertex: keyed requests in, JSON or server-sent events out."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from tests.clients.threaded_provider import Received, ThreadedProvider
from tests.clients.tool_inputs import input_of

USAGE = {
    "promptTokenCount": 12,
    "candidatesTokenCount": 5,
    "thoughtsTokenCount": 3,
    "cachedContentTokenCount": 2,
    "totalTokenCount": 20,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 12}],
}
SIGNATURE, TEXT_SIGNATURE = "c2lnbmVkLWNhbGw=", "c2lnbmVkLXRleHQ="
KEY = "a-key-of-the-tests"
PROJECT, LOCATION = "a-project", "europe-west4"
GEMINI_PLACE = "/v1beta/models/"
VERTEX_PLACE = f"/v1beta1/projects/{PROJECT}/locations/{LOCATION}/publishers/google/models/"
CLAUDE_PLACE = VERTEX_PLACE.replace("publishers/google", "publishers/anthropic")
Json = dict[str, Any]


class GeminiProvider(ThreadedProvider):
    """The model `busy` is over its quota, `blocked` refuses its prompts, `cut` ends its
    streams without an end; a request without the key, or with a role or an order that Gemini refuses, is refused."""

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        if headers.get("x-goog-api-key") != KEY and headers.get("authorization") != f"Bearer {KEY}":
            return refused(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.")
        if request.method == "GET":
            return web.json_response({"models": [{"name": "models/gemini-2.5-flash"}]})
        body = json.loads(await request.read())
        self.received.append(Received(str(request.rel_url), headers, body))
        place, _, operation = str(request.rel_url).rpartition(":")
        if place == f"{CLAUDE_PLACE}count-tokens":
            return web.json_response({"input_tokens": 200 + len(body["messages"])})
        if place.startswith(CLAUDE_PLACE):
            return claude_answer(body, operation)
        model = place.rpartition("/")[2]
        if operation == "countTokens":
            return counted(place, body)
        if wrong := fault(body):
            return refused(400, "INVALID_ARGUMENT", wrong)
        if model == "busy":
            retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}
            return refused(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", retry)
        if operation == "generateContent":
            return web.json_response(whole(model, body))
        if operation != "streamGenerateContent?alt=sse":
            return refused(404, "NOT_FOUND", f"no operation {operation}")
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        for piece in chunks(model, body):
            raw = b"data: " + json.dumps(piece, ensure_ascii=False).encode() + b"\r\n\r\n"
            for start in range(0, len(raw), 11):
                await answer.write(raw[start : start + 11])
        await answer.write_eof()
        return answer


def refused(status: int, word: str, message: str, *details: Json) -> web.Response:
    error = {"code": status, "message": message, "status": word, "details": list(details)}
    return web.json_response({"error": error}, status=status)


def counted(place: str, body: Json) -> web.Response:
    """A hundred, and one for each content and each function. The Gemini API counts whole requests in a wrapper alone."""
    asked = body
    if not place.startswith(VERTEX_PLACE):
        asked = body.get("generateContentRequest", {})
        if body.keys() != {"generateContentRequest"} or asked.get("model") != place.removeprefix("/v1beta/"):
            return refused(400, "INVALID_ARGUMENT", "generate_content_request.model: unexpected model name format")
    elif unknown := body.keys() - {"contents", "systemInstruction", "tools", "generationConfig", "instances", "model"}:
        return refused(400, "INVALID_ARGUMENT", f"Unknown name {min(unknown)!r}: Cannot find field.")
    functions = sum(len(tool["functionDeclarations"]) for tool in asked.get("tools", []))
    return web.json_response({"totalTokens": 100 + len(asked["contents"]) + functions})


def fault(body: Json) -> str:
    """What Gemini refuses of a conversation, "" for nothing."""
    for content, behind in zip(body["contents"], [*body["contents"][1:], None], strict=True):
        if content["role"] not in ("user", "model") or not content["parts"]:
            return "Please use a valid role: user, model."
        calls = sum("functionCall" in part for part in content["parts"])
        answers = sum("functionResponse" in part for part in behind["parts"]) if behind else 0
        if calls and calls != answers:
            return "Please ensure that the number of function response parts is equal to that of function call parts."
    return ""


def parts_for(body: Json) -> list[Json]:
    """A signed call of each function, unless a result has come; else a text, after a thought where one is asked for."""
    last = body["contents"][-1]["parts"]
    declared = [f for tool in body.get("tools", []) for f in tool.get("functionDeclarations", [])]
    config = body.get("generationConfig", {})
    thinks = config.get("thinkingConfig", {}).get("includeThoughts")
    thought = [{"text": "Let me see.", "thought": True}] if thinks else []
    if declared and not any("functionResponse" in part for part in last):
        calls: list[Json] = [
            {"functionCall": {"name": f["name"], "args": input_of(f.get("parametersJsonSchema", {}))}} for f in declared
        ]
        calls[0]["thoughtSignature"] = SIGNATURE
        return [*thought, *calls]
    seen = [len(base64.b64decode(part["inlineData"]["data"])) for part in last if "inlineData" in part]
    told = f"I see {seen[0]} bytes." if seen else "The light is on. Ünder way."
    if config.get("responseMimeType") == "application/json":
        told = '{"name": "Pharos", "height_m": 103}'
    return [*thought, {"text": told, "thoughtSignature": TEXT_SIGNATURE}]


def whole(model: str, body: Json) -> Json:
    told = {"modelVersion": model, "responseId": "resp-1", "usageMetadata": USAGE}
    if model == "blocked":
        return told | {"promptFeedback": {"blockReason": "SAFETY"}}
    return told | {
        "candidates": [{"content": {"role": "model", "parts": parts_for(body)}, "finishReason": "STOP", "index": 0}]
    }


def chunks(model: str, body: Json) -> Iterator[Json]:
    if model == "blocked":
        yield whole(model, body)
        return
    told = {"modelVersion": model, "responseId": "resp-1"}
    for part in parts_for(body):
        signature = part.pop("thoughtSignature", None) if "text" in part else None
        pieces = [part | {"text": piece} for piece in halves(part["text"])] if "text" in part else [part]
        pieces += [{"text": "", "thoughtSignature": signature}] if signature else []
        for piece in pieces:
            usage = USAGE | {"candidatesTokenCount": 1, "totalTokenCount": 16}
            yield told | {
                "candidates": [{"content": {"role": "model", "parts": [piece]}, "index": 0}],
                "usageMetadata": usage,
            }
    if model != "cut":
        yield told | {"candidates": [{"finishReason": "STOP", "index": 0}], "usageMetadata": USAGE}


def halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


def claude_answer(body: Json, operation: str) -> web.Response:
    if body.get("anthropic_version") != "vertex-2023-10-16" or "model" in body:
        error = {"type": "error", "error": {"type": "invalid_request_error", "message": "anthropic_version: Field required"}}
        return web.json_response(error, status=400)
    usage = {"input_tokens": 9, "output_tokens": 4, "cache_read_input_tokens": 1, "cache_creation_input_tokens": 0}
    message: Json = {"id": "msg_vrtx_1", "type": "message", "role": "assistant", "model": "claude", "content": []}
    message |= {"stop_reason": None, "stop_sequence": None, "usage": usage}
    text: Json = {"type": "text", "text": "Bonjour"}
    if operation == "rawPredict":
        return web.json_response(message | {"content": [text], "stop_reason": "end_turn"})
    told: list[Json] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Bonjour"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 4},
        },
        {"type": "message_stop"},
    ]
    events = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in told)
    return web.Response(text=events, content_type="text/event-stream")
