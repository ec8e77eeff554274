"""Looks at the data directory: can a charge be kept there when Redis is away, and does one wait there unnoticed?"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Final

from rabbitgw.billing.spool import SUFFIX, read_records
from rabbitgw.findings import Checkup, Finding, Verdict, apart, failed, ok, warning

MIB: Final = 1024 * 1024
FREE_WARNING: Final = 1024 * MIB
FREE_FAILED: Final = 64 * MIB


async def look_at_disk(checkup: Checkup, data_dir: Path) -> list[Finding]:
    spool = data_dir / "spool"
    return await checkup.make_all(
        [
            ("disk.writable", apart(partial(_writable, spool))),
            ("disk.free", apart(partial(_free, spool))),
            ("disk.spool", apart(partial(_spools, spool))),
        ],
        mend="look at the disk of RABBITGW_DATA_DIR",
    )


def _nearest(folder: Path) -> Path:
    """The folder, or the one above it that exists."""
    folder = folder.absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def _writable(spool: Path) -> Verdict:
    if spool.exists() and not spool.is_dir():
        return failed(f"{spool} is no folder", "move it away")
    folder = _nearest(spool)
    mend = f"let the user that runs `serve` write to {spool.absolute()}, or set RABBITGW_DATA_DIR"
    try:
        if folder != spool.absolute():
            # What `serve` would make is not made here.
            if not os.access(folder, os.W_OK | os.X_OK):
                return failed(f"{spool} is not there, and {folder} may not be written", mend)
            return ok(f"{spool} will be made")
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return failed(f"{folder} cannot be written: {error.strerror or error}", mend)
    return ok(f"{spool} takes writes")


def _free(spool: Path) -> Verdict:
    free = shutil.disk_usage(_nearest(spool)).free
    found = f"{free // MIB} MiB free for the spool"
    mend = "make room: a charge that neither Redis nor the disk takes is lost"
    if free < FREE_FAILED:
        return failed(found, mend)
    return warning(found, mend) if free < FREE_WARNING else ok(found)


def _spools(spool: Path) -> Verdict:
    """A file is locked while its process lives. The lock is let go at once: a gateway that starts must find it free."""
    dead = records = 0
    for path in sorted(spool.glob(f"*{SUFFIX}")):
        try:
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    fcntl.flock(file, fcntl.LOCK_UN)
                except BlockingIOError:
                    continue
                waiting = len(read_records(file.read()))
        except FileNotFoundError:
            continue  # it was worked off just now
        dead += bool(waiting)
        records += waiting
    if records:
        return warning(
            f"charges that wait on disk: {records}, of dead gateways: {dead}",
            "start `rabbitgw serve` with this data directory: it brings them to Redis",
        )
    return ok("no charge of a dead gateway waits")
