"""The mean of the draws of a chain: factors that predict as the posterior does, as one ordinary model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from toolkit.arrays import Array, DeviceArray
from toolkit.backends import RowCounts
from toolkit.predictor import Side
from toolkit.solver.alignment import Aligned, aligned
from toolkit.solver.factors import Factors
from toolkit.solver.prior import Prior
from toolkit.solver.sampler import Sampler
from toolkit.solver.weights import observation_weights, pattern_weight


class PosteriorMean:
    """Sums of the draws of one chain, in double precision, on the device of the sampler.

    Each draw is turned and shifted to lie as those before it (`toolkit.solver.alignment`), so that the
    product of the means is close to the mean of the products; ``docs/posterior.md`` says how close.

    Parameters
    ----------
    sampler : Sampler

    Attributes
    ----------
    n : int
        Draws so far.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler, self.n = sampler, 0
        self._sums: dict[str, DeviceArray] = {}

    def add(self) -> None:
        """Take the current draw of the sampler in."""
        draw, data = self._sampler.factors, self._sampler.data
        before = (self._sums["user_factors"], self._sums["item_factors"]) if self.n else None
        with data.backend.one_blas_thread():
            self._add_aligned(aligned(draw, before, backend=data.backend))
        self.n += 1

    def _add_aligned(self, found: Aligned) -> None:
        data = self._sampler.data
        for name, side, prior, rows in (
            ("user", found.users, found.user_prior, data.rows("user")),
            ("item", found.items, found.item_prior, data.rows("item")),
        ):
            self._add(f"{name}_factors", side.factors)
            self._add(f"{name}_bias", side.bias)
            self._add(f"{name}_squares", _squares(side.factors, rows))
            self._add(f"{name}_prior_mean", prior.mean)
            self._add(f"{name}_prior_precision", prior.precision)
            self._add(f"{name}_prior_pull", prior.pull)
        if found.item_pattern is not None:
            self._add("item_pattern", found.item_pattern)
            self._add("pattern_gram", data.backend.gram(found.item_pattern))

    def _add(self, name: str, values: DeviceArray) -> None:
        if name in self._sums:
            self._sums[name] += values
        else:
            self._sums[name] = values.astype("float64")

    def factors(self) -> Factors:
        """Return the mean factors in host memory, with the priors that folding in takes beside them."""
        # The small products would otherwise wake all threads of BLAS.
        with self._sampler.data.backend.one_blas_thread():
            return self._factors()

    def _factors(self) -> Factors:
        data, config, draw = self._sampler.data, self._sampler.config, self._sampler.factors
        to_numpy = data.backend.to_numpy
        mean = {name: values / self.n for name, values in self._sums.items()}
        # What is not known of a side is more noise in the equations of the other one.
        variance = {
            name: float(mean[f"{name}_squares"] - _squares(mean[f"{name}_factors"], rows))
            * self._mean_weight()
            / max(config.factors, 1)
            for name, rows in (("user", data.rows("user")), ("item", data.rows("item")))
        }
        priors = [
            Prior(
                mean[f"{name}_prior_mean"],
                mean[f"{name}_prior_precision"],
                mean[f"{name}_prior_pull"],
                variance[other],
            )
            for name, other in (("user", "item"), ("item", "user"))
        ]
        pattern = mean.get("item_pattern")
        if pattern is not None:
            k, unknown = config.factors, to_numpy(mean["pattern_gram"] - pattern.T @ pattern)
            priors[0].precision[:k, :k] += pattern_weight(config, draw.spread) * unknown
            pattern = to_numpy(pattern.astype(data.dtype))
        users, items = (
            Side(*(to_numpy(mean[f"{name}_{word}"].astype(data.dtype)) for word in ("factors", "bias")))
            for name in ("user", "item")
        )
        return replace(
            draw,
            users=users,
            items=items,
            item_pattern=pattern,
            user_pattern=None,
            user_prior=priors[0],
            item_prior=priors[1],
        )

    def _mean_weight(self) -> float:
        """Return the mean weight of a rating."""
        counts = self._sampler.data.item_counts
        return float(counts @ observation_weights(counts, self._sampler.config) / counts.sum())

    def host_sums(self) -> dict[str, Array]:
        """Return the sums in host memory, by name, for `restore` to take back."""
        to_numpy = self._sampler.data.backend.to_numpy
        return {name: to_numpy(values) for name, values in self._sums.items()}

    def restore(self, n: int, sums: dict[str, Array]) -> None:
        """Continue from the sums of n draws."""
        asarray = self._sampler.data.backend.asarray
        # Those of the priors stay in host memory, where they are drawn.
        self._sums = {
            name: np.array(values) if "prior" in name else asarray(np.array(values))
            for name, values in sums.items()
        }
        self.n = n


def _squares(factors: DeviceArray, rows: RowCounts) -> DeviceArray:
    """Return the mean over ratings of the squared length of the rated row of a side."""
    lengths: DeviceArray = (factors.astype("float64") ** 2).sum(axis=1)
    return rows.counts.astype("float64") @ lengths / rows.nnz
