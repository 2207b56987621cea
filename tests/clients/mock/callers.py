"""One conversation over each real SDK, so that a test says the same to all of them and reads the same from all."""

import base64
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import anthropic
import openai
from pydantic import BaseModel

from tests.daemon import KEY

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
PICTURE = base64.b64encode(PNG).decode()
PICTURE_URL = f"data:image/png;base64,{PICTURE}"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
ABOUT = "The weather in a city."
CAP = 300


class Call(NamedTuple):
    id: str
    name: str
    arguments: dict[str, Any]


class Said(NamedTuple):
    """One answer: `end` is the SDK's own word, `tokens` what went in and came out, `pieces` a stream's text as it came."""

    text: str
    calls: list[Call]
    end: str | None
    tokens: tuple[int, int]
    thought: str = ""
    pieces: tuple[str, ...] = ()


class Lighthouse(BaseModel):
    name: str
    height_m: int


class Asked(NamedTuple):
    """What a turn is asked with beside its text."""

    streamed: bool = False
    tools: bool = False
    picture: bool = False
    schema: type[BaseModel] | None = None
    system: str | None = None


PLAIN = Asked()


class _OnOpenAI:
    """A conversation by OpenAI's SDK."""

    wrong: type[Exception] = openai.APIError
    limited: type[Exception] = openai.RateLimitError

    @staticmethod
    def connected(url: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)

    def __init__(self, sdk: Any, model: str) -> None:
        self.sdk = sdk
        self.model = model
        self.turns: list[Any] = []


