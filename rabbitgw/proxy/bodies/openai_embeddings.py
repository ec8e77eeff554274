"""Bodies of embeddings: texts or token ids in, no tokens out, never streamed.

Source: openai-python types/embedding_create_params.py.
"""

from __future__ import annotations

from typing import Final

from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.bodies.shape import Shape, mark_openai
from rabbitgw.proxy.call import Call, optional

_PRICED: Final = frozenset({"model", "input", "stream", "user", "metadata"})


def read_embeddings(call: Call) -> None:
    if optional(call.body, "stream", bool):
        raise RequestInvalid("stream: embeddings are not streamed", field="stream")
    wanted = call.body.get("input")
    if not isinstance(wanted, str | list) or not wanted:
        raise RequestInvalid(
            "input: a text, or a non-empty list of texts or token ids, is required", field="input"
        )


EMBEDDINGS_BODY: Final = Shape(_PRICED, read_embeddings, mark_openai)
