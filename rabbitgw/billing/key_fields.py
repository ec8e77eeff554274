"""The fields of a key as an operator gives them, checked; for a new key and for a change of one. Pure.

Each check returns what is to be stored, or raises RequestInvalid naming the field, its limit and the value at fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from rabbitgw.addresses import network_of
from rabbitgw.billing.key_record import ms_of
from rabbitgw.billing.model_patterns import checked_patterns
from rabbitgw.billing.scopes import SCOPES
from rabbitgw.clock import now_ms
from rabbitgw.errors import RequestInvalid

MODELS_MAX: Final = 1000
NETWORKS_MAX: Final = 100
LABELS_MAX: Final = 16  # of metadata, and of tags
METADATA_CHARS_MAX: Final = 512
TAG_CHARS_MAX: Final = 64
SHOWN_CHARS_MAX: Final = 100  # of a value that is refused


def checked_models(models: Sequence[str] | None) -> list[str] | None:
    return checked_patterns(models, "models", most=MODELS_MAX, none_means="allow all")


def checked_models_denied(models_denied: Sequence[str] | None) -> list[str] | None:
    return checked_patterns(models_denied, "models_denied", most=MODELS_MAX, none_means="deny none")


def checked_scopes(scopes: Sequence[str] | None) -> list[str] | None:
    if scopes is None:
        return None
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        said = (
            f"; {unknown[0][:SHOWN_CHARS_MAX]!r} is none" if unknown else "; leave it out for all but admin"
        )
        raise RequestInvalid(f"scopes: of {', '.join(SCOPES)}{said}", field="scopes")
    return list(dict.fromkeys(scopes))


def checked_networks(networks: Sequence[str] | None) -> list[str] | None:
    if networks is None:
        return None
    if not 1 <= len(networks) <= NETWORKS_MAX:
        raise RequestInvalid(
            f"ip_allowlist: 1 to {NETWORKS_MAX} networks; leave it out to allow all", field="ip_allowlist"
        )
    checked = []
    for text in networks:
        try:
            checked.append(str(network_of(text)))
        except ValueError as error:
            shown = repr(text[:SHOWN_CHARS_MAX])
            reason = f": {error}" if len(text) <= SHOWN_CHARS_MAX else ""
            raise RequestInvalid(
                f"ip_allowlist: {shown} is no network like 203.0.113.0/24 or 2001:db8::/32{reason}",
                field="ip_allowlist",
            ) from None
    return list(dict.fromkeys(checked))


def checked_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    metadata = metadata or {}
    if len(metadata) > LABELS_MAX:
        raise RequestInvalid(f"metadata: at most {LABELS_MAX} entries", field="metadata")
    for name, value in metadata.items():
        for text, least in ((name, 1), (value, 0)):
            if not least <= len(text) <= METADATA_CHARS_MAX or not text.isprintable():
                raise RequestInvalid(
                    f"metadata: {name[:SHOWN_CHARS_MAX]!r}: names and values are printable text of at most "
                    f"{METADATA_CHARS_MAX} characters",
                    field="metadata",
                )
    return dict(metadata)


def checked_tags(tags: Sequence[str] | None) -> list[str]:
    tags = tags or ()
    if len(tags) > LABELS_MAX:
        raise RequestInvalid(f"tags: at most {LABELS_MAX}", field="tags")
    for tag in tags:
        if not 1 <= len(tag) <= TAG_CHARS_MAX or not tag.isprintable():
            raise RequestInvalid(
                f"tags: {tag[:SHOWN_CHARS_MAX]!r}: a tag has 1 to {TAG_CHARS_MAX} printable characters",
                field="tags",
            )
    return list(dict.fromkeys(tags))


def checked_expiry(expires_at: datetime | None) -> datetime | None:
    if expires_at is None:
        return None
    if expires_at.tzinfo is None:
        raise RequestInvalid("expires_at: give the time zone, like 2027-01-31T00:00:00Z", field="expires_at")
    expires_ms = ms_of(expires_at)
    if expires_ms is not None and expires_ms <= now_ms():
        raise RequestInvalid("expires_at: lies in the past", field="expires_at")
    return expires_at