class ChatCaller(_OnOpenAI):
    """OpenAI's SDK and Chat Completions."""

    ends: Mapping[str, str] = {"stop": "stop", "tools": "tool_calls", "length": "length"}

    def ask(self, text: str, asked: Asked = PLAIN) -> Said:
        shown = {"type": "image_url", "image_url": {"url": PICTURE_URL}}
        content: Any = [{"type": "text", "text": text}, shown] if asked.picture else text
        self.turns.append({"role": "user", "content": content})
        return self._go(asked)

    def tell(self, results: Mapping[str, str], asked: Asked = PLAIN) -> Said:
        """The results of the calls, by their ids."""
        self.turns += [{"role": "tool", "tool_call_id": name, "content": text} for name, text in results.items()]
        return self._go(asked)

    def _go(self, asked: Asked) -> Said:
        fields: dict[str, Any] = {"model": self.model, "messages": self.turns, "max_completion_tokens": CAP}
        if asked.system:
            fields["messages"] = [{"role": "system", "content": asked.system}, *self.turns]
        if asked.tools:
            function = {"name": "get_weather", "description": ABOUT, "parameters": PARAMETERS, "strict": True}
            fields["tools"] = [{"type": "function", "function": function}]
        if asked.schema:
            fields["response_format"] = asked.schema
        pieces: list[str] = []
        try:
            if not asked.streamed:
                return self._said(self.sdk.chat.completions.parse(**fields))
            with self.sdk.chat.completions.stream(**fields, stream_options={"include_usage": True}) as stream:
                pieces.extend(event.delta for event in stream if event.type == "content.delta")
                return self._said(stream.get_final_completion(), pieces)
        except openai.LengthFinishReasonError as cut:
            return self._said(cut.completion, pieces)

    def _said(self, answer: Any, pieces: list[str] | None = None) -> Said:
        [choice] = answer.choices
        message = choice.message
        self.turns.append(message.to_dict(warnings=False) | {"content": message.content})
        self.turns[-1].pop("parsed", None)
        for call in self.turns[-1].get("tool_calls") or []:
            call["function"].pop("parsed_arguments", None)
        calls = [Call(c.id, c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls or []]
        tokens = (answer.usage.prompt_tokens, answer.usage.completion_tokens)
        thought = getattr(message, "reasoning_content", None) or ""
        return Said(message.content or "", calls, choice.finish_reason, tokens, thought, tuple(pieces or ()))


class ResponsesCaller(_OnOpenAI):
    """OpenAI's SDK and the Responses API, with the conversation in the caller's hands."""

    ends: Mapping[str, str] = {"stop": "completed", "tools": "completed", "length": "max_output_tokens"}

    def ask(self, text: str, asked: Asked = PLAIN) -> Said:
        shown = {"type": "input_image", "image_url": PICTURE_URL, "detail": "auto"}
        content: Any = [{"type": "input_text", "text": text}, shown] if asked.picture else text
        self.turns.append({"role": "user", "content": content})
        return self._go(asked)

    def tell(self, results: Mapping[str, str], asked: Asked = PLAIN) -> Said:
        self.turns += [{"type": "function_call_output", "call_id": i, "output": text} for i, text in results.items()]
        return self._go(asked)

    def _go(self, asked: Asked) -> Said:
        fields: dict[str, Any] = {"model": self.model, "input": self.turns, "max_output_tokens": CAP, "store": False}
        if asked.system:
            fields["instructions"] = asked.system
        if asked.tools:
            tool = {"type": "function", "name": "get_weather", "description": ABOUT, "parameters": PARAMETERS}
            fields["tools"] = [tool | {"strict": True}]
        if asked.schema:
            fields["text_format"] = asked.schema
        if not asked.streamed:
            return self._said(self.sdk.responses.parse(**fields))
        pieces: list[str] = []
        with self.sdk.responses.stream(**fields) as stream:
            for event in stream:
                if event.type == "response.output_text.delta":
                    pieces.append(event.delta)
        # The SDK's own `get_final_response` knows no answer that met its cap.
        return self._said(event.response, pieces)

    def _said(self, answer: Any, pieces: list[str] | None = None) -> Said:
        for item in answer.output:
            kept = item.model_dump(exclude_none=True, exclude={"parsed_arguments"}, warnings=False)
            for part in kept.get("content") or []:
                part.pop("parsed", None)
            self.turns.append(kept)
        made = [item for item in answer.output if item.type == "function_call"]
        calls = [Call(item.call_id, item.name, json.loads(item.arguments)) for item in made]
        end = answer.incomplete_details.reason if answer.incomplete_details else answer.status
        thoughts = [part.text for item in answer.output if item.type == "reasoning" for part in item.summary]
        thoughts += [p.text for item in answer.output if item.type == "reasoning" for p in item.content or []]
        tokens = (answer.usage.input_tokens, answer.usage.output_tokens) if answer.usage else (0, 0)
        return Said(answer.output_text, calls, end, tokens, "".join(thoughts), tuple(pieces or ()))


class MessagesCaller:
    """Anthropic's SDK."""

    wrong: type[Exception] = anthropic.APIError
    limited: type[Exception] = anthropic.RateLimitError
    ends: Mapping[str, str] = {"stop": "end_turn", "tools": "tool_use", "length": "max_tokens"}

    @staticmethod
    def connected(url: str) -> anthropic.Anthropic:
        return anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0)

    def __init__(self, sdk: Any, model: str) -> None:
        self.sdk = sdk
        self.model = model
        self.turns: list[Any] = []

    def ask(self, text: str, asked: Asked = PLAIN) -> Said:
        source = {"type": "base64", "media_type": "image/png", "data": PICTURE}
        content: Any = [{"type": "text", "text": text}, {"type": "image", "source": source}] if asked.picture else text
        self.turns.append({"role": "user", "content": content})
        return self._go(asked)

    def tell(self, results: Mapping[str, str], asked: Asked = PLAIN) -> Said:
        blocks = [{"type": "tool_result", "tool_use_id": name, "content": text} for name, text in results.items()]
        self.turns.append({"role": "user", "content": blocks})
        return self._go(asked)

    def _go(self, asked: Asked) -> Said:
        fields: dict[str, Any] = {"model": self.model, "messages": self.turns, "max_tokens": CAP}
        if asked.system:
            fields["system"] = asked.system
        if asked.tools:
            fields["tools"] = [{"name": "get_weather", "description": ABOUT, "input_schema": PARAMETERS}]
        if asked.schema:
            fields["output_format"] = asked.schema
        if not asked.streamed:
            call = self.sdk.messages.parse if asked.schema else self.sdk.messages.create
            return self._said(call(**fields))
        with self.sdk.messages.stream(**fields) as stream:
            pieces = [event.text for event in stream if event.type == "text"]
            return self._said(stream.get_final_message(), pieces)

    def _said(self, message: Any, pieces: list[str] | None = None) -> Said:
        blocks = [
            block.model_dump(exclude_none=True, exclude={"parsed_output"}, warnings=False) for block in message.content
        ]
        self.turns.append({"role": "assistant", "content": blocks})
        text = "".join(block["text"] for block in blocks if block["type"] == "text")
        calls = [Call(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
        thought = "".join(block["thinking"] for block in blocks if block["type"] == "thinking")
        tokens = (message.usage.input_tokens, message.usage.output_tokens)
        return Said(text, calls, message.stop_reason, tokens, thought, tuple(pieces or ()))


Caller = ChatCaller | ResponsesCaller | MessagesCaller
CALLERS: dict[str, type[Caller]] = {"chat": ChatCaller, "responses": ResponsesCaller, "messages": MessagesCaller}
