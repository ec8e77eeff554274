"""What is taken for an event like an earlier one is one that says nothing but text, as the slower searches tell it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rabbitgw.proxy.meter.alike import Alike
from rabbitgw.proxy.meter.openai_chat import OpenAIChat

HEAD = b'data: {"id":"c","model":"m","usage":null,"choices":[{"index":0,"delta":{'
SURROUNDINGS = [
    (HEAD + b'"content":"', b'"},"finish_reason":null}]}\n\n'),
    (
        HEAD + b'"role":"assistant","content":"',
        b'"},"logprobs":null,"finish_reason":null}],"usage":null}\n\n',
    ),
    (HEAD + b'"reasoning_content":"', b'","content":null},"finish_reason":null}],"obfuscation":"xy"}\n\n'),
    (HEAD + b'"tool_calls":[{"index":0,"function":{"arguments":"', b'"}}]},"finish_reason":null}]}\n\n'),
    (b'data: {"id":"c","choices":[{"index":0,"text":"', b'","logprobs":null,"finish_reason":null}]}\n\n'),
]
TEXTS = st.lists(
    st.sampled_from(
        [
            *(
                b"a",
                b" word",
                "世".encode(),
                rb"\"",
                rb"\\",
                rb"\n",
                b'"',
                b"\\",
                b"\n",
                b"\r",
                b"\n\n",
                b"\xff",
            ),
            *(
                b'"error"',
                rb"\"error\"",
                b'","error":null,"obfuscation":"',
                b'","usage":{"a":1},"obfuscation":"',
            ),
            *(
                b'","usage":null,"obfuscation":"',
                b'"}}],"audio":null,"obfuscation":"',
                b'"finish_reason":"stop"',
            ),
            *(b'"choices":[{', b"data: [DONE]\n\n", b'"}', b'","x":"'),
        ]
    ),
    max_size=4,
).map(b"".join)
SPOKEN = (HEAD + b'"audio":{"id":"a"},"content":"', b'"},"finish_reason":null}]}\n\n')
EVENTS = st.tuples(st.sampled_from([*SURROUNDINGS, SPOKEN]), TEXTS).map(
    lambda made: made[0][0] + made[1] + made[0][1]
)


@settings(max_examples=1000)
@given(EVENTS, st.lists(EVENTS, min_size=1, max_size=3).map(b"".join))
def test_nothing_is_taken_for_text_that_a_look_at_it_alone_would_not_be(learnt: bytes, piece: bytes) -> None:
    alike, reader = Alike(), OpenAIChat()
    if reader.passes(learnt) == 1:
        alike.learn(learnt)
    events = alike.events(piece)
    assert events in (0, reader.passes(piece))


@pytest.mark.parametrize("around", SURROUNDINGS)
def test_an_event_is_like_the_one_learnt_whatever_its_text(around: tuple[bytes, bytes]) -> None:
    before, after = around
    alike = Alike()
    assert alike.events(before + b"one" + after) == 0
    alike.learn(before + b"one" + after)
    for text in (b"", b"one", rb"two \"quoted\" \\", "世🌍\u2028".encode(), b"x" * 5000):
        assert alike.events(before + text + after) == 1
        assert alike.events((before + text + after) * 3) == 3
    for other in (before, b"", before + after[:-1], before + b"one" + after + b"\n", before + b"\n" + after):
        assert alike.events(other) == 0


def test_an_event_of_other_surroundings_is_another() -> None:
    alike = Alike()
    (first, first_end), (second, second_end), *_ = SURROUNDINGS
    alike.learn(first + b"one" + first_end)
    assert alike.events(second + b"one" + second_end) == 0
    assert alike.events(first + b"one" + first_end.replace(b"null", b'"stop"')) == 0
    alike.learn(second + b"one" + second_end)
    assert alike.events(second + b"two" + second_end) == 1


def test_an_event_that_may_hold_sound_is_never_like_another() -> None:
    alike, (before, after) = Alike(), SPOKEN
    alike.learn(before + b"one" + after)
    assert alike.events(before + b"one" + after) == 0
