"""What may be called, in the words of the Responses API and back. Tools in namespaces have one flat name elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from router.domain.chat import Family, HostedTool, Namespace, Tool, ToolCall, ToolChoice, ToolMode
from router.domain.errors import InvalidRequest, UnsupportedFeature
from router.providers.openai_chat_codec.members import Members, raw

Json = dict[str, Any]
Names = Mapping[str, tuple[str, str]]

_MODES = {"auto": ToolMode.AUTO, "none": ToolMode.NONE, "required": ToolMode.REQUIRED}
_OWN = frozenset({"function", "custom"})
_BETWEEN = "__"


def flat_name(namespace: str, name: str) -> str:
    """The name by which a tool of a group is known where there are no groups."""
    return f"{namespace}{_BETWEEN}{name}" if namespace else name


def grouped_names(tools: Iterable[Tool | HostedTool]) -> Names:
    """Of each flat name the group and the name in it."""
    return {
        tool.name: (tool.namespace.name, tool.name.removeprefix(tool.namespace.name + _BETWEEN))
        for tool in tools
        if isinstance(tool, Tool) and tool.namespace is not None
    }


def name_members(name: str, names: Names) -> Json:
    """How a call is named: in its group where it has one."""
    if name not in names:
        return {"name": name}
    namespace, short = names[name]
    return {"name": short, "namespace": namespace}


# -- from the wire --------------------------------------------------------------------------------------------


def read_tools(members: Members) -> tuple[Tool | HostedTool, ...]:
    """Raises InvalidRequest."""
    found: list[Tool | HostedTool] = []
    for item, path in members.items("tools"):
        kind = item.get("type") if isinstance(item, dict) else None
        if kind == "namespace":
            found += _read_group(members.inner(item, path))
        elif isinstance(kind, str) and kind not in _OWN:
            found.append(HostedTool(Family.RESPONSES, kind, raw(item)))
        else:
            found.append(_read_tool(members.inner(item, path), None))
    return tuple(found)


def _read_group(members: Members) -> list[Tool]:
    members.any("type")
    group = Namespace(members.needed_text("name"), members.text("description"))
    return [_read_tool(members.inner(item, path), group) for item, path in members.items("tools")]


def _read_tool(tool: Members, group: Namespace | None) -> Tool:
    kind = tool.needed_text("type")
    if kind not in _OWN:
        raise InvalidRequest(f"{tool.at('type')}: expected function or custom, found {kind[:40]!r}", param=tool.at("type"))
    name = tool.needed_text("name")
    description = tool.text("description") if tool.has("description") else None
    _take_defaults(tool)
    if group is not None:
        name = flat_name(group.name, name)
        if group.description:
            description = _told_of(group) + (description or "")
    if kind == "custom":
        return Tool(name, description, grammar=_read_grammar(tool), namespace=group)
    parameters = tool.raw_object("parameters") or msgspec.Raw()
    return Tool(name, description, parameters, tool.flag("strict"), namespace=group)


def _told_of(group: Namespace) -> str:
    return f"{group.description}\n\n"


def _take_defaults(tool: Members) -> None:
    """Members that say what is so anyway: everything else about them is left over."""
    for name, default in (("defer_loading", False), ("allowed_callers", ["direct"])):
        value = tool.any(name)
        if value not in (None, default):
            tool.put(name, value)


def _read_grammar(tool: Members) -> msgspec.Raw:
    """Chat Completions nests what is flat here."""
    form = tool.members("format")
    kind = form.text("type") if form is not None else "text"
    if form is None or kind == "text":
        return msgspec.Raw(b"{}")
    if kind != "grammar":
        raise InvalidRequest(f"{form.at('type')}: expected text or grammar, found {kind[:40]!r}", param=form.at("type"))
    grammar = {"syntax": form.needed_text("syntax"), "definition": form.needed_text("definition")}
    return raw({"type": "grammar", "grammar": grammar})


def read_choice(members: Members, others: dict[str, msgspec.Raw]) -> ToolChoice | None:
    """Raises InvalidRequest. One that names a tool of OpenAI's own is left in `others`."""
    value = members.any("tool_choice")
    if value is None:
        return None
    if isinstance(value, str):
        if value not in _MODES:
            told = f"tool_choice: expected auto, none, required or an object, found {value[:40]!r}"
            raise InvalidRequest(told, param="tool_choice")
        return ToolChoice(_MODES[value])
    choice = Members(value, "tool_choice")
    kind = choice.needed_text("type")
    if kind in _OWN:
        return ToolChoice(ToolMode.NAMED, (_read_reference(choice),))
    listed = [item for item, _ in choice.items("tools")] if kind == "allowed_tools" else []
    if not listed or any(not isinstance(item, dict) or item.get("type") not in tuple(_OWN) for item in listed):
        others["tool_choice"] = raw(value)
        return None
    mode = choice.needed_text("mode")
    if mode not in {"auto", "required"}:
        raise InvalidRequest(f"tool_choice.mode: expected auto or required, found {mode[:40]!r}", param="tool_choice.mode")
    return ToolChoice(_MODES[mode], tuple(_read_reference(Members(item, "tool_choice.tools")) for item in listed))


