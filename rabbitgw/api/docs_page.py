"""/docs: the OpenAPI document as a page for people.

Owns what stands where on the page; knows no route and no model, only the document. The page is one file without a
script: it folds by <details>, and a browser opens the one that a link leads into. Its policy lets it load nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from rabbitgw.api.html import Html, joined, prose, tag

STYLE: Final = Html((Path(__file__).parent / "docs.css").read_text())
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS: Final = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
NO_ICON: Final = "data:,"  # or the browser asks for /favicon.ico
SCHEMAS: Final = "#/components/schemas/"
INT64: Final = (-(2**63), 1 - 2**63, 2**63 - 1)  # which as limits tell a reader nothing
LIMITS: Final = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
    "pattern": "like {}",
    "default": "default {}",
}

Schema = dict[str, Any]


def page(document: dict[str, Any], document_path: str) -> str:
    """The whole page. `document_path` is where programs find the document."""
    info = document["info"]
    operations = list(_operations(document))
    groups = [
        (group, [one for one in operations if group["name"] in one["tags"]]) for group in document["tags"]
    ]
    about = [tag("p", prose(part)) for part in info["description"].split("\n\n")]
    about.append(tag("p", "For programs: ", tag("a", document_path, href=document_path), ", OpenAPI 3.1."))
    schemas = document["components"]["schemas"]
    sent = _sent(operations, schemas)
    main = tag(
        "main",
        tag("h1", info["title"], tag("small", info["version"])),
        *about,
        *(_group(group, members, schemas) for group, members in groups if members),
        _objects(schemas, sent),
    )
    nav = tag("nav", *(_links(group, members) for group, members in groups if members))
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("link", rel="icon", href=NO_ICON),
        tag("title", f"{info['title']}: HTTP API"),
        tag("style", STYLE),
    )
    return "<!doctype html>\n" + tag(
        "html", head, tag("body", tag("div", nav, main, class_="page")), lang="en"
    )


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield {"method": method, "path": path, **operation}


def _links(group: dict[str, Any], members: list[dict[str, Any]]) -> Html:
    links = (
        tag("a", _method(one), tag("code", one["path"]), href=f"#{one['operationId']}") for one in members
    )
    return joined(tag("b", group["name"]), *links)


def _group(group: dict[str, Any], members: list[dict[str, Any]], schemas: Schema) -> Html:
    return tag(
        "section",
        tag("h2", group["name"]),
        tag("p", prose(group["description"])),
        *(_operation(one, schemas) for one in members),
    )


def _operation(one: dict[str, Any], schemas: Schema) -> Html:
    summary = (_method(one), tag("code", one["path"]), tag("span", prose(one["summary"]), class_="said"))
    inside: list[Html] = []
    for place, title in (("path", "In the path"), ("query", "In the query")):
        rows = [
            _row(
                parameter["name"],
                parameter["schema"],
                parameter.get("description"),
                "required" if parameter["required"] else "",
            )
            for parameter in one.get("parameters", ())
            if parameter["in"] == place
        ]
        if rows:
            inside += [tag("h3", title), tag("table", *rows)]
    if "requestBody" in one:
        inside += _content("Body", one["requestBody"]["content"], schemas, sent=True)
    answers = dict(one["responses"])
    inside += _content("Answer", answers.pop("200")["content"], schemas, sent=False)
    refusals = (
        tag("tr", tag("td", status), tag("td", prose(said["description"])))
        for status, said in answers.items()
    )
    shape = tag("a", "one shape", href=f"#{_anchor('RefusedAnswer')}")
    inside += [
        tag("h3", "Refusals, of ", shape),
        tag("table", *refusals, class_="refusals"),
    ]
    return _folded(one["operationId"], summary, inside)


def _content(title: str, content: dict[str, Any], schemas: Schema, *, sent: bool) -> Iterator[Html]:
    for media, said in content.items():
        yield tag("h3", f"{title}, {media}")
        yield _shape(said["schema"], schemas, sent=sent)


def _objects(schemas: Schema, sent: set[str]) -> Html:
    """What the tables lead to."""
    named = {"RefusedAnswer", *(name for schema in schemas.values() for name in _referred(schema))}
    folded = (
        _folded(_anchor(name), (tag("code", name),), [_shape(schemas[name], schemas, sent=name in sent)])
        for name in sorted(named & schemas.keys())
    )
    return tag("section", tag("h2", "Objects"), tag("p", "What bodies and answers are made of."), *folded)


def _shape(schema: Schema, schemas: Schema, *, sent: bool) -> Html:
    """A schema as the table of its fields, or as what it is if it has none. `sent`: by the one who asks."""
    if "$ref" in schema:
        return _shape(schemas[schema["$ref"].removeprefix(SCHEMAS)], schemas, sent=sent)
    said = [tag("p", prose(schema["description"]))] if "description" in schema else []
    fields = schema.get("properties")
    if fields is None:
        return joined(*said, tag("p", _type(schema), *_limits(schema)))
    needed = schema.get("required", ())
    rows = []
    for name, field in fields.items():
        mark = "" if (name in needed) != sent else "required" if sent else "not always"
        rows.append(_row(name, field, field.get("description"), mark))
    return joined(*said, tag("table", *rows))


def _row(name: str, schema: Schema, description: str | None, mark: str) -> Html:
    marks = [Html(" "), tag("small", mark)] if mark else []
    said = [] if description is None else [prose(description)]
    return tag(
        "tr",
        tag("td", tag("code", name), *marks),
        tag("td", _type(schema)),
        tag("td", *said, *_limits(schema)),
    )


def _type(schema: Schema) -> Html:
    """What a value is, in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(SCHEMAS)
        return tag("a", name, href=f"#{_anchor(name)}")
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return joined(*map(_type, schema[choice]), by=" and " if choice == "allOf" else " or ")
    values = schema["enum"] if "enum" in schema else [schema["const"]] if "const" in schema else []
    if values:
        return joined(*(tag("code", _json(value)) for value in values), by=" or ")
    if "items" in schema:
        return joined("list of ", _type(schema["items"]))
    if isinstance(schema.get("additionalProperties"), dict):
        return joined("object of ", _type(schema["additionalProperties"]))
    kind = schema.get("type", "anything")
    return joined(kind, *([" ", tag("code", schema["format"])] if "format" in schema else []))


