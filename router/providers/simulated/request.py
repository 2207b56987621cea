"""What a request asks of the simulated provider, whichever API it speaks: an Ask; and its prompt tokens.

A prompt counts, per message, 3 + its UTF-8 bytes / 4 rounded up + 85 for each image, sound or file; per tool 8 + the
bytes of its JSON / 4; a schema the bytes of its JSON / 4; and 3 for the answer's own start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from router.providers.simulated.text import estimate_tokens

_MESSAGE = 3
_TOOL = 8
_MEDIA = 85
_REASONING = {"none": 0, "minimal": 16, "low": 32, "medium": 128, "high": 256, "xhigh": 512}
_REASONING_NAMES = ("o1", "o3", "o4", "gpt-5", "reason")
_MOST_CHOICES = 128
_ROLES = {"developer": "system", "function": "tool"}


class BadRequest(Exception):
    """What OpenAI answers with 400; `param` names the field."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: its text, how many media parts it has, and what it stands for: user, assistant, system or tool."""

    role: str
    text: str
    media: int = 0

    @property
    def tokens(self) -> int:
        return _MESSAGE + estimate_tokens(self.text) + _MEDIA * self.media


@dataclass(frozen=True, slots=True)
class FunctionTool:
    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """The JSON the answer must be: a schema, or any object where `schema` is None."""

    schema: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Ask:
    """One prompt to answer. `tools` are those that may be called; `must_call`: one of them has to be.

    `cap` bounds reasoning and visible tokens together. `key` holds what the words of the answer depend on: not the cap,
    not whether it is streamed.
    """

    model: str
    turns: tuple[Turn, ...]
    prompt_tokens: int
    key: bytes
    tools: tuple[FunctionTool, ...] = ()
    must_call: bool = False
    parallel: bool = True
    shape: Shape | None = None
    cap: int | None = None
    n: int = 1
    stop: tuple[str, ...] = ()
    reasoning_tokens: int = 0

    @property
    def question(self) -> str:
        """The last text the user wrote."""
        return next((turn.text for turn in reversed(self.turns) if turn.role == "user" and turn.text), "")

    @property
    def tool_result(self) -> str | None:
        """What the last tool returned, where nobody spoke after it."""
        last = self.turns[-1]
        return last.text if last.role == "tool" else None


