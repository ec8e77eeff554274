"""One call as the caller asked for it: the body, checked and understood as far as its price needs.

What leaves is what was priced: the body sent upstream is the serialisation of the one read here, so a duplicate
key, a number past 64 bits or a lone surrogate cannot mean one thing to us and another to the provider.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from rabbitgw.billing.hold_bounds import Media
from rabbitgw.errors import RequestInvalid
from rabbitgw.proxy.dialects import Dialect

# Fields whose value changes what the call costs or who serves it: a case variant of one is refused, since
# some upstreams read names without regard to case.
PRICED_FIELDS = frozenset(
    {
        "model",
        "stream",
        "stream_options",
        "n",
        "max_tokens",
        "max_completion_tokens",
        "messages",
        "tools",
        "service_tier",
        "modalities",
        "web_search_options",
        "user",
        "metadata",
        "store",
        "audio",
    }
)
# Fields by which LiteLLM lets a request choose credentials, routes or bookkeeping: ours to decide.
ROUTING_FIELDS = frozenset(
    {
        "allowed_model_region",
        "api_base",
        "api_key",
        "api_version",
        "base_url",
        "aws_access_key_id",
        "aws_region_name",
        "aws_secret_access_key",
        "azure_ad_token",
        "custom_llm_provider",
        "deployment_id",
        "disable_fallbacks",
        "extra_body",
        "extra_headers",
        "fallbacks",
        "guardrails",
        "headers",
        "litellm_call_id",
        "litellm_metadata",
        "litellm_params",
        "litellm_session_id",
        "litellm_trace_id",
        "mock_response",
        "mock_tool_calls",
        "mock_timeout",
        "model_list",
        "no-log",
        "num_retries",
        "organization",
        "proxy_server_request",
        "secret_fields",
        "tags",
        "vertex_credentials",
        "vertex_location",
        "vertex_project",
        "input_cost_per_token",
        "output_cost_per_token",
        "user_config",
        "context_window_fallbacks",
        "content_policy_fallbacks",
    }
)
METADATA_ROUTING = frozenset({"tags", "user_id", "spend_logs_metadata", "model_group", "deployment"})
CHOICES_MAX = 128
OUTPUT_TOKENS_MAX = 10_000_000
MODEL_CHARS_MAX = 256
LONG_CACHE = re.compile(rb'"(?:t|\\u0074){2}(?:l|\\u006[cC])"')  # a member named ttl, escaped or not
MANY_DIGITS = re.compile(rb"\d{19}")
INT64_MAX = 2**63 - 1


@dataclass(slots=True)
class Call:
    """`body` is the parsed body, ours to change; `body_bytes` the length as received."""

    dialect: Dialect
    body: dict[str, Any]
    body_bytes: int
    model: str
    stream: bool
    wants_usage: bool  # the caller asked for the usage chunk itself
    choices: int
    output_limit: int | None  # tokens per choice, as the caller limited them
    media: Media  # what is bounded by kind, not by its bytes
    long_cache: bool  # it may ask for a cache kept longer, and dearer, than the usual one
    media_bytes: int  # the bytes of it inside the body

    def limit_output(self, tokens: int) -> None:
        """Lower the output limit in each field that the caller used, else set it in the dialect's newest one."""
        fields = [name for name in self.dialect.output_limit_fields if self.body.get(name) is not None]
        for name in fields or self.dialect.output_limit_fields[-1:]:
            self.body[name] = min(tokens, self.body.get(name) or tokens)
        self.output_limit = tokens

    def upstream_body(self, *, user: str, request_id: str) -> bytes:
        """The body that goes upstream: usage asked for, `user` ours, our request id in the metadata."""
        body = self.body
        if self.stream:
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        body["user"] = user
        body["metadata"] = {**(body.get("metadata") or {}), "rabbitgw_request_id": request_id}
        return orjson.dumps(body)


