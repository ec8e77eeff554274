"""The calls that a customer makes, per dialect: which method of which SDK, with what, and how its answer is read.

Plain data. A case (cases.py) is one of them in one situation; client.py makes it with a real SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Sdk = Literal["openai", "anthropic"]

SAY_HELLO = [{"role": "user", "content": "Say hello."}]
WEATHER_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CITY_SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "inhabitants": {"type": "integer"}},
    "required": ["name", "inhabitants"],
    "additionalProperties": False,
}
CITY_CLASS = {"$class": "City"}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="


@dataclass(frozen=True)
class Call:
    """`reads` names the readers of readers.py, plain and streamed; `stream_reads` None: never streamed."""

    sdk: Sdk
    dialect: str
    path: str
    method: str
    arguments: Mapping[str, Any]
    reads: str
    stream_reads: str | None = None
    stream_arguments: Mapping[str, Any] = field(default_factory=lambda: {"stream": True})
    names_model: bool = True


CHAT = Call(
    "openai",
    "openai-chat",
    "/v1/chat/completions",
    "chat.completions.create",
    {"messages": SAY_HELLO},
    "chat",
    "chat-stream",
)
COMPLETIONS = Call(
    "openai",
    "openai-completions",
    "/v1/completions",
    "completions.create",
    {"prompt": "Say hello.", "max_tokens": 50},
    "completion",
    "completion-stream",
)
RESPONSES = Call(
    "openai",
    "openai-responses",
    "/v1/responses",
    "responses.create",
    {"input": "Say hello."},
    "response",
    "response-stream",
)
EMBEDDINGS = Call(
    "openai",
    "openai-embeddings",
    "/v1/embeddings",
    "embeddings.create",
    {"input": "Say hello.", "encoding_format": "float"},
    "embeddings",
)
MESSAGES = Call(
    "anthropic",
    "anthropic-messages",
    "/v1/messages",
    "messages.create",
    {"messages": SAY_HELLO, "max_tokens": 50},
    "message",
    "message-stream",
)
COUNT_TOKENS = Call(
    "anthropic",
    "anthropic-count-tokens",
    "/v1/messages/count_tokens",
    "messages.count_tokens",
    {"messages": SAY_HELLO},
    "token-count",
)
# Every route that answers, in the order of the table.
CALLS = (CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS, MESSAGES, COUNT_TOKENS)

LIST_MODELS = Call("openai", "models", "/v1/models", "models.list", {}, "models", names_model=False)
GET_MODEL = Call(
    "openai",
    "models",
    "/v1/models/{id}",
    "models.retrieve",
    {"model": "listed-a"},
    "model",
    names_model=False,
)
LIST_MODELS_ANTHROPIC = replace(LIST_MODELS, sdk="anthropic")
GET_MODEL_ANTHROPIC = replace(GET_MODEL, sdk="anthropic", arguments={"model_id": "listed-a"})

# What the SDKs have and nobody sells here.
UNSOLD = (
    Call("openai", "moderations", "/v1/moderations", "moderations.create", {"input": "hm"}, "anything"),
    Call(
        "openai",
        "stored responses",
        "/v1/responses/resp_1",
        "responses.retrieve",
        {"response_id": "resp_1"},
        "anything",
        names_model=False,
    ),
    Call("openai", "files", "/v1/files", "files.list", {}, "anything", names_model=False),
    Call(
        "anthropic",
        "batches",
        "/v1/messages/batches",
        "messages.batches.create",
        {"requests": [{"custom_id": "a", "params": {"model": "m", "max_tokens": 5, "messages": SAY_HELLO}}]},
        "anything",
        names_model=False,
    ),
)