def _limits(schema: Schema) -> Iterator[Html]:
    """Bounds, default and example of a value, of whichever of its types states them."""
    stated: dict[str, str] = {}
    for one in (schema, *schema.get("anyOf", ())):
        for name, words in LIMITS.items():
            value = one.get(name)
            if value is not None and value not in INT64 and value not in ([], {}, ""):
                stated.setdefault(name, words.format(f"`{_json(value)}`"))
        if one.get("examples"):
            shown = ", ".join(f"`{_json(value)}`" for value in one["examples"])
            stated.setdefault("examples", f"for example {shown}")
    if stated:
        yield tag("span", prose("; ".join(stated.values())), class_="limit")


def _sent(operations: list[dict[str, Any]], schemas: Schema) -> set[str]:
    """The names of the schemas that bodies of requests are made of."""
    found: set[str] = set()
    left = [name for one in operations for name in _referred(one.get("requestBody"))]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += _referred(schemas[name])
    return found


def _referred(schema: Any) -> Iterator[str]:
    """The names of the schemas that are named in one."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].removeprefix(SCHEMAS)
        for value in schema.values():
            yield from _referred(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _referred(value)


def _folded(anchor: str, summary: tuple[Html, ...], inside: list[Html]) -> Html:
    # The anchor is inside: a browser opens what it leads into, not what it is.
    return tag("details", tag("summary", *summary), tag("div", *inside, id=anchor, class_="inside"))


def _method(one: dict[str, Any]) -> Html:
    return tag("span", one["method"].upper(), class_=f"method {one['method']}")


def _anchor(schema_name: str) -> str:
    return f"object-{schema_name}"


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
