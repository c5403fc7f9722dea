"""How much device memory a training needs."""

from __future__ import annotations

from toolkit.config import WALSConfig


def device_bytes(
    config: WALSConfig, n_users: int, n_items: int, *, patience: int = 0, itemsize: int = 4
) -> int:
    """Return a lower bound of the device memory that a training takes beside its ratings, in bytes.

    The bound is the size of the arrays that exist together at the fuller of two moments of an iteration.
    U and I are the numbers of users and items, k is the number of factors, s is `itemsize`, and m is k + 1
    with ``bias="full"`` and k otherwise.

    These arrays exist throughout:

    ====================================  =====================  ========================
    factors and biases, users and items   (U + I)(k + 1) s
    weights of the items                  I s
    the users before this iteration       U (k + 1) s            momentum, from iteration 3
    pattern factors of both sides         (U + I) k s            pattern, from iteration 2
    the items of the iteration kept       I (k + 1) s            patience, from iteration 2
    ====================================  =====================  ========================

    While the users are solved, three more exist (for the items, U and I change places): the solution, U m s;
    the pattern factors that pull the users, min(U, I + 1) k s; and the larger one of

    - the padded table of the other side, (I + 1)(m + 1 or m + 2) s, which holds its offsets and for the users
      also its weights, with the matrix of one row and the solver's copy of it, 2 m² s;
    - the factors and biases that are cut out of the solution, U (k + 1) s, or U s without a bias column.

    From iteration 3 on, momentum makes another copy of the users, U (k + 1) s, before the items are solved.

    What depends on the ratings is left out: batches of more than a row, the 65,536 pairs at a time whose
    predictions are compared, all users' scores of a ranking. They are made to fit into the rest.

    Parameters
    ----------
    config : WALSConfig
        Hyperparameters of the training.
    n_users, n_items : int
        Rows of the factors.
    patience : int, default 0
        If positive, the best iteration is kept beside the last, as
        `tune.executors.trial_worker.TrialSettings` says.
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
        pull = itemsize * min(n, n_others + 1) * k * pattern
        return itemsize * n * m + pull + max(table, cut)

    both = user_pattern + item_pattern
    return max(
        held + best + both + solving(n_users, n_items, m + 2),
        held + users * momentum + user_pattern + item_pattern * third + solving(n_items, n_users, m + 1),
    )
