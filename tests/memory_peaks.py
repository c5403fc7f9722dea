"""How many bytes a call holds at most, beyond what there was before it."""

from __future__ import annotations

import tracemalloc


def peak_of(call, *, tries=3):
    """Return the least peak of several calls: what other threads of the process ask for counts as well."""
    peaks = []
    for _ in range(tries):
        tracemalloc.start()
        try:
            call()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return min(peaks)
