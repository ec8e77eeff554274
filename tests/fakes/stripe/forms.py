"""Form bodies and queries as Stripe reads them: `a[b][c]=v`, `a[0]=v`, `a[]=v`, held against a table of parameters.

A parameter that no table names is refused (`parameter_unknown`), as Stripe does. One that Stripe knows but this fake
does not act upon is refused too (`Unserved`): a test must not pass because something was silently left out.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from tests.fakes.stripe.errors import StripeRefusal

NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
PART = re.compile(r"\[([^\[\]]*)\]")
DIGITS = re.compile(r"-?\d{1,18}")
METADATA_KEYS_MAX = 50
METADATA_KEY_CHARS_MAX = 40
METADATA_VALUE_CHARS_MAX = 500
TEXT_CHARS_MAX = 5000


def decoded(raw: str) -> dict[str, Any]:
    """Nested dicts of strings; a list is a dict with numbers for keys, which only its rule can tell from a hash."""
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(raw, keep_blank_values=True, errors="strict"):
        match = NAME.fullmatch(name)
        if match is None:
            raise StripeRefusal(f"Invalid parameter name: {name}", param=name)
        path = [match[1], *PART.findall(match[2])]
        node = tree
        for part, following in itertools.pairwise(path):
            key = part or str(len(node))
            node = node.setdefault(key, {})
            if not isinstance(node, dict) or (following == "" and any(not key.isdecimal() for key in node)):
                raise StripeRefusal(f"Invalid parameter: {name}", param=name)
        last = path[-1] or str(len(node))
        if last in node:
            raise StripeRefusal(f"Parameter given twice: {name}", param=name)
        node[last] = value
    return tree


def with_lists(node: Any) -> Any:
    """What looks like a list as one: for people to read."""
    if not isinstance(node, dict):
        return node
    values = {key: with_lists(value) for key, value in node.items()}
    if values and all(key.isdecimal() for key in values):
        return [values[key] for key in sorted(values, key=int)]
    return values


class Rule:
    """What one parameter may hold; `read` answers its value in Python."""

    def read(self, value: Any, name: str) -> Any:
        return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise StripeRefusal(f"Invalid string: {name}", code="parameter_invalid_string", param=name)
    return value


@dataclass(frozen=True)
class Text(Rule):
    chars_max: int = TEXT_CHARS_MAX

    def read(self, value: Any, name: str) -> str:
        if _text(value, name) == "":
            message = (
                f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset it."
            )
            raise StripeRefusal(message, code="parameter_invalid_empty", param=name)
        if len(value) > self.chars_max:
            message = f"Invalid string: {value[:8]}…; must be at most {self.chars_max} characters"
            raise StripeRefusal(message, code="parameter_invalid_string_too_long", param=name)
        return str(value)


@dataclass(frozen=True)
class Email(Text):
    def read(self, value: Any, name: str) -> str:
        text = super().read(value, name)
        if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", text):
            raise StripeRefusal(f"Invalid email address: {text}", code="email_invalid", param=name)
        return text


@dataclass(frozen=True)
class Url(Text):
    def read(self, value: Any, name: str) -> str:
        text = super().read(value, name)
        if not re.match(r"[a-z][a-z0-9+.-]*://.", text):
            raise StripeRefusal("Not a valid URL", code="url_invalid", param=name)
        return text


@dataclass(frozen=True)
class Whole(Rule):
    least: int = 0
    most: int = 10**12

    def read(self, value: Any, name: str) -> int:
        if not DIGITS.fullmatch(_text(value, name)):
            raise StripeRefusal(f"Invalid integer: {value}", code="parameter_invalid_integer", param=name)
        number = int(value)
        if not self.least <= number <= self.most:
            bound = (
                f"greater than or equal to {self.least}" if number < self.least else f"at most {self.most}"
            )
            message = f"This value must be {bound}."
            raise StripeRefusal(message, code="parameter_invalid_integer", param=name)
        return number


@dataclass(frozen=True)
class Flag(Rule):
    def read(self, value: Any, name: str) -> bool:
        if value not in ("true", "false"):
            raise StripeRefusal(f"Invalid boolean: {value}", param=name)
        return bool(value == "true")


@dataclass(frozen=True)
class Choice(Rule):
    allowed: tuple[str, ...]

    def read(self, value: Any, name: str) -> str:
        if value not in self.allowed:
            raise StripeRefusal(f"Invalid {name}: must be one of {', '.join(self.allowed)}", param=name)
        return str(value)


@dataclass(frozen=True)
class Many(Rule):
    of: Rule
    most: int = 100

    def read(self, value: Any, name: str) -> list[Any]:
        if not isinstance(value, dict) or not all(key.isdecimal() for key in value):
            raise StripeRefusal("Invalid array", code="parameter_invalid_array", param=name)
        if len(value) > self.most:
            raise StripeRefusal(f"At most {self.most} values", param=name)
        items = [value[key] for key in sorted(value, key=int)]
        return [self.of.read(item, f"{name}[{number}]") for number, item in enumerate(items)]


@dataclass(frozen=True)
class Metadata(Rule):
    def read(self, value: Any, name: str) -> dict[str, str]:
        if value == "":
            return {}
        if not isinstance(value, dict):
            raise StripeRefusal("Invalid hash", param=name)
        if len(value) > METADATA_KEYS_MAX:
            message = f"Metadata can have at most {METADATA_KEYS_MAX} keys; you passed {len(value)}."
            raise StripeRefusal(message, param=name)
        for key, text in value.items():
            if len(key) > METADATA_KEY_CHARS_MAX:
                limit = f"Metadata keys can be at most {METADATA_KEY_CHARS_MAX} characters: {key}"
                raise StripeRefusal(limit, param=name)
            if len(_text(text, f"{name}[{key}]")) > METADATA_VALUE_CHARS_MAX:
                limit = f"Metadata values can be at most {METADATA_VALUE_CHARS_MAX} characters: {key}"
                raise StripeRefusal(limit, param=f"{name}[{key}]")
        return {key: text for key, text in value.items() if text != ""}


@dataclass(frozen=True)
class Shape(Rule):
    """A hash with named fields."""

    fields: Mapping[str, Rule]
    required: Sequence[str] = ()

    def read(self, value: Any, name: str = "") -> dict[str, Any]:
        if not isinstance(value, dict):
            raise StripeRefusal("Invalid hash", param=name)
        inside = "{}" if name == "" else name + "[{}]"
        read: dict[str, Any] = {}
        for key, item in value.items():
            rule = self.fields.get(key)
            if rule is None:
                path = inside.format(key)
                raise StripeRefusal(
                    f"Received unknown parameter: {path}", code="parameter_unknown", param=path
                )
            read[key] = rule.read(item, inside.format(key))
        for key in self.required:
            if key not in read:
                path = inside.format(key)
                raise StripeRefusal(f"Missing required param: {path}.", code="parameter_missing", param=path)
        return read


@dataclass(frozen=True)
class Either(Rule):
    """A plain value or a hash, as `created` is."""

    plain: Rule
    hash: Shape

    def read(self, value: Any, name: str) -> Any:
        return (self.hash if isinstance(value, dict) else self.plain).read(value, name)


@dataclass(frozen=True)
class Unserved(Rule):
    """Stripe knows this parameter; the fake would not do what it says."""

    def read(self, value: Any, name: str) -> Any:
        message = f"The fake Stripe does not act upon {name}: teach it before you use it."
        raise StripeRefusal(message, code="fake_unserved", param=name)


@dataclass(frozen=True)
class Gone(Rule):
    code: str
    message: str

    def read(self, value: Any, name: str) -> Any:
        raise StripeRefusal(self.message, code=self.code, param=name)


@dataclass(frozen=True)
class CardData(Rule):
    """Card details from a server: never. From a browser: the number, which only picks an outcome."""

    from_browser: bool = False
    fields: tuple[str, ...] = field(default=("number", "exp_month", "exp_year", "cvc", "token"))

    def read(self, value: Any, name: str) -> Any:
        if not self.from_browser:
            message = (
                "Sending credit card numbers directly to the Stripe API is generally unsafe. We suggest you use test "
                "tokens that map to the test card you are using."
            )
            raise StripeRefusal(message, status=402, param=name)
        return Shape({key: Text() for key in self.fields}, ("number",)).read(value, name)
