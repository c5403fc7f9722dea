"""The tiles, threads and shared memory that the kernels of the rows take at a rank."""

from __future__ import annotations

from dataclasses import dataclass

# Shared memory that a block may have on every GPU from sm_70 on; more than 48 KiB must be asked for.
SHARED_LIMIT = 64 << 10
# Threads of a row at most, each with a tile of 8 by 8: a thread then has 113 of the 65,536 registers.
_MOST_THREADS = 576
# Up to so many columns, tiles of 4 by 4 leave fewer threads idle.
_NARROW = 48
_WARP = 32
# Threads of a block of short rows.
_SHORT_BLOCK = 128


@dataclass(frozen=True)
class Shape:
    """Tiles, threads and shared memory of the kernels that solve rows of one rank.

    Attributes
    ----------
    factors : int
        Latent factors, k.
    biased : bool
        Whether the last unknown of a row is its bias.
    exact : bool
        Whether it is the variant in double precision, for rows that single precision cannot solve.
    tile : int
        Lines and columns of a thread's tile, 4 or 8.
    chunk : int
        Ratings that are staged at once.
    in_shared : bool
        Whether the Cholesky factor of a row is kept in shared memory; otherwise each row that is being solved
        needs a slot of scratch memory.
    """

    factors: int
    biased: bool
    exact: bool
    tile: int
    chunk: int
    in_shared: bool

    @classmethod
    def of(cls, factors: int, *, biased: bool, exact: bool = False) -> Shape | None:
        """Return the shape for a rank; None without factors, and where a block cannot hold a row's tiles."""
        if not factors:
            return None
        tile = 4 if factors + biased + 1 <= _NARROW else 8
        base = cls(factors, biased, exact, tile, 16 if exact else 32, in_shared=not exact)
        if base.group > _MOST_THREADS:
            return None
        if base.shared_bytes <= SHARED_LIMIT:
            return base
        return cls(factors, biased, exact, tile, 16, in_shared=False)

    @classmethod
    def of_factors(cls, factors: int) -> Shape:
        """Return the shape for kernels that read factors and solve nothing."""
        return cls(factors, biased=False, exact=False, tile=4, chunk=4, in_shared=True)

    @property
    def unknowns(self) -> int:
        """Unknowns of a row."""
        return self.factors + self.biased

    @property
    def stride(self) -> int:
        """Numbers of a line of the table of the fixed side."""
        return -(-(self.unknowns + 2) // 4) * 4

    @property
    def width(self) -> int:
        """Columns of the equations of a row, with the right-hand side, in whole tiles."""
        return -(-(self.unknowns + 1) // self.tile) * self.tile

    @property
    def bands(self) -> int:
        """Rows of tiles."""
        return self.width // self.tile

    @property
    def tiles(self) -> int:
        """Tiles of the upper triangle, each of which has a thread."""
        return self.bands * (self.bands + 1) // 2

    @property
    def triangle(self) -> int:
        """Numbers of the upper triangle: the sums that a part of a long row leaves."""
        return self.tile**2 * self.tiles

    @property
    def group(self) -> int:
        """Threads of a row."""
        return -(-self.tiles // _WARP) * _WARP

    @property
    def groups(self) -> int:
        """Rows that share a block of short rows."""
        return max(1, min(_SHORT_BLOCK // self.group, SHARED_LIMIT // self.shared_bytes))

    @property
    def packed(self) -> int:
        """Numbers of the Cholesky factor of a row, which a slot holds."""
        pivots = -(-self.unknowns // self.tile)
        return self.tile * (pivots * self.width - self.tile * (pivots * (pivots - 1) // 2))

    @property
    def shared_bytes(self) -> int:
        """Bytes of shared memory that a row takes."""
        panels = self.packed if self.in_shared else 2 * self.tile * self.width
        work = max(self.chunk * self.width, panels)
        return (work + 2 * self.width + -(-self.bands // 4) * 4 + 4) * self.real_bytes

    @property
    def real_bytes(self) -> int:
        """Bytes of one number of the equations."""
        return 8 if self.exact else 4

    def defines(self) -> dict[str, int | str]:
        """Return the macros that the kernels of the rows are compiled with, but for the type of columns."""
        return {
            "FACTORS": self.factors,
            "BIASED": int(self.biased),
            "REAL": "double" if self.exact else "float",
            "EXACT": int(self.exact),
            "TILE": self.tile,
            "CHUNK": self.chunk,
            "GROUP": self.group,
            "GROUPS": self.groups,
            "IN_SHARED": int(self.in_shared),
            "SHARED_BYTES": self.shared_bytes,
        }
