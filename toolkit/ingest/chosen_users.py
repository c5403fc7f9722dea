"""Which users a sample has: it depends on their ids and a seed, and on nothing else."""

from __future__ import annotations

import hashlib
from typing import cast

import numpy as np

from toolkit.arrays import Array, IntArray
from toolkit.datasets import IdTable
from toolkit.errors import ConfigError
from toolkit.inputs import checked_number

# So many ids are hashed together.
_AT_ONCE = 1 << 16


def chosen_users(users: IdTable, share: float, seed: int) -> IntArray:
    """Return the rows of the users of a sample, ascending.

    A user's number is BLAKE2b of 8 bytes, little-endian, of the id as text in UTF-8; its salt is the seed in
    16 bytes, little-endian. The users whose number is below ``share * 2**64`` are chosen. So an eighth of the
    users is a part of a half of them, in whatever dataset.

    Parameters
    ----------
    users : IdTable
        All users.
    share : float
        What `checked_share` returned.
    seed : int
        What `checked_seed` returned.

    Returns
    -------
    array of int64, shape (n_chosen,)
    """
    bound, salt = int(share * 2.0**64), seed.to_bytes(16, "little")
    if not bound:
        return np.empty(0, np.int64)
    last, chosen = np.uint64(bound - 1), []
    for begin in range(0, len(users), _AT_ONCE):
        rows = np.arange(begin, min(begin + _AT_ONCE, len(users)))
        chosen.append(rows[_numbers(users.at(rows), salt) <= last])
    return np.concatenate(chosen)


def checked_share(share: object) -> float:
    """Return a share of users.

    Raises
    ------
    ConfigError
        When it is not above 0 and at most 1.
    """
    real = isinstance(share, int | float | np.floating) and not isinstance(share, bool)
    # No comparison holds of NaN.
    if not real or not 0 < float(cast("float", share)) <= 1:
        raise ConfigError(
            f"--users must be a share above 0 and up to 1, such as 0.125, but got {share!r:.60}"
        )
    return float(cast("float", share))


def checked_seed(seed: int) -> int:
    """Return a seed.

    Raises
    ------
    ConfigError
        When it is no whole number from 0, of 64 bits.
    """
    if checked_number("--seed", seed, 0) >= 2**64:
        raise ConfigError(f"--seed must be below 2**64, but got {seed}")
    return int(seed)


def _numbers(ids: Array, salt: bytes) -> IntArray:
    texts = (str(one).encode() for one in ids.tolist())
    return np.frombuffer(
        b"".join(hashlib.blake2b(text, digest_size=8, salt=salt).digest() for text in texts), "<u8"
    )
