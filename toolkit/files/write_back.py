"""Files on their way to the disk: what is begun early keeps nobody waiting at the end."""

from __future__ import annotations

import contextlib
import os
from typing import BinaryIO


def begin_write_back(file: BinaryIO) -> None:
    """Let the system begin to take a file to its disk, and wait for nothing; without a disk nothing happens.

    Who makes a directory that is complete or not there waits for its files at the end
    (`toolkit.files.atomic.directory`).
    """
    file.flush()
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            # Linux begins to write what is not on the disk yet, and forgets of it what is there already: of a
            # file that was just written, nothing.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
