"""Tools that the provider runs and charges by the use, and the name of the price of each.

A tool that the caller runs costs nothing but tokens. Any other is sold only if the model's price names it. What the
provider stores for a tool is refused: see call.py.
"""

from __future__ import annotations

from typing import Any, Final

from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.bodies.media import member
from rabbitgw.proxy.call import Call, optional, stored_object

USES_MAX: Final = 10  # of one call that states no limit; providers stop long before
# What a price is looked up by is kept and is said in refusals, so that its length and number have a limit.
NAME_CHARS_MAX: Final = 64
KINDS_MAX: Final = 16  # of tools that the provider runs
# Run by the caller. Anthropic's carry a date behind the name.
_OWN: Final = frozenset(
    {"function", "custom", "apply_patch", "local_shell", "computer", "computer_use_preview"}
)
_OWN_DATED: Final = ("bash_", "text_editor_", "computer_", "memory_")
_PRICED_AS: Final = (
    ("web_search", "web_search_requests"),
    ("web_fetch", "web_fetch_requests"),
    ("file_search", "file_search_requests"),
    ("code_interpreter", "code_interpreter_sessions"),
)


def read_tools(call: Call) -> None:
    """Fill in what the tool list of a call can cost. Raises: RequestInvalid naming `tools`."""
    uses: dict[str, int] = {}
    for tool in optional(call.body, "tools", list) or ():
        if not isinstance(tool, dict) or not isinstance(tool.get("type") or "", str):
            raise RequestInvalid("tools: each must be an object with a type", field="tools")
        kind = tool.get("type") or "custom"
        if kind in _OWN or kind.startswith(_OWN_DATED):
            continue
        _no_stored_object(tool)
        name = next((name for prefix, name in _PRICED_AS if kind.startswith(prefix)), kind)
        uses[name] = uses.get(name, 0) + uses_of(tool)
        if len(name) > NAME_CHARS_MAX or len(uses) > KINDS_MAX:
            raise RequestInvalid(
                f"tools: at most {KINDS_MAX} kinds that the provider runs, of {NAME_CHARS_MAX} characters each",
                field="tools",
            )
    add_uses(call, uses)


def add_uses(call: Call, uses: dict[str, int]) -> None:
    call.parts += [f"tool:{name}" for name in uses]
    call.tool_uses = {**call.tool_uses, **uses}


def _no_stored_object(tool: dict[str, Any]) -> None:
    """In any dialect: LiteLLM carries tools of one into another."""
    container = tool.get("container")
    for name, found in (
        ("vector_store_ids", tool.get("vector_store_ids")),
        ("container", container if isinstance(container, str) else member(container, "file_ids")),
        ("environment", member(tool.get("environment"), "container_id")),
        ("input_image_mask", member(tool.get("input_image_mask"), "file_id")),
    ):
        if found:
            raise stored_object(f"tools.{name}")


def priced_name(body: dict[str, Any], field: str) -> str | None:
    """A field that names a price. Raises: RequestInvalid naming it."""
    name: str | None = optional(body, field, str)
    if name is not None and len(name) > NAME_CHARS_MAX:
        raise RequestInvalid(f"{field}: at most {NAME_CHARS_MAX} characters", field=field)
    return name


def uses_of(tool: dict[str, Any]) -> int:
    """The most uses, where the tool states them (Anthropic's `max_uses`)."""
    stated = tool.get("max_uses")
    return stated if isinstance(stated, int) and not isinstance(stated, bool) and stated > 0 else USES_MAX
