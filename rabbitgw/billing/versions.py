"""The version upon which a change is made: two operators who change one thing at once do not undo each other unseen."""

from __future__ import annotations

from rabbitgw.errors import PreconditionFailed


def check_version(what: str, version: int, wanted: int | None) -> None:
    """wanted: that the thing must still have; None: whatever it is, and the last change wins.

    Raises: PreconditionFailed, naming the thing and its ETag.
    """
    if wanted is not None and version != wanted:
        raise PreconditionFailed(f'{what} has been changed since: its ETag is "{version}"')
