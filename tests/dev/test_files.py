from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rabbitgw.dev.files import (
    FolderLock,
    kept_secret,
    make_data_dir,
    read_dev_env,
    write_dev_env,
    write_whole,
)
from rabbitgw.errors import SettingInvalid


def test_dev_env_is_read_back_and_sourced_by_a_shell(tmp_path: Path) -> None:
    values = {"OPENAI_API_KEY": "rg-a$b 'c\"", "DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x?y=1&z=2"}
    path = write_dev_env(tmp_path, values)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_dev_env(tmp_path) == values
    script = f'. "{path}"; printf "%s|%s" "$OPENAI_API_KEY" "$DATABASE_URL"'
    shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert shell.stdout == "|".join(values.values())


def test_dev_env_that_is_missing_is_empty(tmp_path: Path) -> None:
    assert read_dev_env(tmp_path) == {}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dev.env"
    write_whole(path, "old")

    def fail(source: str, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["dev.env"]


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    secret = kept_secret(tmp_path / "password")
    assert kept_secret(tmp_path / "password") == secret
    assert len(secret) == 32


def test_a_held_folder_names_its_holder_and_is_free_afterwards(tmp_path: Path) -> None:
    with (
        FolderLock(tmp_path, "dev"),
        pytest.raises(SettingInvalid, match=rf"^RABBITGW_DATA_DIR: {tmp_path} is in use .* {os.getpid()}\)"),
    ):
        FolderLock(tmp_path, "dev").acquire()
    with FolderLock(tmp_path, "dev"):
        pass


def test_a_data_dir_below_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingInvalid, match=r"^RABBITGW_DATA_DIR: [^\n]*Not a directory$"):
        make_data_dir(tmp_path / "file" / "data")


def test_an_existing_data_dir_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert make_data_dir(tmp_path) == tmp_path
    assert tmp_path.stat().st_mode & 0o777 == 0o700
