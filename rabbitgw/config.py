"""Settings: read once at start from the environment and `.env`, frozen, each with name, unit and default.

An empty key or secret means off. A wrong value raises SettingInvalid with one line that names the variable.
The table of settings in README.md is generated from this class and tested.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from rabbitgw.addresses import networks_listed
from rabbitgw.errors import SettingInvalid

MIB = 1024 * 1024
_STRIPE_SECRET = re.compile(r"[sr]k_(test|live)_[!-~]{4,250}")
_STRIPE_PUBLISHABLE = re.compile(r"pk_(test|live)_[!-~]{4,250}")
_WEBHOOK_SECRET = re.compile(r"whsec_[!-~]{4,250}")


def setting(default: Any, *names: str, help: str, **bounds: Any) -> Any:
    """A field bound to its environment names (the first is the documented one; the others are aliases)."""
    return Field(default=default, validation_alias=AliasChoices(*names), description=help, **bounds)


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=False
    )

    host: str = setting("127.0.0.1", "RABBITGW_HOST", help="address to listen on")
    port: int = setting(8080, "RABBITGW_PORT", help="port to listen on; 0 takes a free one", ge=0, le=65535)
    workers: int = setting(
        1, "RABBITGW_WORKERS", help="processes of `serve` that share the port", ge=1, le=256
    )
    metrics_port: int = setting(
        0, "RABBITGW_METRICS_PORT", help="port of /metrics without a credential; 0: none", ge=0, le=65535
    )
    metrics_host: str = setting(
        "127.0.0.1", "RABBITGW_METRICS_HOST", help="address that the metrics port listens on"
    )
    data_dir: Path = setting(
        Path(".rabbitgw"), "RABBITGW_DATA_DIR", help="folder of embedded servers, spool and dev.env"
    )
    admin_key: SecretStr = setting(
        SecretStr(""),
        "RABBITGW_ADMIN_KEY",
        help="credential of /v1/admin and /metrics; empty: these routes are off",
    )
    trusted_proxies: str = setting(
        "",
        "RABBITGW_TRUSTED_PROXIES",
        help="networks (CIDR, with commas) whose X-Forwarded-For is believed, for lists of addresses of keys",
    )
    log_level: str = setting("INFO", "LOG_LEVEL", help="DEBUG, INFO, WARNING or ERROR")

    database_url: SecretStr = setting(
        SecretStr(""), "DATABASE_URL", help="PostgreSQL DSN; empty: `dev` starts an embedded one"
    )
    postgres_password: SecretStr = setting(
        SecretStr(""), "POSTGRES_PASSWORD", help="password for a DATABASE_URL that has none"
    )
    postgres_pool_max: int = setting(
        8, "RABBITGW_POSTGRES_POOL_MAX", help="connections per process", ge=2, le=200
    )
    redis_url: SecretStr = setting(
        SecretStr(""), "REDIS_URL", help="Redis or Valkey URL; empty: `dev` starts an embedded one"
    )
    redis_timeout_s: float = setting(
        1.0, "RABBITGW_REDIS_TIMEOUT_S", help="seconds to wait for one reply of Redis", gt=0, le=60
    )

    litellm_base_url: str = setting(
        "",
        "LITELLM_BASE_URL",
        "LITELLM_API_URL",
        help="upstream: LiteLLM proxy or any OpenAI-compatible base URL, without /v1",
    )
    litellm_master_key: SecretStr = setting(
        SecretStr(""), "LITELLM_MASTER_KEY", help="bearer token for the upstream"
    )
    upstream_connect_timeout_s: float = setting(
        5.0, "RABBITGW_UPSTREAM_CONNECT_TIMEOUT_S", help="seconds to connect to the upstream", gt=0, le=120
    )
    upstream_first_byte_timeout_s: float = setting(
        600.0, "RABBITGW_UPSTREAM_FIRST_BYTE_TIMEOUT_S", help="seconds to the first byte", gt=0, le=3600
    )
    upstream_silence_timeout_s: float = setting(
        300.0, "RABBITGW_UPSTREAM_SILENCE_TIMEOUT_S", help="seconds of silence mid-answer", gt=0, le=3600
    )

    dev_api_key: SecretStr = setting(
        SecretStr(""),
        "DEV_API_KEY",
        help="credential of the payment routes and the demo page while developing; refused beside a live Stripe key",
    )
    stripe_secret_key: SecretStr = setting(
        SecretStr(""), "STRIPE_SECRET_KEY", help="sk_test_… or sk_live_… (or rk_…); empty: Stripe is off"
    )
    stripe_publishable_key: str = setting(
        "", "STRIPE_PUBLISHABLE_KEY", help="pk_test_… or pk_live_…, for pages that mount the Payment Element"
    )
    stripe_webhook_secret: SecretStr = setting(
        SecretStr(""),
        "STRIPE_WEBHOOK_SECRET",
        help="whsec_…; several with commas while one is rolled; empty: webhooks are answered 503",
    )
    stripe_api_base: str = setting(
        "https://api.stripe.com", "STRIPE_API_BASE", help="where Stripe's API is; another for test servers"
    )
    payment_timeout_s: float = setting(
        20.0,
        "RABBITGW_PAYMENT_TIMEOUT_S",
        help="seconds to wait for one answer of a payment provider",
        gt=0,
        le=80,
    )
    webhook_tolerance_s: int = setting(
        300,
        "RABBITGW_WEBHOOK_TOLERANCE_S",
        help="how old a webhook's signature may be, seconds",
        ge=10,
        le=3600,
    )
    bank_details: str = setting(
        "",
        "RABBITGW_BANK_DETAILS",
        help="what a customer who pays by bank transfer is told: name, IBAN, bank; empty: no transfers",
    )
    refund_unspent_only: bool = setting(
        True, "RABBITGW_REFUND_UNSPENT_ONLY", help="refund no more than the wallet has left"
    )

    body_bytes_max: int = setting(
        32 * MIB, "RABBITGW_BODY_BYTES_MAX", help="largest request body, bytes", ge=1024, le=1024 * MIB
    )
    slice_output_tokens: int = setting(
        256, "RABBITGW_SLICE_OUTPUT_TOKENS", help="output tokens a stream holds ahead", ge=16, le=65536
    )
    output_tokens_default_max: int = setting(
        8192,
        "RABBITGW_OUTPUT_TOKENS_DEFAULT_MAX",
        help="output limit of a call that is not streamed and states none, where the model's own is unknown",
        ge=1,
        le=1_000_000,
    )
    input_tokens_per_kilobyte: int = setting(
        500,
        "RABBITGW_INPUT_TOKENS_PER_KILOBYTE",
        help="input tokens held per 1000 bytes of body",
        ge=100,
        le=2000,
    )
    audio_bytes_per_s: int = setting(
        750,
        "RABBITGW_AUDIO_BYTES_PER_S",
        help="bytes that a second of sound has at least, where a file does not say how long it is",
        ge=50,
        le=1_000_000,
    )
    hidden_tokens_per_s: int = setting(
        100,
        "RABBITGW_HIDDEN_TOKENS_PER_S",
        help="reasoning tokens held per second in which a reasoning model shows nothing",
        ge=0,
        le=10_000,
    )
    client_gone: str = setting(
        "cancel", "RABBITGW_CLIENT_GONE", help="a caller left mid-stream: cancel upstream, or drain it"
    )
    client_stall_timeout_s: float = setting(
        60.0,
        "RABBITGW_CLIENT_STALL_TIMEOUT_S",
        help="a client that takes nothing, or sends nothing of its body, this long has left",
        gt=0,
    )
    balance_status: int = setting(
        429, "RABBITGW_BALANCE_STATUS", help="HTTP status of an empty wallet on OpenAI routes: 429 or 402"
    )
    overdraft_gating: str = setting(
        "off",
        "OVERDRAFT_GATING",
        help="what an allowance serves an account below zero, until it is paid up or the day ends: all (off), nothing "
        "(block), or lesser models (degrade)",
    )

    hold_max_age_s: int = setting(
        7200, "RABBITGW_HOLD_MAX_AGE_S", help="a hold older than this is expired", ge=60, le=86_400
    )
    lease_s: float = setting(
        15.0,
        "RABBITGW_LEASE_S",
        help="a process silent this long loses its holds, and its streams to the next consumer",
        ge=1,
        le=600,
    )
    events_backlog_max: int = setting(
        1_000_000,
        "RABBITGW_EVENTS_BACKLOG_MAX",
        help="usage events a partition may have unbooked before new calls are refused",
        ge=100,
    )
    settle_wait_s: float = setting(
        2.0, "RABBITGW_SETTLE_WAIT_S", help="wait for a settle before it goes to the disk spool", gt=0, le=60
    )
    hold_wait_s: float = setting(
        5.0,
        "RABBITGW_HOLD_WAIT_S",
        help="wait for money that other calls of the account hold, while none of them ends or grows",
        ge=0,
        le=60,
    )
    drain_timeout_s: float = setting(
        30.0, "RABBITGW_DRAIN_TIMEOUT_S", help="seconds that SIGTERM gives running answers", ge=0, le=3600
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        return ",".join(networks_listed(value))

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
        return value.upper()

    @field_validator("client_gone")
    @classmethod
    def _known_policy(cls, value: str) -> str:
        if value not in {"cancel", "drain"}:
            raise ValueError("must be cancel or drain")
        return value

    @field_validator("overdraft_gating")
    @classmethod
    def _known_gating(cls, value: str) -> str:
        if value not in {"off", "block", "degrade"}:
            raise ValueError("must be off, block or degrade")
        return value

    @field_validator("balance_status")
    @classmethod
    def _known_status(cls, value: int) -> int:
        if value not in {402, 429}:
            raise ValueError("must be 429 or 402")
        return value

    @field_validator("litellm_base_url")
    @classmethod
    def _one_url(cls, value: str) -> str:
        if "," in value:
            raise ValueError("more than one upstream is not supported yet")
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/").removesuffix("/v1")

    @field_validator("stripe_secret_key")
    @classmethod
    def _stripe_secret(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not _STRIPE_SECRET.fullmatch(value.get_secret_value()):
            raise ValueError("must begin with sk_test_, sk_live_, rk_test_ or rk_live_")
        return value

    @field_validator("stripe_publishable_key")
    @classmethod
    def _stripe_publishable(cls, value: str) -> str:
        if value and not _STRIPE_PUBLISHABLE.fullmatch(value):
            raise ValueError("must begin with pk_test_ or pk_live_")
        return value

    @field_validator("stripe_webhook_secret")
    @classmethod
    def _webhook_secrets(cls, value: SecretStr) -> SecretStr:
        secrets = [secret.strip() for secret in value.get_secret_value().split(",") if secret.strip()]
        if any(not _WEBHOOK_SECRET.fullmatch(secret) for secret in secrets):
            raise ValueError("must be one or several, with commas, that begin with whsec_")
        return SecretStr(",".join(secrets))

    @field_validator("stripe_api_base")
    @classmethod
    def _stripe_base(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

    @property
    def stripe_live(self) -> bool:
        return self.stripe_secret_key.get_secret_value()[3:7] == "live"

    def check_together(self) -> None:
        """Settings that do not go together. Raises: SettingInvalid, one line that names the variable."""
        secret, public = self.stripe_secret_key.get_secret_value(), self.stripe_publishable_key
        if secret and public and secret[3:7] != public[3:7]:
            raise SettingInvalid(
                f"STRIPE_PUBLISHABLE_KEY: is for the {public[3:7]} mode, STRIPE_SECRET_KEY for the {secret[3:7]} mode"
            )
        if self.stripe_live and self.dev_api_key.get_secret_value():
            raise SettingInvalid("DEV_API_KEY: not beside a live STRIPE_SECRET_KEY; it is for developing")

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """Read the environment. `overrides` replace settings by attribute name (used by `dev` and the tests).

        Raises: SettingInvalid, one line that names the variable.
        """
        try:
            settings = cls()
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = documented_name(str(first["loc"][0]))
            raise SettingInvalid(f"{name}: {first['msg']}") from None
        settings = settings.model_copy(update=overrides) if overrides else settings
        settings.check_together()
        return settings


def required(settings: Settings, field: str) -> str:
    """A setting that this command cannot do without.

    Raises: SettingInvalid naming the variable.
    """
    value = getattr(settings, field)
    text = value if isinstance(value, str) else value.get_secret_value()
    if not text:
        names = {
            "database_url": "DATABASE_URL",
            "redis_url": "REDIS_URL",
            "litellm_base_url": "LITELLM_BASE_URL",
        }
        raise SettingInvalid(f"{names[field]}: not set; `rabbitgw dev` runs without it")
    return str(text)


def database_url(settings: Settings) -> str:
    """DATABASE_URL, with POSTGRES_PASSWORD filled in where it has a user and no password."""
    url = required(settings, "database_url")
    password = settings.postgres_password.get_secret_value()
    parts = urlsplit(url)
    if not password or parts.password or not parts.username:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))


def documented_name(location: str) -> str:
    """The environment name of a field, from its attribute name or any alias."""
    for field_name, field in Settings.model_fields.items():
        choices = field.validation_alias
        assert isinstance(choices, AliasChoices)
        names = [str(choice) for choice in choices.choices]
        if location in (field_name, *names):
            return names[0]
    return location


def settings_table() -> list[tuple[str, str, str]]:
    """(environment name, default, help) of every setting, in order: what README.md shows."""
    rows = []
    for field in Settings.model_fields.values():
        choices = field.validation_alias
        assert isinstance(choices, AliasChoices)
        default = field.default
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        rows.append((str(choices.choices[0]), str(default), str(field.description)))
    return rows
