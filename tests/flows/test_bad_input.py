"""Bodies that are wrong: each gets one clear error in the caller's dialect, and nothing is forwarded, held or billed.

Through the whole gateway, in every dialect. Members that no caller may use stand in test_bad_members.py, what is wrong
with heads and framing in test_bad_heads.py, wrong paths and methods in test_bad_paths.py.
"""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import orjson

from rabbitgw.proxy.bodies.parsing import DEPTH_MAX, VALUES_MAX
from rabbitgw.proxy.dialects import (
    CHAT,
    DIALECTS,
)
from tests.books import assert_books_balance
from tests.fakes.openai_upstream import FakeUpstream
from tests.flows.house import House
from tests.flows.priced import sell
from tests.flows.refusing import ASKS, CREDIT_NANOS, asking, refusing, settled_calls, with_tail

KIB = 1024
MIB = 1024 * KIB
NO_JSON = "not valid JSON"
TEXTS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", NO_JSON),
    "blanks": (b" \r\n\t ", NO_JSON),
    "half": (b'{"model": ', NO_JSON),
    "null": (b"null", "must be a JSON object"),
    "a list": (b"[]", "must be a JSON object"),
    "a text": (b'"gpt-4o"', "must be a JSON object"),
    "two documents": (b"{}{}", NO_JSON),
    "a NUL behind it": (b"{}\x00", NO_JSON),
    "a comma too many": (b'{"model":"gpt-4o",}', NO_JSON),
    "no utf-8": (b'{"model":"gpt-4o","x":"\xe9"}', NO_JSON),
    "utf-16": ('{"model":"gpt-4o"}'.encode("utf-16"), NO_JSON),
    "utf-32": ('{"model":"gpt-4o"}'.encode("utf-32"), NO_JSON),
    "a byte order mark": (b"\xef\xbb\xbf{}", "byte order mark"),
    "a form": (b"model=gpt-4o&messages=hi", NO_JSON),
    "a raw line end in a text": (b'{"model":"gpt\n4o"}', NO_JSON),
    "100 000 brackets": (b"[" * 100_000, NO_JSON),
    "100 000 objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, NO_JSON),
}
TAILS: dict[str, tuple[bytes, str]] = {
    "a lone surrogate, escaped": (b'"x":"\\ud800"', NO_JSON),
    "a lone surrogate, as bytes": (b'"x":"\xed\xa0\x80"', NO_JSON),
    "surrogates in the wrong order": (b'"x":"\\udc00\\ud800"', NO_JSON),
    "a lone surrogate in a name": (b'"\\udfff":1', NO_JSON),
    "NaN": (b'"seed":NaN', NO_JSON),
    "Infinity": (b'"seed":Infinity', NO_JSON),
    "-Infinity": (b'"seed":-Infinity', NO_JSON),
    "beyond a double": (b'"seed":1e999', NO_JSON),
    "2**63": (b'"seed":9223372036854775808', "past 64 bits"),
    "2**64": (b'"seed":18446744073709551616', "past 64 bits"),
    "-2**63 - 1": (b'"seed":-9223372036854775809', "past 64 bits"),
    "20 digits inside": (b'"x":[{"y":[99999999999999999999]}]', "past 64 bits"),
    "400 digits": (b'"seed":' + b"9" * 400, NO_JSON),
    "5 000 digits": (b'"seed":' + b"9" * 5_000, NO_JSON),
    "one level too deep": (b'"x":' + b"[" * DEPTH_MAX + b"]" * DEPTH_MAX, f"more than {DEPTH_MAX} levels"),
    "1 000 levels": (b'"x":' + b'{"a":' * 1_000 + b"1" + b"}" * 1_000, f"more than {DEPTH_MAX} levels"),
    "too many values": (b'"x":[' + b"0," * VALUES_MAX + b"0]", f"more than {VALUES_MAX} values"),
    "too many objects": (b'"x":[' + b"{}," * (VALUES_MAX // 2) + b"{}]", f"more than {VALUES_MAX} values"),
}


async def test_what_is_no_json_object_is_said_to_be_none(house: House, upstream: FakeUpstream) -> None:
    async with refusing(house, upstream) as desk:
        for dialect in DIALECTS:
            for name, (body, says) in TEXTS.items():
                sent = desk.request(dialect.path, body)
                await desk.refused(name, dialect, sent, 400, "invalid_request", says=says)


async def test_values_that_could_mean_another_thing_upstream_are_refused(
    house: House, upstream: FakeUpstream
) -> None:
    async with refusing(house, upstream) as desk:
        for dialect in DIALECTS:
            for name, (tail, says) in TAILS.items():
                sent = desk.request(dialect.path, with_tail(dialect, tail))
                await desk.refused(name, dialect, sent, 400, "invalid_request", says=says)


async def test_a_body_of_many_values_is_refused_before_they_are_made(
    house: House, upstream: FakeUpstream
) -> None:
    """Three bytes of `[],` would become sixty-four."""
    async with refusing(house, upstream) as desk:
        sent = desk.request(CHAT.path, with_tail(CHAT, b'"x":[' + b"[]," * (4 * MIB) + b"[]]"))
        tracemalloc.start()
        try:
            await desk.refused("12 MiB of lists", CHAT, sent, 400, "invalid_request", says="values")
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # the client's and the gateway's buffers, the pieces, and the pieces as one: not 256 MiB of lists
        assert peak_bytes < 4 * len(sent)


async def test_nothing_of_a_refused_body_is_kept(house: House, upstream: FakeUpstream) -> None:
    """Also not until the next garbage collection, which may be hundreds of requests away."""
    text = b'"x":"' + b"x" * 8 * MIB + b'"'
    async with refusing(house, upstream) as desk:
        bodies = {
            "no JSON": (desk.request(CHAT.path, text), None),
            "a wrong member": (desk.request(CHAT.path, with_tail(CHAT, b'"n":0,' + text)), "n"),
            "too many values": (desk.request(CHAT.path, b"[" + b"0," * 4 * MIB), None),
        }
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            for name, (sent, named) in bodies.items():
                for _ in range(2):
                    await desk.refused(name, CHAT, sent, 400, "invalid_request", field=named)
                    assert (name, tracemalloc.get_traced_memory()[0] < MIB) == (name, True)
        finally:
            tracemalloc.stop()
            gc.enable()


async def test_what_is_unusual_and_clear_is_served(house: House, upstream: FakeUpstream) -> None:
    half = (DEPTH_MAX - 1) // 2
    tails = {
        "a surrogate pair": (b'"x":"\\ud83d\\ude00"', "😀"),
        "a NUL in a text": (b'"x":"\\u0000"', "\x00"),
        "the largest integer": (b'"x":9223372036854775807', 2**63 - 1),
        "many digits in a text": (b'"x":"99999999999999999999"', "9" * 20),
        "just not too deep": (b'"x":' + b'[{"a":' * half + b"1" + b"}]" * half, None),
        "a megabyte of one name": (b'"x":{"' + b"k" * 999_999 + b'":1}', {"k" * 999_999: 1}),
        "a text full of commas": (b'"x":"' + b"," * (VALUES_MAX + 9) + b'"', "," * (VALUES_MAX + 9)),
    }
    for dialect in DIALECTS:
        for name, (tail, value) in tails.items():
            reply = await house.post(with_tail(dialect, tail), path=dialect.path)
            assert (dialect.name, name, reply.status) == (dialect.name, name, 200)
            if value is not None:
                assert upstream.requests[-1].json["x"] == value
    await settled_calls(house, len(tails) * len(DIALECTS))
    await assert_books_balance(house)


# Who comes twice


async def test_of_two_members_of_one_name_the_last_is_priced_and_sent(
    house: House, upstream: FakeUpstream
) -> None:
    first: dict[str, Any] = {"model": "words", "messages": [], "input": "x", "prompt": "x"}
    first |= {"max_tokens": 100_000, "max_output_tokens": 100_000}
    charged_nanos = 0
    for dialect in DIALECTS:
        twice = {name: first[name] for name in ("model", *ASKS[dialect])}
        body = orjson.dumps(twice)[:-1] + b"," + asking(dialect)[1:]
        reply = await house.post(body, path=dialect.path)
        assert reply.status == 200, reply.body
        sent = upstream.requests[-1].body
        assert (sent.count(b'"model"'), b"words" in sent, b"100000" in sent) == (1, False, False)
        asked = upstream.requests[-1].json
        assert {name: asked[name] for name in twice} == orjson.loads(asking(dialect))
        bill = await house.bill(reply.request_id)
        # 19 x 2 500 for the prompt and 10 x 10 000 for the answer, at the price of gpt-4o
        cost_nanos = 0 if dialect.free else 147_500 if dialect.has_output else 47_500
        assert (bill["model"], bill["cost_nanos"]) == ("gpt-4o", cost_nanos)
        charged_nanos += cost_nanos
    assert charged_nanos == 637_500
    assert (await house.wallet())["balance_nanos"] == CREDIT_NANOS - charged_nanos
    await assert_books_balance(house)


# The model's name


async def test_a_name_that_is_no_models_is_refused(house: House, upstream: FakeUpstream) -> None:
    unfit: list[Any] = [None, "", 7, True, ["gpt-4o"], {"id": "gpt-4o"}, "m" * 257]
    unknown = ["GPT-4O", "gpt-4O", "gpt-4o ", " gpt-4o", "gpt-4o\x00", "gpt-4o\n", "m" * 256, "ｇpt-4o"]
    unknown += ["*", "gpt-*", "gpt-4?", "[g]pt-4o", "../gpt-4o", "gpt-4o/", "openai/gpt-4o"]
    async with refusing(house, upstream) as desk:
        for dialect in DIALECTS:
            missing = desk.request(dialect.path, orjson.dumps(ASKS[dialect]))
            await desk.refused("no model", dialect, missing, 400, "invalid_request", field="model")
            for name in unfit:
                sent = desk.request(dialect.path, asking(dialect, model=name))
                await desk.refused(name, dialect, sent, 400, "invalid_request", field="model")
            for name in unknown:
                sent = desk.request(dialect.path, asking(dialect, model=name))
                await desk.refused(
                    repr(name), dialect, sent, 404, "model_not_found", field="model", says="does not exist"
                )


async def test_control_characters_in_a_name_that_a_pattern_prices_do_not_stop_the_books(
    house: House, upstream: FakeUpstream
) -> None:
    upstream.script("pat-x")
    await sell(house, {"pat-*": {"input": "2.50", "output": "10"}}, listed="pat-x")
    names = ["pat-\x00", "pat-\r\n\x1b[2J", "pat-\u2028\ufeff", "pat-" + "x" * 252]
    for name in names:
        reply = await house.post(asking(CHAT, model=name))
        assert reply.status == 200
        bill = await house.bill(reply.request_id)
        assert (bill["model"], bill["cost_nanos"]) == (name.replace("\x00", "�"), 147_500)
    assert (await house.wallet())["balance_nanos"] == CREDIT_NANOS - len(names) * 147_500
    await assert_books_balance(house)
