"""Locks that keep others from what a run writes; they end with the process, however that ends."""

import logging
import sys

__all__ = ["lock"]

_LOG = logging.getLogger(__name__)


def lock(descriptor: int) -> bool:
    """Lock an open file or folder until it is closed; tell whether nobody else has it.

    Where there are no locks, on Windows and on some file systems, it is everyone's.
    """
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        _LOG.debug("this file system has no locks", exc_info=True)
    return True
