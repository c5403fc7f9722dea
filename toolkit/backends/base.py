"""The backend of NumPy: the reference for every operation, written on an array module `xp`.

Other backends are subclasses. They override the operations that they do better, and fall back to these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from toolkit.arrays import DeviceArray, FloatArray, Ratings
from toolkit.backends.equations import EquationBuilder
from toolkit.backends.half_step import HalfStep, SharedStep
from toolkit.backends.normals import normals
from toolkit.backends.ranking import RankingDevice
from toolkit.backends.rows import MAX_STRETCH, Batch, RatingRows
from toolkit.config import RunOptions, WALSConfig
from toolkit.errors import BackendError, ConfigError
from toolkit.predictor import Predictor, Side, predict_pairs

BackendName = Literal["auto", "numpy", "numba", "cupy", "cuda"]
# What is tried, in this order, before NumPy, where a name is only preferred.
_PREFERRED: dict[str, tuple[str, ...]] = {
    "auto": ("cupy", "numba"),
    "cupy": ("cupy", "numba"),
    "cuda": ("cuda", "numba"),
    "numba": ("numba",),
    "numpy": (),
}
PartSolver = Callable[[HalfStep], tuple[DeviceArray, "DeviceArray | None"]]
"""Solves a half-step of some of the rows; see `Backend.part_solver`."""
# Pairs gathered at once, so that two factor rows for each of them are the only large temporaries.
_PAIRS = 1 << 16
# The same where their squares are weighted.
_WEIGHTED = 1 << 18


class Backend(RankingDevice):
    """NumPy, and what the solver and the ranking ask of an array module.

    Parameters
    ----------
    threads : int, default 0
        CPU threads that work side by side; 0 means all that this process may use.

    Attributes
    ----------
    name : str
        ``"numpy"``; a subclass has its own.
    xp : module
        The array module: ``numpy`` or ``cupy``.
    threads : int
        CPU threads that work side by side.
    steps_from : tuple of int, or None
        Ranks from which `toolkit.solver` has rows solved by steps; None where this backend takes none.
    batch_entries, batch_rows : int
        Padded ratings, and rows, that one batch of rows holds at most; a single row is never cut.
    batch_stretch : float
        Rows share a batch while the longest is at most so many times as long as the shortest.
    batch_bytes : int
        Bytes that the gathered factors and the systems of one batch take at most.
    batch_scores : int
        Users × items whose scores are in memory at once when items are ranked.

    Raises
    ------
    ConfigError
        When `threads` is not a whole number from 0 to 4096.

    Examples
    --------
    >>> backend = Backend.require("numpy", threads=1)
    >>> backend.asarray([1, 2], "float32").sum()
    np.float32(3.0)
    """

    name: ClassVar[str] = "numpy"
    steps_from: ClassVar[tuple[int, int] | None] = None
    batch_stretch: ClassVar[float] = MAX_STRETCH
    _kinds: ClassVar[dict[str, type[Backend]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # A subclass with a name of its own is one that can be asked for by name.
        if "name" in cls.__dict__:
            Backend._kinds[cls.name] = cls

    @classmethod
    def problem(cls) -> str | None:
        """Return why this backend cannot be used here, or None where it can."""
        return None

    @staticmethod
    def require(name: BackendName, threads: int = 0) -> Backend:
        """Return the named backend.

        Parameters
        ----------
        name : {"auto", "numpy", "numba", "cupy", "cuda"}
            Which; ``"auto"`` is the first usable of CuPy, Numba and NumPy.
        threads : int, default 0
            As `Backend`.

        Raises
        ------
        BackendError
            When it cannot be used here; the text gives the reason.
        ConfigError
            When there is no backend of that name.
        """
        kind = _kind(name)
        if name == "auto":
            return Backend.prefer(name, threads)
        if problem := kind.problem():
            raise BackendError(problem)
        return kind(threads)

    @staticmethod
    def prefer(name: BackendName, threads: int = 0) -> Backend:
        """Return the named backend where it can be used, and otherwise the next best one.

        Parameters
        ----------
        name, threads
            As `require`. After a backend of the GPU comes Numba, and after Numba comes NumPy.

        Raises
        ------
        ConfigError
            When there is no backend of that name.
        """
        _kind(name)
        usable = (kind for kind in map(_kind, _PREFERRED[name]) if kind.problem() is None)
        return next(usable, Backend)(threads)

    def rows(self, matrix: Ratings, dtype: str = "float32") -> RatingRows:
        """Return ratings laid out for this backend.

        Parameters
        ----------
        matrix : scipy.sparse CSR, shape (n_rows, n_columns)
            Ratings that `toolkit.inputs` has checked.
        dtype : {"float32", "float64"}
            Precision of the values.
        """
        return RatingRows(
            matrix,
            self.xp,
            dtype,
            batch_entries=self.batch_entries,
            batch_rows=self.batch_rows,
            stretch=self.batch_stretch,
        )

    def reserve(self, rows: Sequence[RatingRows], config: WALSConfig) -> None:
        """Take the scratch memory that a training needs, so that its iterations take none."""

    @property
    def scratch_bytes(self) -> int:
        """Bytes of scratch memory that are held from one training to the next."""
        return 0

    # ------------------------------------------------------------------------------------ solving rows

    def solve_rows(self, step: HalfStep) -> Side:
        """Return the factors and biases that minimise the objective, the other side being fixed.

        Parameters
        ----------
        step : HalfStep
            What to solve.

        Returns
        -------
        Side
            Factors, shape (n_rows, k), and biases, shape (n_rows,). A row without ratings is zero.

        Raises
        ------
        SolverError
            When the solution of a row is not finite; a backend that does not wait for its device raises it in
            `require_solved`.
        """
        return step.side(self._solved(step))

    def _solved(self, step: HalfStep) -> DeviceArray:
        """Return the unknowns of every row, shape (n_rows, unknowns)."""
        solution, equations = step.new_solution(), EquationBuilder(step)

        def solve(batch: Batch) -> None:
            left, right, _ = equations.build_visibly(batch)
            noise = None if step.noise is None else step.noise[batch.rows].astype(left.dtype, copy=False)
            solution[batch.rows] = self.solve_spd(left, right, noise)

        # Gathered factors, and the systems with the solver's copy of them, and their roots.
        size, copies = step.dtype.itemsize * step.unknowns, 2 if step.noise is None else 3
        self.each(solve, self._within(step.ratings, lambda width: size * (width + copies * step.unknowns)))
        return solution

    def solve_and_sum(self, step: HalfStep) -> tuple[Side, DeviceArray | None]:
        """Return what `solve_rows` does, and `sum_rated` of the fixed factors.

        The sums are None where they are no cheaper beside the solution.
        """
        return self.solve_rows(step), None

    def prepared(self, step: HalfStep) -> HalfStep:
        """Return a half-step with what its parts need of all ratings together."""
        return step

    def with_threads(self, threads: int) -> Backend:
        """Return a backend of this kind with another number of threads."""
        return type(self)(threads)

    def part_solver(self, shared: SharedStep, *, summed: bool, threads: int = 0) -> PartSolver:
        """Return a function that solves parts of a half-step; what the parts share is made once.

        Parameters
        ----------
        shared : SharedStep
            Of what `prepared` returns.
        summed : bool
            Whether `sum_rated` of the fixed factors is taken on the way, where that is cheaper.
        threads : int, default 0
            CPU threads of each part; 0 takes those of this backend.

        Returns
        -------
        callable
            Takes a half-step of some of the rows. Returns their unknowns, shape (n, unknowns), NaN where a
            row has no solution, and the sums or None.
        """
        own = self.with_threads(threads) if threads else self
        return lambda part: (own._solved(part), None)  # noqa: SLF001 - of this class

    def require_solved(self, rows: RatingRows, config: WALSConfig) -> None:
        """Make sure that the last `solve_rows` of these rows found a solution for each of them.

        Raises
        ------
        SolverError
            When a row has none.
        """

    def solve_spd(
        self, matrices: DeviceArray, vectors: DeviceArray, noise: DeviceArray | None = None
    ) -> DeviceArray:
        """Solve a stack of symmetric positive definite systems.

        Parameters
        ----------
        matrices : array, shape (n, m, m)
        vectors : array, shape (n, m)
        noise : array, shape (n, m), optional
            As `HalfStep` has it.

        Returns
        -------
        array, shape (n, m)
            The rows of a singular system are not finite.
        """
        try:
            if noise is None:
                return self._solve_stack(matrices, vectors)
            # R⁻¹ noise is the solution for Rᵀ noise.
            rooted = self.xp.linalg.cholesky(matrices) @ noise[..., None]
            return self._solve_stack(matrices, vectors + rooted[..., 0])
        except np.linalg.LinAlgError:
            if len(matrices) == 1:
                return self.xp.full_like(vectors, np.nan)  # type: ignore[no-any-return]
        # One bad system fails the whole stack: find it by halves.
        half = len(matrices) // 2
        parts = (slice(None, half), slice(half, None))
        solved = [
            self.solve_spd(matrices[part], vectors[part], None if noise is None else noise[part])
            for part in parts
        ]
        return self.xp.concatenate(solved)  # type: ignore[no-any-return]

    def _solve_stack(self, matrices: DeviceArray, vectors: DeviceArray) -> DeviceArray:
        """Return the solutions, or raise `numpy.linalg.LinAlgError` when a matrix is singular."""
        return np.linalg.solve(matrices, vectors[..., None])[..., 0]

    def sum_rated(self, rows: RatingRows, table: DeviceArray) -> DeviceArray:
        """Return for each row the sum of the lines of a table that stand for the columns it has rated.

        Parameters
        ----------
        rows : RatingRows, n_rows by n_columns
            Which columns each row has rated.
        table : array of float, shape (n_columns, k)
            A line for each column.

        Returns
        -------
        array of float, shape (n_rows, k)
            Zero for a row without ratings.
        """
        xp = self.xp
        out: DeviceArray = xp.zeros((rows.n_rows, table.shape[1]), table.dtype)
        padded = xp.zeros((rows.n_columns + 1, table.shape[1]), table.dtype)
        padded[:-1] = table

        def add(batch: Batch) -> None:
            out[batch.rows] = padded[rows.gather(batch)[0]].sum(axis=1)

        size = table.dtype.itemsize * table.shape[1]
        self.each(add, self._within(rows, lambda width: size * width))
        return out

    def _within(self, rows: RatingRows, bytes_per_row: Callable[[int], int]) -> list[Batch]:
        return rows.batches_within(bytes_per_row, self.batch_bytes)

    # ------------------------------------------------------------------------------------ chance

    def normals(self, key: Sequence[int], shape: tuple[int, ...], dtype: str) -> DeviceArray:
        """Return independent standard normal numbers on the device of this backend.

        Parameters
        ----------
        key : sequence of int
            What the numbers depend on: whole numbers from 0. Different keys give independent numbers.
        shape : tuple of int
        dtype : {"float32", "float64"}

        Returns
        -------
        array of float, of that shape
            The same bits for any number of threads. A GPU draws other numbers than the processors do.
        """
        return normals(key, shape, dtype, self)

    # ------------------------------------------------------------------------------------ measuring

    def squared_errors(
        self, predictor: Predictor, users: DeviceArray, items: DeviceArray, ratings: DeviceArray
    ) -> float:
        """Return the sum of squared errors over pairs, accumulated in float64.

        Parameters
        ----------
        predictor : Predictor
            On the device of this backend; predictions are clipped where it has a rating scale.
        users, items : array of int, shape (n,)
            User rows and item columns.
        ratings : array of float, shape (n,)
            What they rated.
        """
        errors = [0.0] * -(-len(ratings) // _PAIRS)

        def measure(at: int) -> None:
            part = slice(at * _PAIRS, (at + 1) * _PAIRS)
            errors[at] = self._squared_error(predictor, users[part], items[part], ratings[part])

        self.each(measure, range(len(errors)))
        # Added in the order of the parts, whatever thread was first.
        return sum(errors)

    def row_errors(
        self, predictor: Predictor, rows: RatingRows, item_weight: DeviceArray | None = None
    ) -> FloatArray:
        """Return sums of squared errors over ratings by user, which together are the sum over all.

        Parameters
        ----------
        predictor : Predictor
            Its users are the rows.
        rows : RatingRows
            Ratings by user.
        item_weight : array of float, shape (n_items,), optional
            Weights of the squares.

        Returns
        -------
        array of float64, shape (n, 1) or (n, 2)
            Squares, and weighted squares where there are weights. A backend that sums row by row has a line
            for each, so that the total does not depend on how rows are parted; others have one in all.
        """
        users, items, ratings = rows.row_numbers, rows.columns, rows.values
        if item_weight is None:
            return np.array([[self.squared_errors(predictor, users, items, ratings)]])
        total = np.zeros((1, 2))
        for begin in range(0, rows.nnz, _WEIGHTED):
            part = slice(begin, begin + _WEIGHTED)
            predicted = predict_pairs(predictor, users[part], items[part], self.xp)
            errors = (predicted - ratings[part]).astype("float64")
            total += float(errors @ errors), float((item_weight[items[part]] * errors) @ errors)
        return total

    def _squared_error(
        self, predictor: Predictor, users: DeviceArray, items: DeviceArray, ratings: DeviceArray
    ) -> float:
        error = (predict_pairs(predictor, users, items, self.xp) - ratings).astype("float64")
        return float(error @ error)


Backend._kinds["numpy"] = Backend  # noqa: SLF001 - it is no subclass of itself


def _kind(name: str) -> type[Backend]:
    if name != "auto" and name not in Backend._kinds:  # noqa: SLF001 - of this module
        # The option's own check says which words are valid, and which is the nearest.
        RunOptions(backend=name)  # type: ignore[arg-type]
        raise ConfigError(f"there is no backend {name!r}")
    return Backend._kinds.get(name, Backend)  # noqa: SLF001 - of this module
