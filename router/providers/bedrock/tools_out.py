"""What may be called, and how it is chosen, in Converse's words; what it has none for is said to Claude in Anthropic's."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from router.domain.chat import ChatQuery, HostedTool, Tool, ToolChoice, ToolMode
from router.providers.bedrock.content_out import Blocks, BlockWriter
from router.providers.bedrock.family import Maker
from router.providers.saying import Saying, called_tools

Json = dict[str, Any]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Draft(msgspec.Struct, frozen=True):
    """A request while it is written: its body, the model's own fields, whose model it is."""

    body: Json
    additional: Json
    maker: Maker


def put_tools(query: ChatQuery, draft: Draft, writer: BlockWriter, saying: Saying) -> None:
    """Bedrock knows no `none`: where no call was made yet, no tools say the same. Claude is told in Anthropic's words what
    Converse has none for."""
    tools, choice = _offered(query, draft.maker, saying, has_calls=writer.has_tools)
    if not tools or (choice.mode is ToolMode.NONE and not writer.has_tools):
        return
    specs: Blocks = []
    for index, tool in enumerate(tools):
        specs.append(_tool(tool, f"tools[{index}]", saying))
        specs += writer.cache_point(getattr(tool, "cache", None))
    draft.body["toolConfig"] = {"tools": specs}
    if choice.mode is ToolMode.NONE:
        if draft.maker is not Maker.CLAUDE:
            saying.refuse("tool_choice", "Bedrock has no `none`, and takes calls in a conversation only with the tools")
        draft.additional["tool_choice"] = {"type": "none"}
    elif query.is_parallel is False:
        if draft.maker is not Maker.CLAUDE:
            saying.refuse("parallel_tool_calls", "of Bedrock's models Claude alone can be told to call one tool at a time")
        draft.additional["tool_choice"] = _claude_choice(choice) | {"disable_parallel_tool_use": True}
    elif query.tool_choice is not None:
        draft.body["toolConfig"]["toolChoice"] = _choice(choice)


def _offered(
    query: ChatQuery, maker: Maker, saying: Saying, *, has_calls: bool
) -> tuple[Sequence[Tool | HostedTool], ToolChoice]:
    """Calls in a conversation are taken beside their tools alone: a caller who sends none wants no more of them."""
    choice = query.tool_choice or ToolChoice(ToolMode.AUTO)
    tools: Sequence[Tool | HostedTool] = query.tools
    if choice.names and choice.mode is not ToolMode.NAMED:
        tools = [tool for tool in tools if isinstance(tool, Tool) and tool.name in choice.names]
    if tools:
        return tools, choice
    if choice.mode in (ToolMode.REQUIRED, ToolMode.NAMED):
        saying.refuse("tool_choice", "there is no tool to call")
    tools = called_tools(query.turns) if has_calls else ()
    if has_calls and not tools:
        saying.refuse("messages", "it answers a call that is not in the conversation")
    return tools, ToolChoice(ToolMode.NONE) if maker is Maker.CLAUDE else choice


def _choice(choice: ToolChoice) -> Json:
    if choice.mode is ToolMode.NAMED:
        return {"tool": {"name": choice.names[0]}}
    return {"any": {}} if choice.mode is ToolMode.REQUIRED else {"auto": {}}


def _claude_choice(choice: ToolChoice) -> Json:
    if choice.mode is ToolMode.NAMED:
        return {"type": "tool", "name": choice.names[0]}
    return {"type": "any" if choice.mode is ToolMode.REQUIRED else "auto"}


def _tool(tool: Tool | HostedTool, path: str, saying: Saying) -> Json:
    if isinstance(tool, HostedTool):
        saying.refuse(path, f"{tool.kind!r} is run by its provider ({tool.family.value})")
    if tool.grammar is not None:
        saying.refuse(path, f"the custom tool {tool.name!r} takes free text, and Bedrock's tools take objects")
    if not _NAME.fullmatch(tool.name):
        saying.refuse(f"{path}.name", "Bedrock takes 1 to 64 letters, digits, _ and -")
    spec: Json = {"name": tool.name, "inputSchema": {"json": _schema(tool.parameters)}}
    if tool.description:
        spec["description"] = tool.description
    if tool.is_strict:
        spec["strict"] = True
    return {"toolSpec": spec}


def _schema(parameters: msgspec.Raw) -> Any:
    """An object's schema: Bedrock requires the type, OpenAI does not."""
    given = msgspec.json.decode(parameters) if parameters else None
    if isinstance(given, dict) and given.get("type") == "object":
        return parameters
    return {"type": "object", "properties": {}} | (given if isinstance(given, dict) else {})
