"""A trial's share of a GPU: how much memory it may take and needs at least, and where its kernels are kept.

Who schedules a fraction of a GPU counts it and no more: processes on one card take memory from each other
unless each keeps to its share by itself. CuPy takes device memory through a pool, which can be limited; what
is outside the pool (the context, the handles of cuBLAS and cuSOLVER, compiled kernels) has a reserve.
"""

from __future__ import annotations

import math
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.backends.base import Backend
from toolkit.backends.cupy import CupyBackend
from toolkit.errors import BackendError, WalslabError

if TYPE_CHECKING:
    from toolkit.config import WALSConfig

# A context takes 0.2 to 0.4 GB, and the handles some 0.1 GB, in every process.
RESERVE = 512 << 20
_LIMIT, _CACHE = "CUPY_GPU_MEMORY_LIMIT", "CUPY_CACHE_DIR"
# What is reported when memory runs out inside CuPy's pool, in the driver, and in cuBLAS or cuSOLVER.
_OUT_OF_MEMORY = ("OutOfMemoryError", "cudaErrorMemoryAllocation", "STATUS_ALLOC_FAILED")
_MOUNTS = "/proc/self/mounts"
_LOCAL = {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"}


class DeviceMemoryError(WalslabError, MemoryError):
    """A training needs more device memory than there is for it."""

    exit_code = 1


def device_share(backend: Backend, gpu: float) -> DeviceShare | None:
    """Return this process's share of its GPU, kept from now on; None where the backend has no GPU.

    Parameters
    ----------
    backend : Backend
        Its batches are made to fit the share.
    gpu : float
        The share of one GPU, from 0 to 1; 0 is a GPU that nobody shares out.
    """
    return DeviceShare(backend, gpu) if isinstance(backend, CupyBackend) else None


class DeviceShare:
    """What this process may take of its GPU, and does take.

    Parameters
    ----------
    backend : Backend
        Of CuPy. The memory pool of its process is limited to the share, and its batches are made to fit.
    gpu : float
        The share of one GPU. What is above 1 is of no use to CuPy, which computes on one; 0 is a GPU that
        nobody shares out, and all of it.

    Attributes
    ----------
    device : str
        Name of the GPU, and the share of it where that is a part.
    limit : int
        Bytes that the pool may hold: the share of the card's memory less `RESERVE`, or what
        ``CUPY_GPU_MEMORY_LIMIT`` says.
    peak_bytes : int
        The most that the pool has held whenever it was looked at by `measure`.

    Raises
    ------
    BackendError
        When the share is no larger than the reserve.
    """

    def __init__(self, backend: CupyBackend, gpu: float) -> None:
        self._backend = backend
        self._runtime = backend.xp.cuda.runtime
        self._pool = backend.xp.get_default_memory_pool()
        self.peak_bytes = 0
        name = self._runtime.getDeviceProperties(backend.xp.cuda.Device().id)["name"].decode()
        self.device = f"{name}, {gpu:g} of it" if 0 < gpu < 1 else str(name)
        # Of a slice, where the card is cut into such (MIG).
        total = int(self._runtime.memGetInfo()[1])
        share = min(gpu, 1.0) or 1.0
        if os.environ.get(_LIMIT):
            # The pool has read it by itself; 0 is no limit.
            self.limit = int(self._pool.get_limit()) or total
            self._source = f"by {_LIMIT}"
        else:
            self.limit = int(share * total) - RESERVE
            if self.limit <= 0:
                least = math.floor(100 * RESERVE / total + 1) / 100
                raise BackendError(
                    f"resources.gpu must leave room beside the {in_words(RESERVE)} that CUDA itself takes in "
                    f"each process, but {gpu:g} of this GPU's {in_words(total)} is "
                    f"{in_words(int(share * total))}: set it to {least:g} or more"
                )
            self._pool.set_limit(size=self.limit)
            self._source = f"resources.gpu {gpu:g} of {in_words(total)}, less {in_words(RESERVE)} for CUDA"
        backend.fit_in(self.limit)

    def __str__(self) -> str:
        return f"{in_words(self.limit)} ({self._source})"

    def require(self, config: WALSConfig, n_users: int, n_items: int, *, patience: int = 0) -> None:
        """Make sure that a training may fit beside what is on the device, and fit its batches into the rest.

        Raises
        ------
        DeviceMemoryError
            When it cannot: `device_bytes` is a lower bound, so what fits is never refused.
        """
        # Scratch memory serves this training, too.
        taken = int(self._pool.used_bytes()) - self._backend.scratch_bytes
        need, room = device_bytes(config, n_users, n_items, patience=patience), self.limit - taken
        if need > room:
            raise DeviceMemoryError(
                f"a training of {config.factors} factors needs at least {in_words(need)} of GPU memory, but "
                f"{in_words(max(room, 0))} are left of {self} beside the ratings: search fewer factors "
                "(space.factors), or give each trial a larger share (resources.gpu), so that fewer run at "
                "once (concurrency)"
            )
        self._backend.fit_in(self.limit, room - need)

    def measure(self) -> int:
        """Return the most that the pool has held so far.

        The pool keeps what was let go until `release`, so what it holds now is the most it held since then.
        """
        self.peak_bytes = max(self.peak_bytes, int(self._pool.total_bytes()))
        return self.peak_bytes

    def release(self) -> None:
        """Give what the pool has cached back to the card."""
        self.measure()
        self._pool.free_all_blocks()

    def require_alive(self) -> None:
        """Make sure that the device still computes for this process.

        After a kernel that touched what it must not, CUDA answers every call of the process with that error.

        Raises
        ------
        BackendError
            When it does not.
        """
        try:
            self._runtime.deviceSynchronize()
        except Exception as error:
            raise BackendError(
                f"the GPU computes nothing more for this process: {error}; start it again, and look into "
                "dmesg and nvidia-smi where that does not help"
            ) from error


def device_bytes(
    config: WALSConfig, n_users: int, n_items: int, *, patience: int = 0, itemsize: int = 4
) -> int:
    """Return a lower bound of the device memory that a training takes beside its ratings, in bytes.

    It counts the arrays that are there together at the fullest of four moments of an iteration. Write U and I
    for users and items, k for the factors, m = k + 1 with ``bias="full"`` and k otherwise, s for `itemsize`.

    Held throughout:

    ====================================  =====================  ========================
    factors and biases, users and items   (U + I)(k + 1) s
    weights of the items                  I s
    the users before these                U (k + 1) s            momentum, from iteration 3
    pattern factors of both sides         (U + I) k s            pattern, from iteration 2
    the items of the iteration kept       I (k + 1) s            patience, from iteration 2
    ====================================  =====================  ========================

    While the users are solved (U and I change places for the items): the solution, U m s, what the pattern
    pulls to, U k s, and the larger of

    - the other side's padded table, with its offsets and, for the users, weights, (I + 1)(m + 1 or m + 2) s,
      beside one row's matrix and the solver's copy of it, 2 m² s;
    - the factors and biases that are cut out of the solution, U (k + 1) s, or U s without a bias column.

    Momentum makes another copy of the users, U (k + 1) s, to solve the items for, from iteration 3. While the
    users' pattern factors are solved, which is done in double precision: five arrays of U k, 40 U k, and for
    the items likewise, or two of U k before, 16 U k.

    What depends on the ratings is left out: batches of more than a row, the 65,536 pairs at a time whose
    predictions are compared, all users' scores of a ranking. They are made to fit in what is left.

    Parameters
    ----------
    config : WALSConfig
        What is trained.
    n_users, n_items : int
        Rows of the factors.
    patience : int, default 0
        Whether the best iteration is kept beside the last, as in `tune.training.TrialSettings`.
    itemsize : int, default 4
        Bytes of a number: 4 for float32.

    Returns
    -------
    int
    """
    k = config.factors
    fits_bias = config.bias == "full"
    m = k + fits_bias
    second, third = config.iterations >= 2, config.iterations >= 3
    pattern, momentum = bool(config.pattern_weight) and second, bool(config.momentum) and third
    users, items = itemsize * (k + 1) * n_users, itemsize * (k + 1) * n_items
    user_pattern, item_pattern = (itemsize * k * n * pattern for n in (n_users, n_items))
    held = users + items + itemsize * n_items + users * momentum
    best = items * (patience > 0 and second)

    def solving(n: int, n_others: int, columns: int) -> int:
        table = itemsize * ((n_others + 1) * columns + 2 * m * m)
        cut = itemsize * n * (k + 1 if fits_bias else 1)
        return itemsize * n * (m + k * pattern) + max(table, cut)

    both = user_pattern + item_pattern
    moments = [
        held + best + both + solving(n_users, n_items, m + 2),
        held + users * momentum + user_pattern + item_pattern * third + solving(n_items, n_users, m + 1),
    ]
    if pattern:
        moments += [
            held + both * third + 40 * n_users * k,
            held + best + user_pattern + item_pattern * third + max(16 * n_users, 40 * n_items) * k,
        ]
    return max(moments)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory, of the device or of the host, was short."""
    said = f"{type(error).__name__}: {error}"
    return isinstance(error, MemoryError) or any(sign in said for sign in _OUT_OF_MEMORY)


def in_words(size: int) -> str:
    """Return bytes as text, such as ``3.5 GiB``."""
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << bits:
            return f"{size / (1 << bits):.3g} {unit}"
    return f"{size} bytes"


def keep_kernels_locally() -> None:
    """Have CuPy keep the kernels that it compiles on a disk of this machine; call it before CuPy is imported.

    Without ``CUPY_CACHE_DIR`` they are kept below the home folder, which the nodes of a cluster often share
    over the network: slow for every kernel of every process, and against the user's quota. Where the home is
    not known to be a local disk that can be written to, a folder of this user below the system's temporary
    one is taken instead. Kernels compiled anew after a reboot cost seconds.

    Raises
    ------
    BackendError
        When that folder is somebody else's: he could hand this process kernels of his own.
    """
    # Not by Path, which raises where nobody knows the user's home.
    home = Path(os.path.expanduser("~/.cupy/kernel_cache"))  # noqa: PTH111
    # Elsewhere than on Linux, nothing tells a local disk, and no cluster runs there.
    if os.environ.get(_CACHE) or not Path(_MOUNTS).exists() or _is_local(home):
        return
    folder = Path(tempfile.gettempdir()) / f"walslab-cupy-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise BackendError(
            f"a folder for compiled kernels cannot be made: {error}; set {_CACHE} to one on a local disk"
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise BackendError(
            f"the folder for compiled kernels must be open to user {os.getuid()} alone, but {folder} is of "
            f"user {found.st_uid} with mode {stat.filemode(found.st_mode)}: remove it, or set {_CACHE}"
        )
    os.environ[_CACHE] = str(folder)


def _is_local(path: Path) -> bool:
    """Return whether a folder that is there, or could be made, is on a disk known to be this machine's."""
    there = os.path.realpath(path)
    while not os.path.exists(there):  # noqa: PTH110 - what may not be looked at is not there
        there = os.path.dirname(there)  # noqa: PTH120 - of text, as above
    if not os.access(there, os.W_OK | os.X_OK):
        return False
    kind, longest = "", -1
    for line in Path(_MOUNTS).read_text(encoding="utf-8", errors="replace").splitlines():
        where, what = line.split(" ")[1:3]
        where = where.replace("\\040", " ")
        # What is mounted last at a place hides the others.
        if f"{there}/".startswith(f"{where.rstrip('/')}/") and len(where) >= longest:
            kind, longest = what, len(where)
    return kind in _LOCAL
