"""What coding agents and recorded clients send, over the daemon to providers of every shape."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.providers.sse import frames
from tests.clients.bedrock_provider import KEY_ID, REGION, SECRET, TOKEN, BedrockProvider
from tests.clients.gemini_provider import KEY as GOOGLE_KEY
from tests.clients.gemini_provider import GeminiProvider
from tests.clients.messages_provider import MessagesProvider
from tests.clients.tool_inputs import PATCH
from tests.daemon import AUTH, Daemon, Simulator, Workplace, settings

pytestmark = pytest.mark.process

RECORDED = Path(__file__).parents[3] / "shared" / "client_wire"
PATHS = ("/v1/chat/completions", "/v1/responses", "/v1/messages")
ALIASES = ("messages", "google", "bedrock", "nova", "chat")
GRAMMAR = 'start: "*** Begin Patch" LF hunk+ "*** End Patch" LF?'
FORM = {"type": "grammar", "syntax": "lark", "definition": GRAMMAR}
NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}
SHELL = {"type": "function", "name": "shell", "description": "Runs it.", "strict": False, "parameters": NO_PARAMETERS}
GET = {"type": "function", "name": "get", "description": "Reads.", "strict": False, "parameters": NO_PARAMETERS}
CUSTOM = {"type": "custom", "name": "apply_patch", "description": "Edits files.", "format": FORM}
CODEX: dict[str, Any] = {
    "instructions": "You are a coding agent.",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Ask before you delete."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Fix the bug."}]},
    ],
    "tools": [
        CUSTOM,
        SHELL,
        {"type": "namespace", "name": "mcp__docs", "description": "The docs.", "tools": [GET]},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "a-conversation",
    "service_tier": "auto",
    "text": {"verbosity": "low"},
    "truncation": "auto",
    "client_metadata": {"installation": "1"},
}
BETAS = "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27"
MARK = {"cache_control": {"type": "ephemeral"}}
CLAUDE_CODE: dict[str, Any] = {
    "max_tokens": 32000,
    "system": [{"type": "text", "text": "You are a coding agent."}, {"type": "text", "text": "Rules. " * 9000, **MARK}],
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Fix the bug.", **MARK}]}],
    "tools": [
        {
            "name": f"tool_{number}",
            "description": "A tool.",
            "input_schema": {"$schema": "https://json-schema.org/draft/2020-12/schema", **NO_PARAMETERS},
            "eager_input_streaming": True,
        }
        for number in range(40)
    ],
    "metadata": {"user_id": "user_1_session_2"},
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "high"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "stream": True,
}


@contextmanager
def on_a_thread(provider: MessagesProvider) -> Iterator[MessagesProvider]:
    """The provider on a loop of its own, for tests that have none."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(provider.__aenter__(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(provider.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture(scope="module")
def routerd() -> Iterator[Daemon]:
    folder = Workplace()
    with ExitStack() as stack:
        claude = stack.enter_context(on_a_thread(MessagesProvider()))
        google, aws = stack.enter_context(GeminiProvider()), stack.enter_context(BedrockProvider())
        keys = {"access_key_id": KEY_ID, "secret_access_key": SECRET, "session_token": TOKEN}
        providers = {
            "anthropic": {"type": "anthropic", "base_url": claude.origin, "api_key": "k"},
            "lenient": {
                "type": "anthropic",
                "base_url": claude.origin,
                "api_key": "k",
                "drop_unsupported": ["tools.web_search"],
            },
            "gemini": {"type": "gemini", "base_url": google.origin, "api_key": GOOGLE_KEY},
            "aws": {"type": "bedrock", "base_url": aws.origin, "region": REGION} | keys,
            "sim": stack.enter_context(Simulator(folder)).provider | {"apis": ["chat"]},
        }
        catalog = {
            "messages": [{"provider": "anthropic", "model": "claude-sonnet-4-5"}],
            "lenient": [{"provider": "lenient", "model": "claude-sonnet-4-5"}],
            "google": [{"provider": "gemini", "model": "gemini-3-flash-preview"}],
            "bedrock": [{"provider": "aws", "model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0"}],
            "nova": [{"provider": "aws", "model": "amazon.nova-pro-v1:0"}],
            "chat": [{"provider": "sim", "model": "gpt-5-mini"}],
        }
        yield stack.enter_context(Daemon(folder, settings(providers, catalog)))
    folder.remove()


