"""Where a PostgreSQL cluster lives and whose it is.

PostgreSQL refuses to run as root, and its own user must be able to enter every folder above the cluster. So
with a data directory under a private home, root's cluster lives under the system's state directory instead,
in a folder named by a hash of the data directory; `<data dir>/postgres` is then a link to it. No folder that
was there before is ever opened up.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rabbitgw.dev.child import Owner
from rabbitgw.errors import SettingInvalid

STATE_ROOTS = (Path("/var/lib/rabbitgw"), Path("/var/tmp/rabbitgw"))  # noqa: S108  the second only if root owns it
USER_NAMES = ("postgres", "nobody")  # nobody: always there, where PostgreSQL is not installed
CLUSTER = "postgres"
ORIGIN = "data_dir"  # beside a cluster outside its data directory: which data directory it belongs to


@dataclass(frozen=True, slots=True)
class Home:
    """`cluster` may not exist yet; `owner` is None when we run servers as ourselves."""

    cluster: Path
    owner: Owner | None

    @property
    def initialised(self) -> bool:
        return (self.cluster / "PG_VERSION").is_file()

    def major(self) -> int | None:
        """Major version of the existing cluster."""
        return int((self.cluster / "PG_VERSION").read_text()) if self.initialised else None


def find_home(data_dir: Path) -> Home:
    """The home of this data directory's cluster, prepared if it is new.

    Raises: SettingInvalid when there is none that the unprivileged user could enter.
    """
    link = data_dir / CLUSTER
    if os.geteuid() != 0:
        return Home(link.resolve(), None)
    if link.is_symlink():
        cluster = link.readlink()
        _claim(cluster, data_dir)
    elif link.exists() or can_enter(_server_user(), data_dir):
        cluster = link
    else:
        cluster = _outside(data_dir)
        link.symlink_to(cluster)
    home = Home(cluster, _owner_of(cluster) if cluster.exists() else _server_user())
    if home.owner is not None and not can_enter(home.owner, cluster.parent):
        raise SettingInvalid(
            f"RABBITGW_DATA_DIR: PostgreSQL runs as user {home.owner.name}, who cannot enter"
            f" {cluster.parent}; move the data directory, or set DATABASE_URL"
        )
    return home


def can_enter(owner: Owner, folder: Path) -> bool:
    """Whether this user may pass through a folder and all folders above it (by mode bits)."""
    folder = folder.resolve()
    for step in (folder, *folder.parents):
        status = step.stat()
        if status.st_uid == owner.uid:
            bit = stat.S_IXUSR
        elif status.st_gid == owner.gid:
            bit = stat.S_IXGRP
        else:
            bit = stat.S_IXOTH
        if not status.st_mode & bit:
            return False
    return True


def state_root() -> Path:
    """A folder of ours outside every home, which root owns and all may pass through.

    Raises: SettingInvalid.
    """
    for root in STATE_ROOTS:
        try:
            root.mkdir(mode=0o755, exist_ok=True)
            status = root.lstat()
        except OSError:
            continue
        # Anyone may make a folder in /var/tmp: one that is not root's own could be swapped under us.
        if stat.S_ISDIR(status.st_mode) and status.st_uid == 0 and not status.st_mode & stat.S_IWOTH:
            root.chmod(0o755)
            return root
    raise SettingInvalid(
        f"RABBITGW_DATA_DIR: the database can live in none of {', '.join(map(str, STATE_ROOTS))};"
        " set DATABASE_URL"
    )


def _server_user() -> Owner:
    for name in USER_NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Owner(name, entry.pw_uid, entry.pw_gid)
    raise SettingInvalid(
        "DATABASE_URL: not set, and PostgreSQL cannot run as root; make a user named postgres, or set it"
    )


def _owner_of(cluster: Path) -> Owner:
    """The user who made the cluster; no other can run it."""
    status = cluster.stat()
    if status.st_uid == 0:
        raise SettingInvalid(
            f"RABBITGW_DATA_DIR: {cluster} belongs to root, and PostgreSQL cannot run as root"
        )
    try:
        name = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        raise SettingInvalid(
            f"RABBITGW_DATA_DIR: {cluster} belongs to user {status.st_uid}, who does not exist here"
        ) from None
    return Owner(name, status.st_uid, status.st_gid)


def _outside(data_dir: Path) -> Path:
    """A new folder for a cluster under the state root. A removed data directory's is never taken again."""
    root = state_root()
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    folder = Path(tempfile.mkdtemp(dir=root, prefix=f"{digest}-"))
    folder.chmod(0o711)
    (folder / ORIGIN).write_text(f"{data_dir}\n")
    return folder / CLUSTER


def _claim(cluster: Path, data_dir: Path) -> None:
    """Follow a moved data directory to its cluster; refuse a copied one, or two would share the books."""
    note = cluster.parent / ORIGIN
    if not note.is_file():
        raise SettingInvalid(f"RABBITGW_DATA_DIR: {data_dir / CLUSTER} links to {cluster}, which is gone")
    origin = Path(note.read_text().rstrip("\n"))
    if origin == data_dir:
        return
    other = origin / CLUSTER
    if other.is_symlink() and other.readlink() == cluster:
        raise SettingInvalid(
            f"RABBITGW_DATA_DIR: {data_dir} is a copy of {origin} and would share its database;"
            f" remove {data_dir} to start afresh"
        )
    note.write_text(f"{data_dir}\n")
