"""What ratings are made up like: sizes, numbers of ratings, scale, and strength of biases and factors.

`RECIPES` has a recipe for each kind of ratings on which a model must hold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from toolkit.arrays import Array
from toolkit.synth.counts import TOP_ITEM, USER_SIGMA


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A description of made-up ratings. What is not given is as in MovieLens 20M.

    A planted score is the sum of the mean, a bias of the user, a bias of the item, and the product of their
    factors; each is normal. Noise is added, and the sum is rounded to a grid and clipped to its ends. At last
    it is brought to the unit of the file: rating × `times` + `plus`.

    Attributes
    ----------
    ratings, users, items : int
        Numbers of ratings, users and items.
    rank : int
        Length of the planted factors.
    mean, user_bias, item_bias, product, noise : float
        The mean of the scores, and standard deviations of what is added to it.
    lowest, highest : float
        The ends of the scale.
    steps : int
        Steps of the grid in one unit: 2 for half stars.
    times, plus : float
        Factor and shift of the unit.
    user_sigma : float
        Standard deviation of the logarithm of the users' numbers of ratings, above a least number.
    top_item : float
        Share of the users who rate the most popular item.
    item_tail : float
        Exponent of the items' numbers of ratings: nearer to 0 they are more alike.
    heavy_user, heavy_item : float
        Share of all ratings that one user, or one item, has; 0 where nobody stands out.
    """

    ratings: int
    users: int
    items: int
    rank: int = 8
    # With noise of 0.8, ratings deviate by 1.05 stars as in MovieLens 20M.
    mean: float = 3.58
    user_bias: float = 0.43
    item_bias: float = 0.45
    product: float = 0.40
    noise: float = 0.8
    lowest: float = 0.5
    highest: float = 5.0
    steps: int = 2
    times: float = 1.0
    plus: float = 0.0
    user_sigma: float = USER_SIGMA
    top_item: float = TOP_ITEM
    item_tail: float = 1.0
    heavy_user: float = 0.0
    heavy_item: float = 0.0

    def levels(self) -> Array:
        """Return all ratings of the scale before they are brought to the unit of the file, ascending."""
        return np.arange(round(self.lowest * self.steps), round(self.highest * self.steps) + 1) / self.steps


# A line for the sizes and numbers of ratings, a line for biases, factors and noise, a line for the scale.
# fmt: off
_STARS = Recipe(ratings=30_000, users=1_000, items=1_500, lowest=1, steps=1)
_ML_100K = replace(
    _STARS, ratings=100_000, users=943, items=1_682,
    rank=6, mean=3.57, user_bias=0.45, item_bias=0.54, product=0.43, noise=0.87,
)
_EPINIONS = replace(
    _STARS, ratings=912_441, users=22_164, items=296_277, user_sigma=1.9, top_item=0.05,
    mean=4.35, user_bias=0.55, item_bias=0.6, product=0.1, noise=1.25,
)
RECIPES = {
    "ml-100k": _ML_100K,
    "ml-100k-x20": replace(_ML_100K, times=20),
    "ml-100k-x5-minus-15": replace(_ML_100K, times=5, plus=-15),
    "ml-100k-x0.2": replace(_ML_100K, times=0.2),
    "ml-100k-plus-95": replace(_ML_100K, plus=95),
    "jester": Recipe(
        ratings=1_200_000, users=25_000, items=100, user_sigma=0.15, item_tail=0.1,
        rank=4, mean=0.9, user_bias=2.3, item_bias=1.4, product=2.2, noise=4.05,
        lowest=-10, highest=10, steps=100,
    ),
    "epinions": _EPINIONS,
    "epinions-small": replace(_EPINIONS, ratings=114_055, users=2_770, items=37_035),
    "tens": replace(
        _STARS, mean=8.95, user_bias=0.9, item_bias=0.9, product=0.7, noise=1.6,
        highest=10,
    ),
    "likes": replace(
        _STARS, rank=4, mean=0.6, user_bias=0.2, item_bias=0.25, product=0.25, noise=0.4,
        lowest=0, highest=1,
    ),
    "tiny": replace(_STARS, ratings=30, users=6, items=10),
    "heavy-user": replace(_STARS, items=12_000, heavy_user=1 / 3),
    "heavy-item": replace(_STARS, users=12_000, items=1_000, heavy_item=1 / 3),
}
# fmt: on
