"""Tools that the provider runs and charges by the use, and the name of the price of each.

A tool that the caller runs costs nothing but tokens; it is one only if its whole form is known, as LiteLLM takes a
member such as `googleSearch` for a provider's tool whatever the type says. Any other is sold only if the model's price
names it. What the provider stores for a tool is refused: see call.py.
"""

from __future__ import annotations

import re
from typing import Any, Final

from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.bodies.media import member, parts_of
from rabbitgw.proxy.call import Call, optional, stored_object

USES_MAX: Final = 10  # of one call that states no limit; providers stop long before
STATED_USES_MAX: Final = 10_000  # of one kind: a hold for more is no hold
# What a price is looked up by is kept and is said in refusals, so that its length and number have a limit.
NAME_CHARS_MAX: Final = 64
KINDS_MAX: Final = 16  # of tools that the provider runs
# Run by the caller. Anthropic's carry a date behind the name.
_FUNCTIONS: Final = frozenset({"function", "custom"})
_OWN: Final = _FUNCTIONS | {"apply_patch", "local_shell", "computer", "computer_use_preview", "computer_use"}
_OWN_DATED: Final = re.compile(r"(?:bash|text_editor|memory|computer|computer_toolset)_[0-9]{8}")
_OWN_MEMBERS: Final = frozenset(
    {
        *("type", "function", "custom", "name", "description", "parameters", "strict", "format", "async"),
        *("input_schema", "output_schema", "input_examples", "cache_control", "eager_input_streaming"),
        *("defer_loading", "allowed_callers"),
    }
)
_OWN_DEVICE_MEMBERS: Final = _OWN_MEMBERS | {
    *("display_height_px", "display_width_px", "display_number", "enable_zoom", "max_characters", "configs"),
    *("display_height", "display_width", "environment"),
}
_FUNCTION_MEMBERS: Final = frozenset(
    {"name", "description", "parameters", "strict"}
)  # of the older `functions`
# By these members other APIs ask for a tool of the provider's: in lower case, without what parts the words.
_PROVIDERS: Final = frozenset(
    {
        *("googlesearch", "googlesearchretrieval", "enterprisewebsearch", "googlemaps", "urlcontext"),
        *("codeexecution", "computeruse", "retrieval", "filesearch", "vertexaisearch", "websearch"),
        *("mcpservers", "systemtool", "functiondeclarations"),
    }
)
_PRICED_AS: Final = (
    ("web_search", "web_search_requests"),
    ("web_fetch", "web_fetch_requests"),
    ("file_search", "file_search_requests"),
    ("code_interpreter", "code_interpreter_sessions"),
)
_TEXT_OR_NONE: Final = (str, type(None))
_MEMORY_SOLD: Final = (None, "1g")  # of a container; larger ones have prices of their own


def read_tools(call: Call) -> None:
    """Fill in what the tool list of a call can cost. Raises: RequestInvalid naming `tools`."""
    uses: dict[str, int] = {}
    for tool in optional(call.body, "tools", list) or ():
        if not isinstance(tool, dict) or not isinstance(tool.get("type"), _TEXT_OR_NONE):
            raise RequestInvalid("tools: each must be an object with a type", field="tools")
        if not tool.keys() <= _OWN_MEMBERS:  # of those none names anything stored
            _no_stored_object(tool)
        if is_own(tool, typed=not call.dialect.anthropic):
            continue
        kind = tool["type"]
        name = next((name for prefix, name in _PRICED_AS if kind.startswith(prefix)), kind)
        uses[name] = uses.get(name, 0) + uses_of(tool)
        if uses[name] > STATED_USES_MAX:
            raise RequestInvalid(f"tools: at most {STATED_USES_MAX} uses of each in one call", field="tools")
        if len(name) > NAME_CHARS_MAX or len(uses) > KINDS_MAX:
            raise RequestInvalid(
                f"tools: at most {KINDS_MAX} kinds that the provider runs, of {NAME_CHARS_MAX} characters each",
                field="tools",
            )
    add_uses(call, uses)


