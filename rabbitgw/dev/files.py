"""Files of the data directory: written whole or not at all, and one run at a time.

Owns atomic writes, kept secrets, `dev.env` and the lock. Knows nothing of the servers.
The lock is the kernel's (flock), so it ends with the process however that ends; the file itself stays.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from rabbitgw.errors import SettingInvalid

DEV_ENV = "dev.env"


def make_data_dir(data_dir: Path) -> Path:
    """The data directory as an absolute path, made if missing.

    Others may pass through it but not list it: as root, PostgreSQL runs as another user and has its cluster
    inside. Every file and folder in it is closed to others by itself.
    """
    data_dir = Path(os.path.abspath(data_dir))
    if not data_dir.is_dir():
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingInvalid(f"RABBITGW_DATA_DIR: {data_dir} cannot be made: {error.strerror}") from error
        data_dir.chmod(0o711)
    return data_dir


@contextmanager
def throw_away_dir(parent: Path | None = None) -> Iterator[Path]:
    """A temporary data directory, gone after the block; below `parent` or where the machine keeps such.

    `tempfile`'s own folders are closed to others, so that root's PostgreSQL could not live in them.
    """
    with tempfile.TemporaryDirectory(prefix="rabbitgw-", dir=parent, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


def write_whole(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace `path` by `text` in one step; a reader sees the old file or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def kept_secret(path: Path) -> str:
    """The secret in `path`; made, and written with mode 0600, when there is none yet."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        secret = secrets.token_urlsafe(24)
        write_whole(path, secret + "\n")
        return secret


def write_dev_env(data_dir: Path, values: Mapping[str, str]) -> Path:
    """Write `<data dir>/dev.env`, which a shell can source; mode 0600. Plain values stand without quotes."""
    path = data_dir / DEV_ENV
    write_whole(path, "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))
    return path


def read_dev_env(data_dir: Path) -> dict[str, str]:
    """What `write_dev_env` wrote, or nothing."""
    try:
        lines = (data_dir / DEV_ENV).read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: "".join(shlex.split(value)) for name, _, value in pairs}


class FolderLock:
    """Held while one run uses a folder; a second run gets one clear line.

    with FolderLock(data_dir, "dev"): …
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._path = folder / f"{name}.lock"
        self._handle: int | None = None

    def acquire(self) -> None:
        """Raises: SettingInvalid, which names the holder's pid."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
            os.close(handle)
            raise SettingInvalid(
                f"RABBITGW_DATA_DIR: {self._folder} is in use by another rabbitgw (pid {holder}); "
                "stop it, or name another directory"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._handle = handle

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> FolderLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
