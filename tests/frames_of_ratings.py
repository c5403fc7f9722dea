"""Frames as other libraries have them: a stand-in for cuDF's, and a Dask DataFrame of such partitions."""

from __future__ import annotations

import dask.dataframe as dd
import pandas as pd
import pyarrow as pa


class OnGpu(pd.DataFrame):
    """Answers as `cudf.DataFrame` does: with pandas' methods, `to_arrow`, and no way to NumPy by accident."""

    @property
    def _constructor(self):
        return OnGpu

    def to_arrow(self, preserve_index=None):
        assert preserve_index is False, "otherwise cuDF adds its index as a column"
        return pa.Table.from_pandas(pd.DataFrame(self), preserve_index=False)

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a host NumPy array via __array__ is not allowed")

    def __arrow_c_stream__(self, requested_schema=None):
        raise AssertionError("cuDF has none")


def dask_of_gpu(frame, npartitions):
    """Return a Dask DataFrame as dask_cudf makes it: its partitions and its `_meta` are frames of cuDF."""
    parts = dd.from_pandas(frame, npartitions=npartitions, sort=False)
    return parts.map_partitions(OnGpu, meta=OnGpu(frame.iloc[:0]))
