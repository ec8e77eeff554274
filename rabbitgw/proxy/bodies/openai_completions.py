"""Bodies of the older completions: several prompts in one call, each answered `n` times.

Source: openai-python types/completion_create_params.py.
"""

from __future__ import annotations

from typing import Any, Final

from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.bodies.openai_chat import CHOICES_MAX, mark_chat, read_stream, read_tier
from rabbitgw.proxy.bodies.shape import Shape
from rabbitgw.proxy.call import Call, optional_count, output_limit

ANSWERS_MAX: Final = 2048
_PRICED: Final = frozenset(
    {
        "model",
        "stream",
        "stream_options",
        "n",
        "best_of",
        "max_tokens",
        "prompt",
        "service_tier",
        "user",
        "metadata",
    }
)


def read_completions(call: Call) -> None:
    body = call.body
    read_stream(call)
    prompts = prompts_of(body.get("prompt"))
    shown = optional_count(body, "n", CHOICES_MAX) or 1
    # all that are produced are billed, shown or not
    call.choices = prompts * max(shown, optional_count(body, "best_of", CHOICES_MAX) or 1)
    if call.choices > ANSWERS_MAX:
        raise RequestInvalid(f"prompt: at most {ANSWERS_MAX} answers in one call", field="prompt")
    call.output_limit = output_limit(call)
    read_tier(call)


def prompts_of(prompt: Any) -> int:
    """How many prompts: a text, a list of texts, a list of token ids, or a list of such lists.

    Raises: RequestInvalid.
    """
    if isinstance(prompt, str):
        return 1
    if isinstance(prompt, list) and prompt:
        if all(isinstance(one, int) and not isinstance(one, bool) for one in prompt):
            return 1
        if all(isinstance(one, str | list) for one in prompt):
            return len(prompt)
    raise RequestInvalid("prompt: must be a text, a list of texts or token ids", field="prompt")


COMPLETIONS_BODY: Final = Shape(_PRICED, read_completions, mark_chat)