def parse_call(dialect: Dialect, raw: bytes) -> Call:
    """Read and check a body.

    Raises: RequestInvalid naming the field.
    """
    body = parse_object(raw)
    for name in body:
        if name not in PRICED_FIELDS and name.lower() in PRICED_FIELDS:
            raise RequestInvalid(f"unknown field {name!r}: did you mean {name.lower()!r}?", field=name)
        if name in ROUTING_FIELDS:
            raise RequestInvalid(f"{name}: routing is the gateway's; leave this field out", field=name)
    stream = optional(body, "stream", bool) or False
    options: dict[str, Any] = optional(body, "stream_options", dict) or {}
    if options and not stream:
        raise RequestInvalid("stream_options: only allowed when stream is true", field="stream_options")
    metadata: dict[str, Any] = optional(body, "metadata", dict) or {}
    for name in metadata:
        if name in METADATA_ROUTING:
            raise RequestInvalid(f"metadata.{name}: routing is the gateway's", field=f"metadata.{name}")
    choices = optional_count(body, "n", CHOICES_MAX) or 1
    model = body.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= MODEL_CHARS_MAX:
        raise RequestInvalid(
            f"model: a string of 1 to {MODEL_CHARS_MAX} characters is required", field="model"
        )
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestInvalid("messages: a non-empty list is required", field="messages")
    optional(body, "service_tier", str)
    for tool in optional(body, "tools", list) or ():
        if not isinstance(tool, dict) or not isinstance(tool.get("type", ""), str):
            raise RequestInvalid("tools: each must be an object with a type", field="tools")
    limits = [optional_count(body, field, OUTPUT_TOKENS_MAX) for field in dialect.output_limit_fields]
    stated = [limit for limit in limits if limit is not None]
    media, media_bytes = media_of(messages)
    return Call(
        dialect=dialect,
        body=body,
        body_bytes=len(raw),
        model=model,
        stream=stream,
        wants_usage=bool(options.get("include_usage")),
        choices=choices,
        # both names at once: the provider may obey either, so the hold covers the larger
        output_limit=max(stated) if stated else None,
        media=media,
        media_bytes=media_bytes,
        long_cache=LONG_CACHE.search(raw) is not None,
    )


def parse_object(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestInvalid(f"the body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise RequestInvalid("the body must be a JSON object")
    # orjson reads an integer past 64 bits as a float; refuse it rather than send another number on
    if MANY_DIGITS.search(raw) and has_huge_number(body):
        raise RequestInvalid("the body holds an integer past 64 bits")
    return body


def has_huge_number(value: Any) -> bool:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, int | float) and abs(item) > INT64_MAX:
            return True
    return False


def optional(body: dict[str, Any], field: str, kind: type) -> Any:
    """A field that may be absent or null, of one JSON type."""
    value = body.get(field)
    if value is None or isinstance(value, kind):
        return value
    raise RequestInvalid(f"{field}: must be {json_name(kind)}, not {json_name(type(value))}", field=field)


def json_name(kind: type) -> str:
    names = {bool: "a boolean", dict: "an object", list: "an array", str: "a string"}
    return names.get(kind, "a number")


def optional_count(body: dict[str, Any], field: str, most: int) -> int | None:
    value = body.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise RequestInvalid(f"{field}: must be an integer from 1 to {most}", field=field)
    return value


def media_of(messages: list[Any]) -> tuple[Media, int]:
    """The content parts that are no text, and their bytes. A malformed message is upstream's to judge."""
    images = audio_bytes = file_bytes = linked_files = inline_bytes = 0
    for part in content_parts(messages):
        kind = part.get("type")
        data = part.get(kind) if isinstance(kind, str) else None
        if kind == "image_url":
            images += 1
            url = data.get("url") if isinstance(data, dict) else data
            inline_bytes += len(url) if isinstance(url, str) and url.startswith("data:") else 0
        elif kind == "input_audio":
            audio_bytes += text_bytes(data, "data")
        elif kind == "file":
            inline = text_bytes(data, "file_data")
            file_bytes += inline
            linked_files += 0 if inline else 1
    media = Media(images=images, audio_bytes=audio_bytes, file_bytes=file_bytes, linked_files=linked_files)
    return media, inline_bytes + audio_bytes + file_bytes


def content_parts(messages: list[Any]) -> Iterator[dict[str, Any]]:
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            yield from (part for part in content if isinstance(part, dict))


def text_bytes(data: Any, name: str) -> int:
    text = data.get(name) if isinstance(data, dict) else None
    return len(text) if isinstance(text, str) else 0
