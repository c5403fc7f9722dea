"""The normal equations of a batch of rows as padded stacks of matrices: the reference for every backend."""

from __future__ import annotations

from typing import NamedTuple

from toolkit.arrays import DeviceArray, DType
from toolkit.backends.half_step import HalfStep
from toolkit.backends.rows import Batch


class Equations(NamedTuple):
    """The systems ``left @ v = right`` of n rows with m unknowns.

    Attributes
    ----------
    left : array of float, shape (n, m, m)
        Symmetric matrices.
    right : array of float, shape (n, m)
        Right-hand sides.
    penalty : array of float, shape (n,)
        What the penalty adds to the diagonal over the factors.
    """

    left: DeviceArray
    right: DeviceArray
    penalty: DeviceArray


class EquationBuilder:
    """Builds the equations of any batch of one half-step.

    Parameters
    ----------
    step : HalfStep
        The half-step; its tables are made once, for all batches.
    """

    def __init__(self, step: HalfStep) -> None:
        xp, n, k = step.rows.xp, step.rows.n_columns, step.config.factors
        self._step = step
        # Padding points one past the last column: a row of zeros that adds nothing to any sum.
        self._table = xp.zeros((n + 1, step.unknowns), step.dtype)
        self._table[:-1, :k] = step.fixed.factors
        if step.biased:
            self._table[:-1, k] = 1
        self._offset = xp.full(n + 1, step.mean, step.dtype)
        self._offset[:-1] += step.fixed.bias
        self._column_weight = None
        if step.column_weight is not None:
            self._column_weight = xp.zeros(n + 1, step.dtype)
            self._column_weight[:-1] = step.column_weight
        self._pattern = None
        if step.pattern is not None:
            self._pattern = xp.zeros((n + 1, k), step.dtype)
            self._pattern[:-1] = step.pattern
        self._diagonal = xp.arange(k)

    def build(self, batch: Batch, precision: DType) -> Equations:
        """Return the equations of a batch.

        Parameters
        ----------
        batch : Batch
            n rows of the half-step.
        precision : dtype
            In which the sums are taken.
        """
        step, xp = self._step, self._step.rows.xp
        k, w0 = step.config.factors, step.config.unobserved_weight
        columns, values = step.ratings.gather(batch)
        z = self._table[columns].astype(precision, copy=False)  # (rows, width, unknowns)
        if self._column_weight is not None:
            c = self._column_weight[columns]
        else:
            assert step.row_weight is not None  # noqa: S101 - a half-step has one of the two weights
            c = step.row_weight[batch.rows][:, None]
        c = c.astype(precision, copy=False)
        right = xp.matmul(((w0 + c) * (values - self._offset[columns]))[:, None, :], z)[:, 0, :]
        border = w0 * z.sum(axis=1) if w0 and step.biased else None
        # From here on z is scaled by √c, so that the sum of outer products is one product of z with itself.
        z *= xp.sqrt(c)[..., None]
        left = xp.matmul(z.transpose(0, 2, 1), z)  # (rows, unknowns, unknowns)
        if step.gram is not None:
            g = len(step.gram)  # k, or all unknowns
            left[:, :g, :g] += step.gram
        if border is not None:
            left[:, k, :] += border
            left[:, :k, k] += border[:, :k]
        if step.pull is not None:
            right[:, : step.pull.shape[1]] += step.pull[batch.rows]
        if self._pattern is not None:
            right[:, :k] += step.pattern_weight * self._pattern[columns].sum(axis=1, dtype=precision)
        penalty = step.penalty[batch.rows].astype(precision, copy=False)
        left[:, self._diagonal, self._diagonal] += penalty[:, None]
        if step.biased:
            left[:, k, k] += step.bias_penalty[batch.rows].astype(precision, copy=False)
        return Equations(left, right, penalty)

    def build_visibly(self, batch: Batch) -> Equations:
        """Return the equations of a batch, in double precision where a penalty would be lost in rounding.

        With fewer ratings than unknowns the penalty alone keeps a matrix from being singular, and single
        precision must be able to see it beside the largest entries.
        """
        step, xp = self._step, self._step.rows.xp
        found = self.build(batch, step.dtype)
        if not step.visible:
            return found
        trace = found.left[:, self._diagonal, self._diagonal].sum(axis=1)
        lost = (batch.counts < step.unknowns) & (found.penalty + step.floor < step.visible * trace)
        return self.build(batch, xp.float64) if bool(lost.any()) else found
