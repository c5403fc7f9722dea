"""One half-step: the least-squares problems of the rows of one side, the other side being fixed.

Write ``z = [y, 1]`` for the fixed factors of a column with a one appended where biases are fitted, and
``v = [x, b]`` for the unknowns of a row. Setting the gradient of the objective (``docs/objective.md``) to
zero gives, for a row with observed columns Ω and n = |Ω|,

    ( Σ_Ω (w0 + c) z zᵀ  +  w0 Σ_{not Ω} [y, 0] [y, 0]ᵀ  +  P ) v  =  Σ_Ω (w0 + c) (r − μ − b_column) z

Here P is diagonal: the penalty of the row's factors, and that of its bias (`toolkit.solver.weights`).
The second sum would run over every column. It is G = w0 YᵀY, the same for every row, less its observed part.
So only

    ( Σ_Ω c z zᵀ  +  w0 [ G  s ; sᵀ  n ]  +  P ) v  =  …        with  G = YᵀY  and  s = Σ_Ω y

is left to compute, and the cost is proportional to the ratings (Hu, Koren and Volinsky, ICDM 2008, eq. 4;
here with biases).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from toolkit.arrays import DeviceArray
from toolkit.backends.rows import RatingRows, RowCounts
from toolkit.config import WALSConfig
from toolkit.errors import SolverError
from toolkit.predictor import Side

# A penalty smaller than this many rounding errors of the matrix beside it is lost in them.
_VISIBLE = 64


@dataclass(frozen=True, kw_only=True)
class SharedStep:
    """What all rows of a half-step share: the fixed side, and what is added to every row.

    Attributes
    ----------
    fixed : Side
        Factors, shape (n_columns, k), and biases, shape (n_columns,), of the other side.
    config : WALSConfig
        The hyperparameters.
    mean : float
        Global mean μ that is taken off the ratings; 0 where the model has none.
    column_weight : array of float, shape (n_columns,), or None
        The weight c of an observed rating, where it is a property of its column.
    gram : array of float, shape (k, k), or of shape (unknowns, unknowns) with a prior, or None
        What is added to the matrix of every row: w0 YᵀY, the pattern's part, and a prior's; None for nothing.
    n_fixed : int
        Rows of the fixed side that stand behind `gram`: n_columns, or more where the step holds the rated
        ones alone.
    pattern : array of float, shape (n_columns, k), or None
        Pattern factors of the other side. Their sum over the rated columns, times `pattern_weight`, is added
        to the right-hand side of each row; None for nothing.
    pattern_weight : float
        σ² w_p.
    unrated : array of float, shape (unknowns,), or None
        What a row without ratings is; None for zeros.
    mean_square : array of float, shape (unknowns,), or None
        The mean of c z² over all ratings, in the basis in which rows take steps; None where they take none.
    """

    fixed: Side
    config: WALSConfig
    mean: float
    column_weight: DeviceArray | None
    gram: DeviceArray | None
    n_fixed: int
    pattern: DeviceArray | None = None
    pattern_weight: float = 0.0
    unrated: DeviceArray | None = None
    mean_square: DeviceArray | None = None

    @property
    def biased(self) -> bool:
        """Whether biases are fitted."""
        return self.config.bias == "full"

    @property
    def unknowns(self) -> int:
        """Unknowns of a row: its factors, and its bias where biases are fitted."""
        return self.config.factors + self.biased

    @property
    def dtype(self) -> np.dtype[Any]:
        """Precision of the fixed factors and of the solution."""
        return self.fixed.factors.dtype

    @property
    def visible(self) -> float:
        """Share of the trace over a row's factors below which its precision does not see their penalty."""
        return 0.0 if self.dtype == np.float64 else _VISIBLE * float(np.finfo(self.dtype).eps)

    @cached_property
    def floor(self) -> float:
        """What `gram` adds to every eigenvalue of a row's matrix, roughly."""
        return 0.0 if self.gram is None or not self.unknowns else float(self.gram.trace()) / self.unknowns


