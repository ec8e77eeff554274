"""The form of a secret."""

from __future__ import annotations

import hashlib

import pytest

from rabbitgw.billing.key_secret import checksum, new_secret, secret_sha256, visible_prefix, well_formed

KNOWN = "rk-0123456789ABCDEFGHIJKLMNOPQRSTUV"


def test_new_secrets_are_well_formed_and_differ() -> None:
    secrets = {new_secret() for _ in range(1000)}
    assert len(secrets) == 1000
    assert all(well_formed(secret) and len(secret) == 41 for secret in secrets)


def test_checksum_is_crc32_in_base62() -> None:
    # crc32 of "123456789" is 0xCBF43926 = 3421780262, the known check value.
    assert checksum("123456789") == "3jZRME"
    value = 0
    for char in "3jZRME":
        value = value * 62 + "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".index(char)
    assert value == 3421780262


@pytest.mark.parametrize("position", [0, 2, 3, 20, 34, 35, 40])
def test_one_wrong_character_is_seen(position: int) -> None:
    secret = new_secret()
    other = "x" if secret[position] != "x" else "y"
    assert not well_formed(secret[:position] + other + secret[position + 1 :])


@pytest.mark.parametrize("text", ["", "rk-", "sk-abc", "rk-" + "é" * 38, "rk-" + "a" * 38 + "\n", "\udc80"])
def test_what_is_no_key_is_not_well_formed(text: str) -> None:
    assert not well_formed(text)
    secret_sha256(text)  # and any text can be hashed


def test_prefix_shows_ten_characters_and_the_hash_is_of_the_whole() -> None:
    assert visible_prefix(KNOWN) == "rk-0123456"
    assert secret_sha256(KNOWN) == hashlib.sha256(KNOWN.encode()).digest()
