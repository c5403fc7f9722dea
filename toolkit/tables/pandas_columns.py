"""Ids as columns of pandas: integers, or texts that stay in Arrow's memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.arrays import IntArray
from toolkit.tables.arrow import DistinctIds, array_of

TEXT_DTYPE = "string[pyarrow]"


def ids_for_pandas(distinct: DistinctIds, codes: IntArray) -> Any:
    """Return the id of each row as pandas has it: an array of int64, or of the type ``string[pyarrow]``.

    Parameters
    ----------
    distinct : array of int64, or pyarrow.StringArray or LargeStringArray, shape (m,)
        Ids.
    codes : array of int, shape (n,)
        Position of the id of each row.
    """
    if isinstance(distinct, np.ndarray):
        return distinct[codes]
    import pandas as pd
    import pyarrow as pa

    texts = distinct.cast(pa.large_string()).take(array_of(codes))
    return pd.array(pa.chunked_array([texts]), dtype=TEXT_DTYPE)