@dataclass(frozen=True, kw_only=True)
class HalfStep(SharedStep):
    """What every backend needs to solve the rows of one side; computed once for all backends.

    `toolkit.solver.half_step` makes one. One whose `rows` are counts alone is solved in parts.

    Attributes
    ----------
    rows : RowCounts, n_rows by n_columns
        The rows to solve; `RatingRows` with their ratings.
    penalty : array of float64, shape (n_rows,)
        The penalty of each row's factors.
    bias_penalty : array of float64, shape (n_rows,)
        The penalty of each row's bias.
    row_weight : array of float, shape (n_rows,), or None
        The weight c of an observed rating, where it is a property of its row.
    pull : array of float, shape (n_rows, k), or (n_rows, unknowns) with a prior, or None
        What is added to the right-hand side of each row; None for nothing.
    start : Side or None
        Factors and biases of the rows from which a solution by steps begins; None where each row is solved
        exactly. A backend that has no such solution solves exactly.
    noise : array of float, shape (n_rows, unknowns), or None
        Makes draws of the solutions: R⁻¹ times its row is added to the unknowns of each row, where RᵀR is the
        row's matrix and R is upper triangular. None for the solutions themselves.
    """

    rows: RowCounts
    penalty: DeviceArray
    bias_penalty: DeviceArray
    row_weight: DeviceArray | None
    pull: DeviceArray | None
    start: Side | None = None
    noise: DeviceArray | None = None

    @property
    def ratings(self) -> RatingRows:
        """The rows with their ratings."""
        assert isinstance(self.rows, RatingRows)  # noqa: S101 - whoever has counts alone makes parts
        return self.rows

    @property
    def shared(self) -> SharedStep:
        """What all rows share, alone."""
        return SharedStep(**{field.name: getattr(self, field.name) for field in fields(SharedStep)})

    def new_solution(self) -> DeviceArray:
        """Return the unknowns of every row as if none had ratings, shape (n_rows, unknowns)."""
        solution: DeviceArray = self.rows.xp.zeros((self.rows.n_rows, self.unknowns), self.dtype)
        if self.unrated is not None:
            solution += self.unrated
        return solution

    def side(self, solution: DeviceArray) -> Side:
        """Return the factors and biases of solved rows.

        Parameters
        ----------
        solution : array of float, shape (n_rows, unknowns)
            The unknowns of every row; `unrated` for a row without ratings.

        Raises
        ------
        SolverError
            When the solution of a row is not finite.
        """
        finite = self.rows.xp.isfinite(solution)
        if not bool(finite.all()):
            raise unsolved(self.rows, self.config, int(finite.all(axis=1).argmin()))
        return self.parted(solution)

    def parted(self, solution: DeviceArray) -> Side:
        """Return factors and biases, as `side` does, whether they are finite or not."""
        xp, k = self.rows.xp, self.config.factors
        bias = solution[:, k].copy() if self.biased else xp.zeros(self.rows.n_rows, self.dtype)
        return Side(xp.ascontiguousarray(solution[:, :k]), bias)

    def require_determined(self) -> None:
        """Refuse rows with fewer ratings than unknowns when nothing else in the objective determines them.

        Raises
        ------
        SolverError
            When there is such a row.
        """
        config, counts = self.config, self.rows.host_counts
        shared = config.unobserved_weight > 0 and self.n_fixed >= self.unknowns
        if config.regularization > 0 or shared:
            return
        short = (counts > 0) & (counts < self.unknowns)
        if short.any():
            row = int(short.argmax())
            raise SolverError(
                f"row {row} has {int(counts[row])} ratings for {self.unknowns} unknowns, and "
                f"{_weights_of(config)} leaves it undetermined: set regularization above 0"
            )


def unsolved(rows: RowCounts, config: WALSConfig, row: int) -> SolverError:
    """Return the error that names a row whose normal equations have no finite solution."""
    return SolverError(
        f"the normal equations of row {row} ({int(rows.host_counts[row])} ratings, "
        f"{config.factors + (config.bias == 'full')} unknowns) have no finite solution with "
        f"{_weights_of(config)}: raise regularization, or bring the weights nearer to 1"
    )


def _weights_of(config: WALSConfig) -> str:
    return (
        f"regularization={config.regularization:g}, unobserved_weight={config.unobserved_weight:g}, "
        f"observed_weight={config.observed_weight:g}, weight_exponent={config.weight_exponent:g}"
    )
