"""What stands behind a link or inside a part: held for as what it is, or refused as another caller's could be it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from rabbitgw.billing.hold_bounds import Media
from rabbitgw.proxy.dialects import CHAT, MESSAGES, RESPONSES, Dialect
from tests.proxy.asked import assert_refused, given, parsed, said

PDF = "data:application/pdf;base64," + "A" * 1000  # 1028 characters
PNG = "data:image/png;base64," + "A" * 1000  # 1022
WEB = "https://example.org/"


@pytest.mark.parametrize(
    ("dialect", "fields", "media", "media_bytes"),
    [
        (CHAT, said({"type": "image_url", "image_url": {"url": PDF}}), Media(file_bytes=1028), 1028),
        (CHAT, said({"type": "image_url", "image_url": {"url": PNG}}), Media(images=1), 1022),
        (CHAT, said({"type": "image_url", "image_url": PNG.upper()}), Media(images=1), 1022),
        (
            CHAT,
            said({"type": "image_url", "image_url": {"url": PNG, "format": "video/mp4"}}),
            Media(file_bytes=1022),
            1022,
        ),
        (CHAT, said({"type": "image_url", "image_url": {"url": WEB + "cat.png"}}), Media(images=1), 0),
        (CHAT, said({"type": "image_url", "image_url": {"url": "HTTPS" + WEB[5:]}}), Media(images=1), 0),
        (CHAT, said({"type": "image_url", "image_url": {"url": WEB + "a.MP4?x"}}), Media(linked_files=1), 0),
        (
            CHAT,
            said({"type": "image_url", "image_url": {"url": WEB, "mime_type": "application/pdf"}}),
            Media(linked_files=1),
            0,
        ),
        (CHAT, said({"type": "video_url", "video_url": {"url": WEB + "a"}}), Media(linked_files=1), 0),
        (CHAT, said({"type": "video", "video": [WEB + "1", WEB + "2"]}), Media(linked_files=2), 0),
        (CHAT, said({"type": "input_audio", "input_audio": {"data": WEB}}), Media(linked_files=1), 0),
        (CHAT, said({"type": "file", "file": {"file_data": WEB + "a.pdf"}}), Media(linked_files=1), 0),
        (CHAT, said({"type": "file", "file": {"file_data": PDF}}), Media(file_bytes=1028), 1028),
        (
            RESPONSES,
            given({"role": "user", "content": [{"type": "input_image", "image_url": PDF}]}),
            Media(file_bytes=1028),
            1028,
        ),
        (
            RESPONSES,
            given({"role": "user", "content": [{"type": "video_url", "video_url": {"url": WEB}}]}),
            Media(linked_files=1),
            0,
        ),
        (RESPONSES, given({"type": "image_generation_call", "result": "A" * 9}), Media(images=1), 9),
        (
            MESSAGES,
            said(
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 9},
                }
            ),
            Media(file_bytes=9),
            9,
        ),
        (
            MESSAGES,
            said(
                {
                    "type": "web_fetch_tool_result",
                    "content": {
                        "type": "web_fetch_result",
                        "url": WEB,
                        "content": {"type": "document", "source": {"type": "base64", "data": "A" * 9}},
                    },
                }
            ),
            Media(file_bytes=9),
            9,
        ),
    ],
)
def test_media_are_held_for_as_what_they_are(
    dialect: Dialect, fields: dict[str, Any], media: Media, media_bytes: int
) -> None:
    call = parsed(dialect, **fields)
    assert (call.media, call.media_bytes) == (media, media_bytes)


@pytest.mark.parametrize(
    "url",
    [
        "gs://bucket/x.mp4",
        " GS://bucket/x.png",
        "s3://bucket/x.png",
        "file-abc",
        "files/abc",
        "https://generativelanguage.googleapis.com/v1beta/files/abc",
        "https://user@GenerativeLanguage.googleapis.com/v1beta/files/abc",
        "https://generativelanguage%2Egoogleapis.com/v1beta/files/abc",
    ],
)
@pytest.mark.parametrize(
    ("dialect", "part", "named"),
    [
        (CHAT, {"type": "image_url", "image_url": {"url": "URL"}}, "messages.content.image_url"),
        (CHAT, {"type": "image_url", "image_url": "URL"}, "messages.content.image_url"),
        (CHAT, {"type": "file", "file": {"file_data": "URL"}}, "messages.content.file_data"),
        (CHAT, {"type": "input_audio", "input_audio": {"data": "URL"}}, "messages.content.input_audio"),
        (MESSAGES, {"type": "image", "source": {"type": "url", "url": "URL"}}, "messages.content.source"),
        (
            MESSAGES,
            {"type": "image", "source": {"type": "url", "data": "AA", "url": "URL"}},
            "messages.content.source",
        ),
        (MESSAGES, {"type": "document", "source": {"type": "url", "url": "URL"}}, "messages.content.source"),
        (RESPONSES, {"type": "input_image", "image_url": "URL"}, "input.content.image_url"),
        (RESPONSES, {"type": "input_file", "file_data": "URL"}, "input.content.file_data"),
    ],
)
def test_a_link_to_what_is_stored_at_the_provider_is_refused(
    dialect: Dialect, part: dict[str, Any], named: str, url: str
) -> None:
    part = orjson.loads(orjson.dumps(part).replace(b"URL", url.encode()))
    fields = given({"role": "user", "content": [part]}) if dialect is RESPONSES else said(part)
    assert_refused(dialect, fields, named)


STORED_IMAGE = {"type": "image", "source": {"type": "file", "file_id": "f"}}


def test_blocks_as_deep_as_a_body_may_be_are_read() -> None:
    block: dict[str, Any] = STORED_IMAGE
    for _ in range(60):
        block = {"type": "document", "source": {"type": "content", "content": [block]}}
    assert_refused(MESSAGES, said(block), "messages.content.source.file_id")
    block = STORED_IMAGE
    for _ in range(230):
        block = {"type": "tool_result", "content": block}
    assert_refused(MESSAGES, said(block), "messages.content.source.file_id")
