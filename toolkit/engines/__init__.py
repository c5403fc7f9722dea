"""Where a list of tasks runs: on threads of this process, or on the workers of a Dask cluster."""