def is_own(tool: dict[str, Any], *, typed: bool) -> bool:
    """Whether the caller runs it. `typed`: the dialect knows no tool without a type. Raises: RequestInvalid."""
    kind = tool.get("type")
    named = isinstance(tool.get("name"), str)
    if not kind:
        if typed or kind == "" or not named or not isinstance(tool.get("input_schema"), dict):
            raise RequestInvalid("tools: each needs a type, or a name and an input_schema", field="tools")
        known = _OWN_MEMBERS
    elif kind in _FUNCTIONS:
        if not named and not isinstance(tool.get(kind) or tool.get("function"), dict):
            raise RequestInvalid(f"tools: one of type {kind!r} needs a name", field="tools")
        known = _OWN_MEMBERS
    elif kind in _OWN or _OWN_DATED.fullmatch(kind):
        known = _OWN_DEVICE_MEMBERS
    else:
        _only_members(tool, None)
        return False
    _only_members(tool, known)
    return True


def read_functions(call: Call) -> None:
    """The older `functions`, which LiteLLM reads as it reads tools. Raises: RequestInvalid naming the field."""
    for function in optional(call.body, "functions", list) or ():
        if (
            not isinstance(function, dict)
            or not function.keys() <= _FUNCTION_MEMBERS
            or "name" not in function
        ):
            raise RequestInvalid("functions: each is a name, description and parameters", field="functions")


def _only_members(tool: dict[str, Any], known: frozenset[str] | None) -> None:
    if known is not None and tool.keys() <= known:
        return
    for name in tool:
        squeezed = name.casefold().replace("_", "").replace("-", "")
        if squeezed in _PROVIDERS if known is None else name not in known:
            raise RequestInvalid(
                f"tools: {name[:NAME_CHARS_MAX]!r} is no member of a tool of type {tool.get('type')!r:.80}",
                field="tools",
            )


def add_uses(call: Call, uses: dict[str, int]) -> None:
    call.parts += [f"tool:{name}" for name in uses]
    call.tool_uses = {**call.tool_uses, **uses}


def _no_stored_object(tool: dict[str, Any]) -> None:
    """In any dialect: LiteLLM carries tools of one into another."""
    container = tool.get("container")
    for name, found in (
        ("vector_store_ids", tool.get("vector_store_ids")),
        ("container", container if isinstance(container, str) else member(container, "file_ids")),
        ("container", any(skill.get("skill_id") for skill in parts_of(member(container, "skills")))),
        ("environment", is_stored_environment(tool.get("environment"))),
        ("input_image_mask", member(tool.get("input_image_mask"), "file_id")),
        ("tunnel_id", tool.get("tunnel_id")),
    ):
        if found:
            raise stored_object(f"tools.{name}")
    for holder in ("container", "environment"):
        if member(tool.get(holder), "memory_limit") not in _MEMORY_SOLD:
            raise RequestInvalid(
                f"tools.{holder}.memory_limit: only the smallest container, 1g, is sold",
                field=f"tools.{holder}",
            )


def is_stored_environment(environment: Any) -> bool:
    """A container by its id, or one with files or skills by theirs."""
    skills = parts_of(member(environment, "skills"))
    ids = (member(environment, "container_id"), member(environment, "file_ids"))
    return any(ids) or any(skill.get("skill_id") is not None for skill in skills)


def priced_name(body: dict[str, Any], field: str) -> str | None:
    """A field that names a price. Raises: RequestInvalid naming it."""
    name: str | None = optional(body, field, str)
    if name is not None and len(name) > NAME_CHARS_MAX:
        raise RequestInvalid(f"{field}: at most {NAME_CHARS_MAX} characters", field=field)
    return name


def uses_of(tool: dict[str, Any]) -> int:
    """The most uses, where the tool states them (Anthropic's `max_uses`). Raises: RequestInvalid."""
    stated = tool.get("max_uses")
    if stated is None:
        return USES_MAX
    if isinstance(stated, bool) or not isinstance(stated, int) or not 1 <= stated <= STATED_USES_MAX:
        raise RequestInvalid(
            f"tools.max_uses: must be an integer from 1 to {STATED_USES_MAX}", field="tools.max_uses"
        )
    return stated
