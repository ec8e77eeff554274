"""What is taken for an event like an earlier one is one that says nothing but text, as the slower searches tell it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rabbitgw.proxy.meter.alike import Alike, rest_of
from rabbitgw.proxy.meter.anthropic_messages import AnthropicMessages
from rabbitgw.proxy.meter.openai_chat import OpenAIChat
from rabbitgw.proxy.meter.openai_responses import OpenAIResponses
from rabbitgw.proxy.meter.reading import Reader

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
DELTA = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
NUMBERED = [
    (DELTA + b'"sequence_number":7,"item_id":"msg","delta":"', b'","logprobs":[],"obfuscation":"xy"}\n\n'),
    (DELTA[DELTA.index(b"data:") :] + b'"item_id":"msg","delta":"', b'","sequence_number":7}\n\n'),
    (DELTA + b'"sequence_number":812,"delta":"', b'","response":null,"item":null}\n\n'),
    (DELTA + b'"sequence_number":x,"delta":"', b'"}\n\n'),
]
BLOCK = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{'
BLOCKS = [
    (BLOCK + b'"type":"text_delta","text":"', b'"}}\n\n'),
    (BLOCK + b'"type":"input_json_delta","partial_json":"', b'"}}\n\n'),
]


def events_of(surroundings: list[tuple[bytes, bytes]]) -> st.SearchStrategy[bytes]:
    made = st.tuples(st.sampled_from(surroundings), TEXTS)
    return made.map(lambda parts: parts[0][0] + parts[1] + parts[0][1])


READERS = st.sampled_from(
    [
        (OpenAIChat, events_of([*SURROUNDINGS, SPOKEN])),
        (OpenAIResponses, events_of(NUMBERED)),
        (AnthropicMessages, events_of(BLOCKS)),
    ]
)


def looks_alike(alike: Alike, piece: bytes) -> bool:
    """What StreamReader asks of a piece before it calls."""
    rest = rest_of(piece, alike.size) if piece.startswith(alike.start) else None
    return rest is not None and rest.end() == len(piece)


@settings(max_examples=1500)
@given(READERS, st.data())
def test_nothing_is_taken_for_text_that_a_look_at_it_alone_would_not_be(
    read: tuple[type[Reader], st.SearchStrategy[bytes]], data: st.DataObject
) -> None:
    reader_type, events = read
    alike, reader = Alike(reader_type.unlike or b""), reader_type()
    learnt = data.draw(events)
    if reader.passes(learnt) == 1:
        alike.learn(learnt)
    piece = b"".join(data.draw(st.lists(events, min_size=1, max_size=3)))
    assert alike.events(piece) in (0, reader.passes(piece))
    if looks_alike(alike, piece):
        assert alike.events(piece) == 1


@pytest.mark.parametrize("around", [*SURROUNDINGS, *NUMBERED[:2], *BLOCKS])
def test_an_event_is_like_the_one_learnt_whatever_its_text(around: tuple[bytes, bytes]) -> None:
    before, after = around
    alike = Alike()
    assert alike.events(before + b"one" + after) == 0
    alike.learn(before + b"one" + after)
    for text in (b"", b"one", rb"two \"quoted\" \\", "世🌍\u2028".encode(), b"x" * 5000):
        assert alike.events(before + text + after) == 1
        assert alike.events((before + text + after) * 3) == 3
        assert looks_alike(alike, before + text + after) == (b"sequence_number" not in before)
        assert not looks_alike(alike, (before + text + after) * 3)
        assert not looks_alike(Alike(), b"\0" + text + after)
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


def test_an_event_is_like_one_of_another_number() -> None:
    before, after = NUMBERED[0]
    alike = Alike()
    alike.learn(before + b"one" + after)
    assert alike.events(before.replace(b":7", b":12345") + b"two" + after) == 1
    assert alike.events(before + b"two" + after + before.replace(b":7", b":8") + b"three" + after) == 2
    for number in (b":", b":null", b":-7", b":7.5", b':"7"'):
        assert alike.events(before.replace(b":7", number) + b"two" + after) == 0
    assert alike.events(before.replace(b'"msg"', b'"gsm"') + b"two" + after) == 0


@pytest.mark.parametrize(
    "member",
    [
        *(b'"error":null', b'"audio":null', b'"response":null', b'"item":null'),
        *(b'"usage":{"a":1}', b'"finish_reason":"stop"', b'"index":1'),
    ],
)
def test_an_event_with_a_member_that_is_looked_for_is_another(member: bytes) -> None:
    before, after = SURROUNDINGS[0]
    alike = Alike()
    alike.learn(before + b"one" + after)
    assert alike.events(before + b'two","content":null,"obfuscation":"' + after) == 1
    assert alike.events(before + b'two",%b,"obfuscation":"' % member + after) == 0


def test_an_event_is_unlike_for_a_word_where_its_reader_says_so() -> None:
    before, after = NUMBERED[0]
    assert OpenAIResponses.unlike
    alike = Alike(OpenAIResponses.unlike)
    alike.learn(before + b"one" + after)
    assert alike.events(before + b"two" + after) == 1
    assert alike.events(before + b"an audio book" + after) == 0
