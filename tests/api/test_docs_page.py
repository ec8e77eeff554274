"""/docs: everything of the document is on the page, every link leads somewhere, and nothing on it can run or load."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from rabbitgw.api.docs_page import NO_ICON, page
from rabbitgw.api.html import NO_END, joined, prose, tag
from rabbitgw.api.openapi import document
from rabbitgw.api.routes import SideDeps, side_table

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient

HOSTILE = """</code><script>alert(1)</script>" onload='x' `</style>` &amp; <img src=x>"""

WORDS = ("description", "summary", "version", "format")


class Read(HTMLParser):
    """What stands on a page, and whether its tags fit together."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.tags.add(tag)
        self.attributes |= said.keys()
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in attrs if name == "href" and value]
        if tag not in NO_END:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def made(deps: SideDeps) -> dict[str, Any]:
    return document(side_table(deps))


async def test_everything_of_the_document_is_on_the_page(made: dict[str, Any]) -> None:
    read = Read(page(made, "/openapi.json"))
    for path, methods in made["paths"].items():
        assert path in read.text
        for operation in methods.values():
            assert operation["operationId"] in read.ids
            said = [operation["summary"], *(one["name"] for one in operation.get("parameters", ()))]
            said += [one["description"] for one in operation["responses"].values()]
            assert [words for words in said if words.replace("`", "") not in read.text] == []
    for schema in made["components"]["schemas"].values():
        for name, field in schema.get("properties", {}).items():
            assert name in read.text
            assert field.get("description", "").replace("`", "") in read.text


async def test_every_link_of_the_page_leads_somewhere(made: dict[str, Any]) -> None:
    read = Read(page(made, "/openapi.json"))
    assert len(read.ids) == len(set(read.ids))
    assert "object-RefusedAnswer" in read.ids
    inside = {link.removeprefix("#") for link in read.links if link.startswith("#")}
    assert inside <= set(read.ids)
    assert {link for link in read.links if not link.startswith("#")} == {"/openapi.json", NO_ICON}


async def test_the_page_runs_nothing_and_loads_nothing(client: TestClient[Any, Any]) -> None:
    async with client.get("/docs?from=a-bookmark") as answer:
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        html = await answer.text()
        policy = dict(
            one.strip().split(" ", 1) for one in answer.headers["content-security-policy"].split(";")
        )
    read = Read(html)
    assert not read.tags & {"script", "iframe", "img", "form", "object", "embed", "base", "svg"}
    assert not [name for name in read.attributes if name.startswith("on") or name in ("style", "src")]
    assert policy == {
        "default-src": "'none'",
        "style-src": f"'sha256-{_hash_of_style(html)}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    async with client.head("/docs") as answer:
        assert answer.status == 200
        assert int(answer.headers["content-length"]) == len(html.encode())


def _hash_of_style(html: str) -> str:
    """As a browser makes it, of what stands between the tags."""
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


async def test_the_side_route_that_names_the_program_names_the_page(client: TestClient[Any, Any]) -> None:
    async with client.get("/") as answer:
        assert (await answer.json())["docs"] == "/docs"


def _hostile(value: Any) -> Any:
    """The same document with words in it that would be tags."""
    if isinstance(value, dict):
        return {
            name: HOSTILE if name in WORDS and isinstance(one, str) else _hostile(one)
            for name, one in value.items()
        }
    return [_hostile(one) for one in value] if isinstance(value, list) else value


async def test_words_of_the_document_stay_words(made: dict[str, Any]) -> None:
    html = page(_hostile(made), "/openapi.json")
    read = Read(html)
    assert HOSTILE.replace("`", "") in read.text
    assert read.tags == Read(page(made, "/openapi.json")).tags
    assert read.attributes == Read(page(made, "/openapi.json")).attributes


def test_text_is_escaped_and_html_is_not() -> None:
    assert tag("a", "<b>", tag("i", "&"), href='"<') == '<a href="&quot;&lt;">&lt;b&gt;<i>&amp;</i></a>'
    assert joined("<", tag("b", "x"), by=" & ") == "&lt; &amp; <b>x</b>"
    assert prose("a `<b>` c") == "a <code>&lt;b&gt;</code> c"
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'
