"""What works, per dialect: the call, what upstream answers, what the customer's code must read, what it must cost.

Data only. Prices of all of it: 2 500 nanos per input token, 10 000 per output token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.fakes.openai_upstream import Answer, Refuse, Script, ToolCall, usage
from tests.sdks.calls import (
    CHAT,
    CITY_CLASS,
    CITY_SCHEMA,
    COMPLETIONS,
    COUNT_TOKENS,
    EMBEDDINGS,
    GET_MODEL,
    GET_MODEL_ANTHROPIC,
    LIST_MODELS,
    LIST_MODELS_ANTHROPIC,
    MESSAGES,
    PIXEL,
    RESPONSES,
    SAY_HELLO,
    WEATHER_SCHEMA,
    Call,
)
from tests.sdks.situations import Key

HELLO = "Hello there!"
COST_NANOS = 147_500  # 19 x 2 500 + 10 x 10 000
WEATHER = Answer(chunks=(), tool_calls=(ToolCall("weather", {"city": "Oslo"}),))
CITY = Answer(chunks=('{"name":"Oslo",', '"inhabitants":', "700000}"))
CITY_TEXT = "".join(CITY.chunks)
LONG_TEXT = {"$repeat": ["word ", 60_000]}
TIMED = Answer(headers={"openai-processing-ms": "7"})
OWN_ID = "the-callers-own"
DATA_URL = f"data:image/png;base64,{PIXEL}"


@dataclass(frozen=True)
class Feature:
    """`text` is its row in the table. `seen` is what readers.py must have read, `scripts` what upstream does."""

    name: str
    text: str
    call: Call
    streamed: bool
    seen: Mapping[str, Any]
    scripts: Sequence[Script] = (Answer(),)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    posts: int = 1
    cost_nanos: int = COST_NANOS
    headers: Mapping[str, str] = field(default_factory=dict)
    key: Key = "good"


def read(call: Call, *, streamed: bool, text: str | None = HELLO, **seen: Any) -> dict[str, Any]:
    """What a customer reads of an answer that says this text."""
    expected: dict[str, Any] = {"text": text, "usage": [19, 10]}
    if streamed and call in (CHAT, COMPLETIONS):
        expected |= {"usage": None, "finish": "stop"}  # usage was not asked for
    elif streamed and call is RESPONSES:
        expected |= {"finish": "completed"}
    elif streamed:
        expected |= {"finish": "end_turn", "stopped": True}
    return expected | seen


def both(name: str, text: str, call: Call, *, says: str | None = HELLO, **options: Any) -> list[Feature]:
    """Plain, and streamed where the dialect has that. `tools`: what is read of tool calls."""
    options = dict(options)
    tools = options.pop("tools", None)
    found = []
    for streamed in (False, True):
        seen = read(call, streamed=streamed, text=says)
        if tools is not None:
            seen["tools"] = tools
        found.append(Feature(name, text, call, streamed, seen, **options))
    return found


def tool_calls() -> list[Feature]:
    name, text = "tools", "tool calls"
    read_tools = [["weather", {"city": "Oslo"}]]
    described = {"name": "weather", "description": "Tells the weather."}
    function = {**described, "parameters": WEATHER_SCHEMA}
    chat = {"tools": [{"type": "function", "function": function}], "tool_choice": "auto"}
    responses = {"tools": [{"type": "function", **function, "strict": False}]}
    messages = {"tools": [{**described, "input_schema": WEATHER_SCHEMA}]}
    made = []
    for call, arguments, empty, finish in (
        (CHAT, chat, (None, ""), "tool_calls"),
        (RESPONSES, responses, ("", ""), "completed"),
        (MESSAGES, messages, ("", ""), "tool_use"),
    ):
        for streamed in (False, True):
            seen = read(call, streamed=streamed, text=empty[streamed], tools=read_tools)
            if streamed:
                seen["finish"] = finish
            made.append(Feature(name, text, call, streamed, seen, [WEATHER], arguments))
    return made


def tool_results() -> list[Feature]:
    """The second turn: the tool's answer goes back."""
    name, text = "tool-results", "answers of tools"
    given = '{"city": "Oslo"}'
    function = {"name": "weather", "arguments": given}
    chat = [
        *SAY_HELLO,
        {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    responses = [
        *SAY_HELLO,
        {"type": "function_call", "call_id": "call_1", **function},
        {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
    ]
    use = {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}}
    result = {"type": "tool_result", "tool_use_id": "call_1", "content": "rain"}
    messages = [*SAY_HELLO, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    return [
        *both(name, text, CHAT, arguments={"messages": chat}),
        *both(name, text, RESPONSES, arguments={"input": responses}),
        *both(name, text, MESSAGES, arguments={"messages": messages}),
    ]


def vision() -> list[Feature]:
    name, text = "vision", "images in the prompt"
    ask = "What is this?"
    chat = [
        {"type": "text", "text": ask},
        {"type": "image_url", "image_url": {"url": DATA_URL, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]
    responses = [
        {"type": "input_text", "text": ask},
        {"type": "input_image", "image_url": DATA_URL, "detail": "low"},
    ]
    messages = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
        {"type": "text", "text": ask},
    ]
    return [
        *both(name, text, CHAT, arguments={"messages": [{"role": "user", "content": chat}]}),
        *both(name, text, RESPONSES, arguments={"input": [{"role": "user", "content": responses}]}),
        *both(name, text, MESSAGES, arguments={"messages": [{"role": "user", "content": messages}]}),
    ]


def structured() -> list[Feature]:
    name, text = "structured", "structured output, by a schema"
    schema = {"name": "city", "schema": CITY_SCHEMA, "strict": True}
    chat = {"response_format": {"type": "json_schema", "json_schema": schema}}
    responses = {"text": {"format": {"type": "json_schema", **schema}}}
    messages = {"output_config": {"format": {"type": "json_schema", "schema": CITY_SCHEMA}}}
    return [
        feature
        for call, arguments in ((CHAT, chat), (RESPONSES, responses), (MESSAGES, messages))
        for feature in both(name, text, call, says=CITY_TEXT, scripts=[CITY], arguments=arguments)
    ]


def helpers() -> list[Feature]:
    """The SDKs' own helpers: parse into a class, and stream with an object at the end."""
    parsed = ["City", {"name": "Oslo", "inhabitants": 700_000}]
    made = []
    for call, class_name, resource in (
        (CHAT, "response_format", "chat.completions"),
        (RESPONSES, "text_format", "responses"),
        (MESSAGES, "output_format", "messages"),
    ):
        parse = replace(call, method=f"{resource}.parse")
        seen = {"text": CITY_TEXT, "parsed": parsed, "usage": [19, 10]}
        made.append(
            Feature("parse", "`.parse()` into a class", parse, False, seen, [CITY], {class_name: CITY_CLASS})
        )
        stream = replace(
            call, method=f"{resource}.stream", stream_reads=f"{call.reads}-stream-helper", stream_arguments={}
        )
        seen = {"text": HELLO, "usage": None if call is CHAT else [19, 10]}
        made.append(Feature("stream-helper", "`.stream()` and its final object", stream, True, seen))
    return made


def long_prompts() -> list[Feature]:
    name, text = "long", "a prompt of 300 kB"
    messages = {"messages": [{"role": "user", "content": LONG_TEXT}]}
    scripts = [Answer(usage=usage(60_000, 10))]
    cost_nanos = 150_100_000  # 60 000 x 2 500 + 10 x 10 000
    made = []
    for call, arguments in (
        (CHAT, messages),
        (COMPLETIONS, {"prompt": LONG_TEXT}),
        (RESPONSES, {"input": LONG_TEXT}),
        (MESSAGES, messages),
    ):
        for feature in both(name, text, call, scripts=scripts, arguments=arguments, cost_nanos=cost_nanos):
            stated = feature.seen["usage"] and [60_000, 10]
            made.append(replace(feature, seen={**feature.seen, "usage": stated}))
    seen = {"vector": [0.25, -0.5, 0.125], "usage": [60_000, 60_000]}
    made.append(
        Feature(name, text, EMBEDDINGS, False, seen, scripts, {"input": LONG_TEXT}, cost_nanos=150_000_000)
    )
    return made


def hellos(name: str, text: str, **options: Any) -> list[Feature]:
    """The simplest call of every dialect, plain and streamed."""
    vector = {"vector": [0.25, -0.5, 0.125], "usage": [19, 19]}
    return [
        *(one for call in (CHAT, COMPLETIONS, RESPONSES, MESSAGES) for one in both(name, text, call, **options)),
        Feature(name, text, EMBEDDINGS, False, vector, **{**options, "cost_nanos": 47_500}),
        Feature(name, text, COUNT_TOKENS, False, {"usage": [19]}, **{**options, "cost_nanos": 0}),
    ]  # fmt: skip


def with_usage() -> list[Feature]:
    return [
        Feature(
            "include-usage",
            "a stream with `include_usage`",
            call,
            True,
            read(call, streamed=True, usage=[19, 10]),
            arguments={"stream_options": {"include_usage": True}},
        )
        for call in (CHAT, COMPLETIONS)
    ]


def raw_responses() -> list[Feature]:
    """What `with_raw_response` shows; test_matrix.py looks at the ids."""
    objects = (
        (CHAT, "ChatCompletion", COST_NANOS),
        (COMPLETIONS, "Completion", COST_NANOS),
        (RESPONSES, "Response", COST_NANOS),
        (EMBEDDINGS, "CreateEmbeddingResponse", 47_500),
        (MESSAGES, "Message", COST_NANOS),
        (COUNT_TOKENS, "MessageTokensCount", 0),
    )
    made = []
    for call, parsed, cost_nanos in objects:
        resource, _, method = call.method.rpartition(".")
        raw = replace(call, method=f"{resource}.with_raw_response.{method}", reads="headers")
        seen = {"status": 200, "parsed": parsed}
        for name, text, headers in (
            ("raw", "`with_raw_response`", {}),
            ("own-id", "an `x-request-id` of the caller's", {"x-request-id": OWN_ID}),
        ):
            made.append(
                Feature(name, text, raw, False, seen, [TIMED], headers=headers, cost_nanos=cost_nanos)
            )
    return made


def models() -> list[Feature]:
    """Of a key that may call two of the many that are there."""
    made = []
    for listing, one in ((LIST_MODELS, GET_MODEL), (LIST_MODELS_ANTHROPIC, GET_MODEL_ANTHROPIC)):
        for name, text, call, found in (
            ("models", "the list of models", listing, ["listed-a", "listed-b"]),
            ("model", "one model", one, ["listed-a"]),
        ):
            made.append(
                Feature(name, text, call, False, {"models": found}, (), key="narrow", posts=1, cost_nanos=0)
            )
    return made


FEATURES: tuple[Feature, ...] = (
    *hellos("plain", "an answer"),
    *with_usage(),
    *tool_calls(),
    *tool_results(),
    *vision(),
    *structured(),
    *helpers(),
    *long_prompts(),
    *raw_responses(),
    *models(),
    Feature(
        "free-count", "a count of tokens with an empty wallet", COUNT_TOKENS, False, {"usage": [19]},
        key="poor", cost_nanos=0,
    ),
    *hellos("second-try", "a retry after upstream's 500", scripts=(Refuse(500), Answer()), posts=2),
    *hellos("third-try", "two retries, after 503 and 429", posts=3, scripts=(
        Refuse(503, headers={"retry-after": "0.05"}), Refuse(429, headers={"retry-after": "0.05"}), Answer(),
    )),
)  # fmt: skip
