"""A provider that has Bedrock's shape: signed requests in, Converse's JSON or its binary event stream out."""

import base64
import importlib.util
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from tests.clients.threaded_provider import Received, ThreadedProvider
from tests.clients.tool_inputs import input_of
from tests.providers.bedrock.event_writer import event, exception

USAGE = {
    "inputTokens": 7,
    "outputTokens": 5,
    "totalTokens": 17,
    "cacheReadInputTokens": 2,
    "cacheWriteInputTokens": 3,
    "cacheDetails": [{"ttl": "5m", "inputTokens": 3}],
}
SIGNATURE = "EqQBCgIYAhIkMGJlYmVkLXNpZ25lZA=="
REGION, KEY_ID, SECRET, TOKEN = "eu-central-1", "ASIAOFTHETESTS", "a-secret-of-the-tests-only", "a-token-of-the-tests"
Json = dict[str, Any]


class BedrockProvider(ThreadedProvider):
    """The model `breaks` ends its streams with an exception, `cut` without an end, `busy`
    is throttled; a request that is not signed as it must be is refused, as far as botocore is there to say so."""

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        raw = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        if wrong := signature_fault(request.method, f"http://{headers['host']}{request.raw_path}", headers, raw):
            return refused(403, "InvalidSignatureException", wrong)
        body = json.loads(raw)
        self.received.append(Received(request.raw_path, headers, body))
        _, _, model, operation = request.raw_path.split("/")
        model = unquote(model)
        if operation == "count-tokens":
            return web.json_response({"inputTokens": len(json.dumps(body["input"]["converse"]))})
        if model.endswith("busy"):
            return refused(429, "ThrottlingException", "Too many requests, please wait before trying again.")
        if body["messages"][0]["role"] != "user":
            return refused(400, "ValidationException", "A conversation must start with a user message. Try again.")
        blocks, reason = content_for(body)
        if operation == "converse":
            message = {"role": "assistant", "content": blocks}
            told = {"output": {"message": message}, "stopReason": reason, "usage": USAGE, "metrics": {"latencyMs": 12}}
            return web.json_response(told, headers={"x-amzn-requestid": "req-1"})
        answer = web.StreamResponse(headers={"content-type": "application/vnd.amazon.eventstream", "x-amzn-requestid": "r"})
        await answer.prepare(request)
        for piece in recut(b"".join(frames(model, blocks, reason))):
            await answer.write(piece)
        await answer.write_eof()
        return answer


def refused(status: int, kind: str, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status, headers={"x-amzn-errortype": f"{kind}:http://internal/"})


def signature_fault(method: str, url: str, headers: dict[str, str], body: bytes) -> str:
    """What is wrong with the signature, "" for nothing."""
    given = headers.get("authorization", "")
    if not given.startswith(f"AWS4-HMAC-SHA256 Credential={KEY_ID}/") or headers.get("x-amz-security-token") != TOKEN:
        return "The security token included in the request is invalid."
    if importlib.util.find_spec("botocore") is None:
        return ""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    names = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    stamp = headers["x-amz-date"]
    made = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs((datetime.now(UTC) - made).total_seconds()) > 300:
        return "Signature expired"
    auth = SigV4Auth(Credentials(KEY_ID, SECRET, TOKEN), "bedrock", REGION)
    request = AWSRequest(method, url, headers={n: headers[n] for n in names if n != "host"}, data=body)
    request.context["timestamp"] = stamp
    text = auth.string_to_sign(request, auth.canonical_request(request))
    expected = auth.signature(text, request)
    return "" if given.endswith(f"Signature={expected}") else "The request signature we calculated does not match"


def content_for(body: Json) -> tuple[list[Json], str]:
    """A call of each tool, unless a result has come; else a text, after a thought where one is asked for."""
    last = body["messages"][-1]["content"]
    tools = [tool["toolSpec"] for tool in body.get("toolConfig", {}).get("tools", ()) if "toolSpec" in tool]
    thinks = "thinking" in body.get("additionalModelRequestFields", {})
    thought = [{"reasoningContent": {"reasoningText": {"text": "Let me see.", "signature": SIGNATURE}}}] if thinks else []
    if tools and not any("toolResult" in block for block in last):
        calls = [
            {"toolUse": {"toolUseId": f"tooluse_{number}", "name": tool["name"], "input": given}}
            for number, (tool, given) in enumerate((tool, input_of(tool["inputSchema"]["json"])) for tool in tools)
        ]
        return [*thought, *calls], "tool_use"
    seen = [len(base64.b64decode(block["image"]["source"]["bytes"])) for block in last if "image" in block]
    told = f"I see {seen[0]} bytes." if seen else "The light is on. Ünder way."
    if "textFormat" in body.get("outputConfig", {}):
        told = '{"name": "Pharos", "height_m": 103}'
    return [*thought, {"text": told}], "end_turn"


def frames(model: str, blocks: list[Json], reason: str) -> Iterator[bytes]:
    yield event("messageStart", {"role": "assistant", "p": "abcd"})
    for index, block in enumerate(blocks):
        for kind, told in pieces(block):
            yield event(kind, {"contentBlockIndex": index, "p": "abcdefgh"} | told)
        if model.endswith("breaks"):
            yield exception("modelStreamErrorException", {"message": "The model fell over.", "originalStatusCode": 500})
            return
        if model.endswith("cut"):
            return
    yield event("messageStop", {"stopReason": reason})
    yield event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 12}})


def pieces(block: Json) -> Iterator[tuple[str, Json]]:
    if "toolUse" in block:
        call = block["toolUse"]
        yield "contentBlockStart", {"start": {"toolUse": {"toolUseId": call["toolUseId"], "name": call["name"]}}}
        text = json.dumps(call["input"])
        for at in range(0, len(text), 5):
            yield "contentBlockDelta", {"delta": {"toolUse": {"input": text[at : at + 5]}}}
    elif "text" in block:
        for at in range(0, len(block["text"]), 5):
            yield "contentBlockDelta", {"delta": {"text": block["text"][at : at + 5]}}
    else:
        thought = block["reasoningContent"]["reasoningText"]
        yield "contentBlockDelta", {"delta": {"reasoningContent": {"text": thought["text"]}}}
        yield "contentBlockDelta", {"delta": {"reasoningContent": {"signature": thought["signature"]}}}
    yield "contentBlockStop", {}


def recut(stream: bytes) -> Iterator[bytes]:
    """In pieces that end where no message does."""
    for at in range(0, len(stream), 61):
        yield stream[at : at + 61]
