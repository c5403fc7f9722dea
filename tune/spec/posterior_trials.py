"""What a specification may not ask of trials that sample a posterior."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

from tune.spec.space import Domain

# Hyperparameters that change nothing in a posterior: the priors, which are sampled, take their place.
_UNUSED = ("bias_regularization", "momentum")


def posterior_problems(domain: Callable[[str], Domain], searched: Container[str]) -> Iterator[str]:
    """Yield a line for each hyperparameter that no posterior has, or that changes nothing in one.

    Parameters
    ----------
    domain : callable
        Returns the domain of a hyperparameter.
    searched : container of str
        The hyperparameters that the space has.
    """
    if domain("unobserved_weight").bounds[1] > 0:
        yield (
            ".space.unobserved_weight must be 0 with `model: posterior`: a pair that nobody rated is no "
            "observation; pattern_weight has who rated what"
        )
    if domain("observed_weight").bounds[0] == 0:
        yield (
            ".space.observed_weight must be above 0 with `model: posterior`: it is the precision of a rating"
        )
    if domain("factors").bounds[0] == 0 and domain("bias").bounds[1] != "full":
        yield (
            ".space.factors must be above 0 without fitted biases: with `model: posterior`, there is nothing "
            "to draw"
        )
    for name in _UNUSED:
        if name in searched:
            yield f".space.{name} changes nothing with `model: posterior`, which samples priors: leave it out"