def _read_reference(tool: Members) -> str:
    return flat_name(tool.text("namespace"), tool.needed_text("name"))


# -- to the wire ----------------------------------------------------------------------------------------------


def written_tools(tools: Sequence[Tool | HostedTool], target: str, *, is_own: bool) -> list[Json | msgspec.Raw]:
    """Raises UnsupportedFeature. `is_own`: the tools came in this dialect, whose default for `strict` is another one."""
    written: list[Json | msgspec.Raw] = []
    groups: dict[str, list[Json]] = {}
    for tool in tools:
        if isinstance(tool, HostedTool):
            if tool.family is not Family.RESPONSES:
                raise UnsupportedFeature(f"tools: {tool.kind} is run by its provider, not by {target}", param="tools")
            written.append(tool.raw)
            continue
        shape = _written_tool(tool, is_own=is_own)
        if tool.namespace is None:
            written.append(shape)
            continue
        group = tool.namespace
        if group.name not in groups:
            groups[group.name] = []
            head = {"type": "namespace", "name": group.name, "description": group.description}
            written.append(head | {"tools": groups[group.name]})
        groups[group.name].append(shape)
    return written


def _written_tool(tool: Tool, *, is_own: bool) -> Json:
    group, description = tool.namespace, tool.description
    name = tool.name if group is None else tool.name.removeprefix(group.name + _BETWEEN)
    if group is not None and description is not None:
        description = description.removeprefix(_told_of(group))
    told: Json = {"type": "function" if tool.grammar is None else "custom", "name": name}
    if description is not None:
        told["description"] = description
    if tool.grammar is not None:
        return told | _written_grammar(tool.grammar)
    if is_own:
        told["parameters"] = tool.parameters or None
        return told | ({} if tool.is_strict is None else {"strict": tool.is_strict})
    told["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    return told | {"strict": bool(tool.is_strict)}


def _written_grammar(grammar: msgspec.Raw) -> Json:
    form = msgspec.json.decode(grammar)
    if form.get("type") != "grammar":
        return {"format": {"type": "text"}}
    return {"format": {"type": "grammar", **form.get("grammar", {})}}


def written_choice(choice: ToolChoice, tools: Sequence[Tool | HostedTool]) -> str | Json:
    named = [_reference(name, tools) for name in choice.names]
    if choice.mode is ToolMode.NAMED:
        return named[0]
    return {"type": "allowed_tools", "mode": choice.mode.value, "tools": named} if named else choice.mode.value


def _reference(name: str, tools: Sequence[Tool | HostedTool]) -> Json:
    known = next((tool for tool in tools if isinstance(tool, Tool) and tool.name == name), None)
    is_custom = known is not None and known.grammar is not None
    return {"type": "custom" if is_custom else "function", **name_members(name, grouped_names(tools))}


def call_item(call: ToolCall, call_id: str, names: Names) -> Json:
    """A call as an item, without the item's own id."""
    if call.is_custom:
        kind: Json = {"type": "custom_tool_call", "input": call.arguments}
    else:
        kind = {"type": "function_call", "arguments": call.arguments}
    return kind | {"call_id": call_id} | name_members(call.name, names)
