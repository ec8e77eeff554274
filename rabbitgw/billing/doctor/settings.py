"""Looks at the settings: what is missing, what is weak, and what was misspelt. Never shows a value that is secret."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from pydantic import AliasChoices, SecretStr

from rabbitgw.config import Settings
from rabbitgw.findings import Finding, Verdict, failed, ok, warning

PREFIX: Final = "rabbitgw_"  # what begins so can only be meant for us
OF_MAKE: Final = "rabbitgw_litellm_venv"  # the Makefile's
SECRET_CHARS_MIN: Final = 20
DIFFERENT_CHARS_MIN: Final = 8
COMMON_WORDS: Final = (
    "1234",
    "admin",
    "change",
    "default",
    "example",
    "password",
    "random",
    "secret",
    "test",
)
LONG: Final = 40  # a text this long may hold such a word by chance
MAKE_ONE: Final = "make one with `openssl rand -hex 32`"


def look_at_settings(
    settings: Settings, given: Collection[str], *, beside_dev: bool = False
) -> list[Finding]:
    """`given`: the names of all variables of the environment and of .env, in lower case. beside_dev: the stores are
    those of a running `rabbitgw dev`, which knows its upstream and its admin key by itself."""
    required = (
        (
            "DATABASE_URL",
            settings.database_url,
            "export DATABASE_URL=postgresql://user:password@host/database",
        ),
        ("REDIS_URL", settings.redis_url, "export REDIS_URL=redis://:password@host:6379/0"),
        ("LITELLM_BASE_URL", settings.litellm_base_url, "export LITELLM_BASE_URL=http://host:4000"),
    )
    if beside_dev:
        verdicts = [
            ("settings.dev", ok("the stores are those of a running `rabbitgw dev`; its upstream is its own"))
        ]
    else:
        verdicts = [
            *((f"settings.{name}", _required(value, mend)) for name, value, mend in required),
            ("settings.LITELLM_MASTER_KEY", _master_key(settings.litellm_master_key.get_secret_value())),
            ("settings.RABBITGW_ADMIN_KEY", _admin_key(settings.admin_key.get_secret_value())),
        ]
    verdicts += [
        ("settings.times", _times(settings)),
        ("settings.unknown", _unknown(given)),
    ]
    return [Finding(name, verdict.state, verdict.found, verdict.mend) for name, verdict in verdicts]


def _required(value: SecretStr | str, mend: str) -> Verdict:
    text = value if isinstance(value, str) else value.get_secret_value()
    return ok("set") if text else failed("not set", mend)


def _master_key(secret: str) -> Verdict:
    if not secret:
        return warning("not set: upstream is asked without a key", "set it to the proxy's master key")
    weak = weakness(secret)
    return warning(f"set, but weak: {weak}", f"{MAKE_ONE}, for the proxy and for us") if weak else ok("set")


def _admin_key(secret: str) -> Verdict:
    if not secret:
        return warning("not set: the admin routes are off", f"{MAKE_ONE} if they are wanted")
    weak = weakness(secret)
    return (
        warning(f"set, but weak: {weak}. Whoever guesses it can make money", MAKE_ONE) if weak else ok("set")
    )


def weakness(secret: str) -> str | None:
    """Why a secret could be guessed, or None. The reason does not tell the secret."""
    if len(secret) < SECRET_CHARS_MIN:
        return f"it has fewer than {SECRET_CHARS_MIN} characters"
    if len(set(secret)) < DIFFERENT_CHARS_MIN:
        return f"it has fewer than {DIFFERENT_CHARS_MIN} different characters"
    if len(secret) < LONG and any(word in secret.lower() for word in COMMON_WORDS):
        return "it holds a common word"
    return None


def _times(settings: Settings) -> Verdict:
    hold_s, first_byte_s = settings.hold_max_age_s, settings.upstream_first_byte_timeout_s
    if hold_s <= first_byte_s:
        return warning(
            f"a hold ends after {hold_s} s, and an answer may begin after {first_byte_s:g} s: its hold is gone then",
            "raise RABBITGW_HOLD_MAX_AGE_S above the longest answer",
        )
    return ok(f"a hold ends after {hold_s} s, above the {first_byte_s:g} s to the first byte")


def _unknown(given: Collection[str]) -> Verdict:
    known = {*_names(), OF_MAKE}
    unknown = sorted(name.upper() for name in given if name.startswith(PREFIX) and name not in known)
    if unknown:
        return warning(
            f"no setting is named {', '.join(unknown)}: it has no effect", "see the table in README.md"
        )
    return ok("every RABBITGW_ variable is a setting")


def _names() -> Iterator[str]:
    for field in Settings.model_fields.values():
        choices = field.validation_alias
        assert isinstance(choices, AliasChoices)
        yield from (str(choice).lower() for choice in choices.choices)
