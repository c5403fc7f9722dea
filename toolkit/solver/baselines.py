"""What a model has to beat: the mean of the ratings, and mean and biases without factors."""

from __future__ import annotations

from typing import TypedDict

from toolkit.config import WALSConfig
from toolkit.evaluation import HeldOut, HeldOutPairs, Pairs
from toolkit.inputs import checked_type
from toolkit.solver.factors import Factors
from toolkit.solver.trainer import Trainer
from toolkit.solver.training_ratings import TrainingRatings

# The penalties of biases that are tried, and the one that is taken where nothing is there to choose by.
_DAMPINGS, _USUAL = (1.0, 3.0, 8.0, 20.0), 3.0
# After three iterations the RMSE of MovieLens 100K and 1M is within 0.0003 of where it ends.
_ITERATIONS = 3
# A model within this factor of its biases is as good as they are.
_TIE = 1.002


class BaselineErrors(TypedDict):
    """RMSE of the two baselines on some ratings, in rating units."""

    mean_rmse: float
    bias_rmse: float


class Baselines:
    """The two simplest models of some ratings: their mean, and their mean with a bias of each user and item.

    The biases are those of a training of rank 0, with a penalty λ_b that divides the sum of a row's n
    residuals by n + λ_b. It is chosen among 1, 3, 8 and 20 after one iteration, and the best of them trains
    for three.

    Parameters
    ----------
    data : TrainingRatings
        The ratings that both are trained on.
    valid : HeldOut or tuple of arrays, optional
        Ratings to choose the penalty by; as a tuple users, items and ratings, as
        `toolkit.evaluation.pairs_on` gives them.
    damping : float, optional
        The penalty, where it was chosen before; 3 where it is not given and there are no `valid` ratings.

    Attributes
    ----------
    damping : float
        The penalty of the biases.
    mean, bias : Factors
        The two models, on the device of `data`.

    Raises
    ------
    ConfigError
        When `data` is of another class, or `damping` is out of the range of ``bias_regularization``.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> from toolkit import Backend
    >>> from toolkit.evaluation import pairs_on
    >>> from toolkit.solver import Baselines, TrainingData
    >>> ratings, backend = sp.csr_matrix([[1.0, 2.0], [2.0, 3.0]]), Backend.require("numpy")
    >>> baselines = Baselines(TrainingData(ratings, backend=backend), damping=0.001)
    >>> {name: round(error, 3) for name, error in baselines.errors(pairs_on(backend, ratings)).items()}
    {'mean_rmse': 0.707, 'bias_rmse': 0.0}
    """

    def __init__(
        self, data: TrainingRatings, valid: Pairs | HeldOut | None = None, *, damping: float | None = None
    ) -> None:
        self._data = checked_type("data", data, TrainingRatings, "TrainingData(ratings, backend=backend)")  # type: ignore[type-abstract]
        self.mean: Factors = Trainer(data, WALSConfig(factors=0, bias="mean")).factors
        held_out = None if valid is None else self._held_out(valid)
        if damping is None and held_out is not None and held_out.nnz > 0:
            trainer = self._chosen(held_out)
        else:
            trainer = self._begun(_USUAL if damping is None else damping)
        while trainer.iterations < _ITERATIONS:
            trainer.step()
        self.bias: Factors = trainer.factors
        self.damping = float(trainer.config.bias_regularization or 0)

    def errors(self, ratings: Pairs | HeldOut) -> BaselineErrors | None:
        """Return the RMSE of both on some ratings; None when there are none.

        Parameters
        ----------
        ratings : HeldOut or tuple of arrays
            As a tuple users, items and ratings, as `toolkit.evaluation.pairs_on` gives them.
        """
        held_out = self._held_out(ratings)
        mean, bias = held_out.rmse(self.mean), held_out.rmse(self.bias)
        return None if mean is None or bias is None else {"mean_rmse": mean, "bias_rmse": bias}

    def _held_out(self, ratings: Pairs | HeldOut) -> HeldOut:
        return ratings if isinstance(ratings, HeldOut) else HeldOutPairs(self._data.backend, *ratings)

    def _begun(self, damping: float) -> Trainer:
        trainer = Trainer(self._data, WALSConfig(factors=0, bias_regularization=damping))
        trainer.step()
        return trainer

    def _chosen(self, valid: HeldOut) -> Trainer:
        """Return the training of the best penalty; the error has one minimum, so a rise ends the search."""
        begun = map(self._begun, _DAMPINGS)
        best = next(begun)
        least = valid.rmse(best.factors) or 0.0
        for trainer in begun:
            error = valid.rmse(trainer.factors) or 0.0
            if error >= least:
                break
            best, least = trainer, error
        return best


def shortfall(
    error: float | None,
    baselines: BaselineErrors | None,
    *,
    of: str = "The model",
    sampled: bool = False,
) -> str | None:
    """Return a sentence about a model that is not better than its biases alone, or than the mean.

    Parameters
    ----------
    error : float or None
        The RMSE of the model.
    baselines : BaselineErrors or None
        The RMSE of the baselines on the same ratings.
    of : str, default "The model"
        What the sentence calls the model.
    sampled : bool, default False
        Whether it is of a posterior, whose remedies are others.

    Returns
    -------
    str or None
        None for a model that is better or makes no error, and where one of the figures is not known.
    """
    if not error or baselines is None:
        return None
    words = {"biases alone": baselines["bias_rmse"], "the mean of the ratings": baselines["mean_rmse"]}
    lost_to = next(((name, least) for name, least in words.items() if error >= least), None)
    if lost_to is None:
        return None
    name, least = lost_to
    if error < _TIE * least:
        told = f"{of} is no better than {name}, and no worse: these ratings may hold no more"
        return told if sampled else f"{told}, or try less regularization"
    if sampled:
        return (
            f"{of} is no better than {name}: who rated what may say nothing here, so sample without it "
            "(pattern_weight 0), then with fewer factors; or add ratings, or check which columns are user, "
            "item and rating"
        )
    return (
        f"{of} is no better than {name}: raise regularization, take fewer factors, add ratings, or "
        "check which columns are user, item and rating"
    )