def chat_ask(body: Mapping[str, Any]) -> Ask:
    """Read a Chat Completions body. Raises BadRequest."""
    messages = body.get("messages")
    if messages is None:
        raise BadRequest("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("Invalid 'messages': expected a non-empty array.", "messages", "invalid_type")
    turns = tuple(_chat_turn(message, index) for index, message in enumerate(messages))
    tools = _tools(body.get("tools"), nested=True)
    allowed, must_call = _tool_choice(body.get("tool_choice"), tools)
    choices = _integer(body, "n", 1)
    if choices is not None and choices > _MOST_CHOICES:
        raise BadRequest(f"Invalid 'n': expected at most {_MOST_CHOICES}, got {choices}.", "n", "integer_above_max_value")
    cap = _integer(body, "max_completion_tokens", 1)
    return _ask(
        body,
        turns,
        tools=allowed,
        must_call=must_call,
        shape=_shape(body.get("response_format"), "json_schema"),
        cap=_integer(body, "max_tokens", 1) if cap is None else cap,
        n=choices or 1,
        effort=body.get("reasoning_effort"),
    )


def completion_asks(body: Mapping[str, Any]) -> list[Ask]:
    """Read a Completions body: one Ask per prompt. Raises BadRequest."""
    prompt = body.get("prompt", "")
    prompts: list[Any] = [prompt]
    if isinstance(prompt, list) and not (prompt and isinstance(prompt[0], int)):
        prompts = prompt or [""]
    choices = _integer(body, "n", 1) or 1
    cap = _integer(body, "max_tokens", 0)
    if len(prompts) * choices > _MOST_CHOICES:
        raise BadRequest(f"Too many choices: at most {_MOST_CHOICES} prompts x n.", "n", "integer_above_max_value")
    return [
        _ask(body, (Turn("user", _plain_text(one, "prompt")),), cap=16 if cap is None else cap, n=choices, effort=None)
        for one in prompts
    ]


def responses_ask(body: Mapping[str, Any]) -> Ask:
    """Read a Responses body. Raises BadRequest."""
    given = body.get("input")
    if given is None or given == []:
        raise BadRequest("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    instructions = body.get("instructions")
    head = (Turn("system", instructions),) if isinstance(instructions, str) and instructions else ()
    if isinstance(given, str):
        turns: tuple[Turn, ...] = (Turn("user", given),)
    elif isinstance(given, list):
        turns = tuple(_responses_turn(item, index) for index, item in enumerate(given))
    else:
        raise BadRequest("Invalid type for 'input': expected a string or an array of items.", "input", "invalid_type")
    tools = _tools(body.get("tools"), nested=False)
    allowed, must_call = _tool_choice(body.get("tool_choice"), tools)
    text, reasoning = body.get("text"), body.get("reasoning")
    return _ask(
        body,
        head + turns,
        tools=allowed,
        must_call=must_call,
        shape=_shape(text.get("format"), None) if isinstance(text, dict) else None,
        cap=_integer(body, "max_output_tokens", 1),
        effort=reasoning.get("effort") if isinstance(reasoning, dict) else None,
    )


def model_of(body: Mapping[str, Any]) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest("you must provide a model parameter", "model", "missing_required_parameter")
    return model


def texts_of(value: object, param: str) -> list[str]:
    """The inputs of embeddings: a string, strings, token ids or lists of them; token ids as their decimal text."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value:
        return [_plain_text(value, param)] if isinstance(value[0], int) else [_plain_text(item, param) for item in value]
    raise BadRequest(f"Invalid '{param}': expected a string or a non-empty array.", param, "invalid_type")


def _ask(
    body: Mapping[str, Any],
    turns: tuple[Turn, ...],
    *,
    cap: int | None,
    effort: object,
    tools: tuple[FunctionTool, ...] = (),
    must_call: bool = False,
    shape: Shape | None = None,
    n: int = 1,
) -> Ask:
    model = model_of(body)
    stop = body.get("stop")
    extra = (body.get("tools") if tools else None), (shape.schema if shape else None)
    tokens = sum(turn.tokens for turn in turns) + _MESSAGE
    if extra[0]:
        tokens += sum(_TOOL + _json_tokens(tool) for tool in extra[0])
    if extra[1]:
        tokens += _json_tokens(extra[1])
    thinks = any(name in model for name in _REASONING_NAMES)
    return Ask(
        model=model,
        turns=turns,
        prompt_tokens=tokens,
        key=msgspec.json.encode([model, [(t.role, t.text) for t in turns], extra, body.get("seed")]),
        tools=tools,
        must_call=must_call,
        parallel=body.get("parallel_tool_calls") is not False,
        shape=shape,
        cap=cap,
        n=n,
        stop=(stop,) if isinstance(stop, str) else tuple(s for s in stop or () if isinstance(s, str) and s),
        reasoning_tokens=_REASONING.get(str(effort), 0) if thinks else 0,
    )


def _json_tokens(value: object) -> int:
    return -(-len(msgspec.json.encode(value)) // 4)


def _integer(body: Mapping[str, Any], name: str, least: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRequest(f"Invalid type for '{name}': expected an integer.", name, "invalid_type")
    if value < least:
        message = f"Invalid '{name}': integer below minimum value. Expected a value >= {least}, but got {value} instead."
        raise BadRequest(message, name, "integer_below_min_value")
    return value


def _chat_turn(message: object, index: int) -> Turn:
    where = f"messages[{index}]"
    if not isinstance(message, dict):
        raise BadRequest(f"Invalid type for '{where}': expected an object.", where, "invalid_type")
    role = message.get("role")
    if role not in ("system", "developer", "user", "assistant", "tool", "function"):
        raise BadRequest(f"Invalid value for '{where}.role': {role!r}.", f"{where}.role", "invalid_value")
    text, media = _content(message.get("content"), f"{where}.content")
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            text += f"{function.get('name', '')}{function.get('arguments', '')}"
    return Turn(_ROLES.get(role, str(role)), text, media)


def _responses_turn(item: object, index: int) -> Turn:
    where = f"input[{index}]"
    if not isinstance(item, dict):
        raise BadRequest(f"Invalid type for '{where}': expected an object.", where, "invalid_type")
    kind = item.get("type", "message")
    if kind == "message":
        text, media = _content(item.get("content"), f"{where}.content")
        role = str(item.get("role", "user"))
        return Turn(_ROLES.get(role, role), text, media)
    if str(kind).endswith("_output"):
        return Turn("tool", *_content(item.get("output"), f"{where}.output"))
    return Turn("assistant", f"{item.get('name', '')}{item.get('arguments', '')}")


def _content(content: object, where: str) -> tuple[str, int]:
    """The text of a content and the number of its media parts."""
    if content is None or isinstance(content, str):
        return content or "", 0
    if not isinstance(content, list):
        raise BadRequest(f"Invalid type for '{where}': expected a string or an array of parts.", where, "invalid_type")
    texts: list[str] = []
    media = 0
    for index, part in enumerate(content):
        if not isinstance(part, dict):
            raise BadRequest(
                f"Invalid type for '{where}[{index}]': expected an object.", f"{where}[{index}]", "invalid_type"
            )
        text = part.get("text", part.get("refusal"))
        if isinstance(text, str):
            texts.append(text)
        else:
            media += 1
    return "\n".join(texts), media


def _tools(tools: object, *, nested: bool) -> tuple[FunctionTool, ...]:
    """The function tools; hosted and custom tools are accepted and never called."""
    if tools is None:
        return ()
    if not isinstance(tools, list):
        raise BadRequest("Invalid type for 'tools': expected an array.", "tools", "invalid_type")
    found: list[FunctionTool] = []
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict) or tool.get("type") != "function":
            continue
        function = tool.get("function") if nested else tool
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            where = f"tools[{index}].function.name" if nested else f"tools[{index}].name"
            raise BadRequest(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
        parameters = function.get("parameters")
        shape = parameters if isinstance(parameters, dict) else {"type": "object"}
        found.append(FunctionTool(function["name"], str(function.get("description") or ""), shape))
    return tuple(found)


def _tool_choice(choice: object, tools: tuple[FunctionTool, ...]) -> tuple[tuple[FunctionTool, ...], bool]:
    """The tools that may be called and whether one must be."""
    if choice is None or choice == "auto":
        return tools, False
    if choice == "none":
        return (), False
    if choice == "required":
        return _known(tools, "required"), True
    if not isinstance(choice, dict):
        raise BadRequest(f"Invalid value for 'tool_choice': {choice!r}.", "tool_choice", "invalid_value")
    if choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools") or choice
        names = {_tool_name(tool) for tool in allowed.get("tools") or () if isinstance(tool, dict)}
        return tuple(tool for tool in tools if tool.name in names), allowed.get("mode") == "required"
    name = _tool_name(choice)
    return _known(tuple(tool for tool in tools if tool.name == name), name), True


def _known(tools: tuple[FunctionTool, ...], wanted: str) -> tuple[FunctionTool, ...]:
    if not tools:
        raise BadRequest(
            f"Invalid value for 'tool_choice': no function {wanted!r} in 'tools'.", "tool_choice", "invalid_value"
        )
    return tools


def _tool_name(tool: Mapping[str, Any]) -> str:
    function = tool.get("function")
    return str(function.get("name") if isinstance(function, dict) else tool.get("name"))


def _shape(form: object, nested: str | None) -> Shape | None:
    """`response_format` keeps the schema under `json_schema`, `text.format` beside the type."""
    if not isinstance(form, dict):
        return None
    if form.get("type") == "json_object":
        return Shape(None)
    if form.get("type") != "json_schema":
        return None
    holder = form.get(nested) if nested else form
    schema = holder.get("schema") if isinstance(holder, dict) else None
    if not isinstance(schema, dict):
        where = "response_format.json_schema.schema" if nested else "text.format.schema"
        raise BadRequest(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
    return Shape(schema)


def _plain_text(value: object, param: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and all(isinstance(item, int) for item in value):
        return " ".join(map(str, value))
    raise BadRequest(f"Invalid '{param}': expected strings or arrays of token ids.", param, "invalid_type")