def post(routerd: Daemon, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    return httpx.post(routerd.url + path, json=body, headers=AUTH | headers, timeout=30)


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [json.loads(data) for _, data in frames(answer.content) if data != b"[DONE]"]


@pytest.mark.parametrize("alias", ALIASES)
def test_what_real_clients_were_recorded_to_send_is_answered(routerd: Daemon, alias: str) -> None:
    if not RECORDED.is_dir():
        pytest.skip("no recorded clients beside the project: ../shared/client_wire is not there")
    sent = [json.loads(path.read_text()) for path in sorted(RECORDED.glob("*.json"))]
    asked = [one for one in sent if one["path"].removeprefix("/openai") in PATHS]
    assert len(asked) > 5
    for one in asked:
        dialects = {name: value for name, value in one["headers"].items() if name.lower().startswith(("anthropic", "user-"))}
        answer = post(routerd, one["path"], one["json"] | {"model": alias}, **dialects)
        assert answer.status_code == 200, (one["client"], answer.text)
        assert answer.headers.get("x-router-dropped", "") == ""


@pytest.mark.parametrize("alias", ["messages", "google", "bedrock", "nova"])
def test_codex_patches_a_file_by_its_free_text_tool(routerd: Daemon, alias: str) -> None:
    answer = post(routerd, "/v1/responses", CODEX | {"model": alias})
    told = events(answer)
    assert {"client_metadata", "tools.format", "truncation"} <= set(answer.headers["x-router-dropped"].split(", "))
    pieces = [one["delta"] for one in told if one["type"] == "response.custom_tool_call_input.delta"]
    assert "".join(pieces) == PATCH
    output = told[-1]["response"]["output"]
    calls = [item for item in output if item["type"].endswith("_call")]
    assert (calls[0]["type"], calls[0]["name"], calls[0]["input"]) == ("custom_tool_call", "apply_patch", PATCH)
    # Who can be held to one call at a time is told so; who cannot has only one of its calls told.
    if alias in {"google", "nova"}:
        assert len(calls) == 1
    else:
        assert [(call["name"], call.get("namespace")) for call in calls[1:]] == [("shell", None), ("get", "mcp__docs")]
    done = [{"type": "custom_tool_call_output", "call_id": calls[0]["call_id"], "output": "Success."}]
    done += [{"type": "function_call_output", "call_id": call["call_id"], "output": "ok"} for call in calls[1:]]
    again = CODEX | {"model": alias, "input": [*CODEX["input"], *output, *done]}
    last = events(post(routerd, "/v1/responses", again))[-1]
    assert last["type"] == "response.completed"
    assert last["response"]["output"][-1]["content"][0]["text"].startswith("The light is on.")


@pytest.mark.parametrize("alias", ALIASES)
def test_claude_code_calls_one_of_its_forty_tools(routerd: Daemon, alias: str) -> None:
    assert httpx.head(routerd.url, timeout=10).status_code == 200
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": BETAS}
    answer = post(routerd, "/v1/messages?beta=true", CLAUDE_CODE | {"model": alias}, **headers)
    told = events(answer)
    assert told[-1]["type"] == "message_stop"
    blocks = [one["content_block"] for one in told if one["type"] == "content_block_start"]
    assert "tool_0" in {block.get("name") for block in blocks} or alias == "chat"


@pytest.mark.parametrize("alias", ["google", "bedrock", "nova", "chat"])
def test_a_conversation_with_calls_but_without_tools_is_answered(routerd: Daemon, alias: str) -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "shell", "input": {"command": "ls"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a.py"}
    messages = [
        {"role": "user", "content": "List."},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result, {"type": "text", "text": "Sum up what was done."}]},
    ]
    answer = post(routerd, "/v1/messages", {"model": alias, "max_tokens": 99, "messages": messages})
    assert answer.status_code == 200, answer.text
    assert {block["type"] for block in answer.json()["content"]} >= {"text"}


def test_a_search_that_only_its_provider_runs_is_refused_unless_the_operator_lets_it_go(routerd: Daemon) -> None:
    asked = CODEX | {"tools": [*CODEX["tools"], {"type": "web_search", "external_web_access": True}]}
    refused = post(routerd, "/v1/responses", asked | {"model": "messages"})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "unsupported_feature" and "web_search" in refused.json()["error"]["message"]
    answer = post(routerd, "/v1/responses", asked | {"model": "lenient"})
    assert events(answer)[-1]["type"] == "response.completed"
    assert "tools.web_search" in answer.headers["x-router-dropped"].split(", ")
