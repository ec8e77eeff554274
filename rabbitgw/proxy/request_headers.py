"""What the headers of a request say: who asks, by which id, and what of them upstream may see.

Owns the allowlist towards upstream, and which headers are refused; knows no server. One pass over the raw headers: a
look-up in a multi-dict for each name costs more than all of this.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from python_multipart.multipart import parse_options_header

from rabbitgw.errors import AuthError, CallerError, RequestInvalid
from rabbitgw.proxy.bodies.form import BOUNDARY

CALLER_REQUEST_ID_MAX: Final = 128
RawHeaders = Iterable[tuple[bytes, bytes]]
# They choose the version of the answer's form, and are to reach the provider as they are.
FORWARDED: Final = frozenset({b"anthropic-version", b"anthropic-beta", b"openai-beta"})
_ONCE: Final = frozenset({b"content-type", b"x-request-id", b"anthropic-version"})
_ROUTING: Final = (
    b"x-litellm-"  # LiteLLM believes these before the body: who pays, which tags, which callbacks
)
_LOOKED_AT: Final = (
    FORWARDED | _ONCE | {b"authorization", b"x-api-key", b"content-encoding", b"x-forwarded-for"}
)


class Heard:
    """`fault`: what is wrong with them, to be told to whoever asks with a credential.

    content_type: without parameters, in lower case; empty when absent. content_type_line: with them.
    """

    __slots__ = (
        "content_type",
        "content_type_line",
        "fault",
        "forwarded",
        "forwarded_for",
        "keys",
        "request_id",
        "schemes",
    )

    def __init__(self, headers: RawHeaders) -> None:
        self.keys: list[bytes] = []
        self.schemes: list[bytes] = []  # values of Authorization
        self.request_id: str | None = None
        self.content_type = self.content_type_line = b""
        self.forwarded: list[tuple[bytes, bytes]] = []
        self.forwarded_for: list[str] = []  # values of X-Forwarded-For
        self.fault: CallerError | None = None
        seen: set[bytes] = set()
        for raw_name, value in headers:
            name = raw_name.lower()
            if name in _LOOKED_AT:
                if name in _ONCE:
                    if name in seen:
                        self._refuse(name, "given more than once")
                    seen.add(name)
                self._take(name, value)
            elif name.startswith(_ROUTING):
                self._refuse(name, "routing is the gateway's; leave this header out")

    def _take(self, name: bytes, value: bytes) -> None:
        if name == b"authorization":
            self.schemes.append(value)
        elif name == b"x-api-key":
            self.keys.append(value.strip())
        elif name == b"content-type":
            self.content_type_line = value
            self.content_type = value.partition(b";")[0].strip().lower()
        elif name == b"x-request-id":
            self.request_id = sane_request_id(value)
        elif name == b"x-forwarded-for":
            self.forwarded_for.append(value.decode("latin-1"))
        elif name == b"content-encoding":
            if value.strip().lower() not in (b"", b"identity"):  # what a body inflates to has no limit
                self._refuse(name, "send the body uncompressed")
        else:
            self.forwarded.append((name, value))

    def _refuse(self, name: bytes, what: str) -> None:
        shown = name.decode("latin-1")
        self.fault = self.fault or RequestInvalid(f"{shown}: {what}", field=shown)

    def credential(self) -> str:
        """The caller's key, from `Authorization: Bearer` or `x-api-key`.

        Raises: AuthError when there is none, RequestInvalid when there are two different ones.
        """
        found = set(self.keys)
        for value in self.schemes:
            scheme, _, token = value.partition(b" ")
            if scheme.lower() != b"bearer" or not token.strip():
                raise AuthError("the Authorization header must be: Bearer <key>")
            found.add(token.strip())
        found.discard(b"")
        if not found:
            raise AuthError("no key: send Authorization: Bearer <key> or x-api-key: <key>")
        if len(found) > 1:
            raise RequestInvalid(
                "authorization, x-api-key: two different credentials in one request; send one",
                field="authorization",
            )
        return found.pop().decode("utf-8", "surrogateescape")

    def check_json(self) -> None:
        """Raises: RequestInvalid for a body that is said to be something else than JSON."""
        kind = self.content_type
        if (
            kind
            and kind != b"application/json"
            and not (kind.startswith(b"application/") and kind.endswith(b"+json"))
        ):
            raise RequestInvalid("content-type: must be application/json", field="content-type")

    def form_boundary(self) -> bytes:
        """What parts a form. Raises: RequestInvalid for a body that is said to be something else, or one without it."""
        kind, options = parse_options_header(self.content_type_line)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not BOUNDARY.fullmatch(boundary):
            raise RequestInvalid(
                "content-type: must be multipart/form-data with a boundary of 1 to 70 characters",
                field="content-type",
            )
        return boundary


def sane_request_id(value: bytes) -> str | None:
    """The caller's own X-Request-ID where it is sane: 1 to 128 printable ASCII characters."""
    if not 0 < len(value) <= CALLER_REQUEST_ID_MAX or not value.isascii():
        return None
    text = value.decode("ascii")
    return text if text.isprintable() else None
