"""A script, run as its own process: drop privileges, tie this process to its parent, become a server.

    python -I -S leash.py PARENT_PID DEATH_SIGNAL UID:GID|- PROGRAM [ARGUMENT…]

Imports nothing of ours: by the time it drops privileges it may no longer be able to read the checkout, and a
fork with Python code in the child (`preexec_fn`) is unsafe in a process that has threads.
Where the kernel has no parent-death signal (macOS) the server starts untied.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent_pid: int, death_signal: int, owner: str, command: list[str]) -> None:
    """Replace this process by `command`, owned by `owner` and signalled when the parent's thread ends."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    # Python ignores SIGPIPE and a shell's background job ignores SIGINT; both would be inherited.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if owner != "-":
        uid, _, gid = owner.partition(":")
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    os.umask(0o077)
    if libc is not None:
        # After the change of user, which clears it.
        if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != parent_pid:
            sys.exit("the parent ended before the server started")
    os.execv(command[0], command)  # noqa: S606  the server must keep our pid


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
