"""Kernels of our own for the row solver and the metrics, in CUDA C++; opt-in until they have been measured.

`shape` decides how a rank is cut into tiles, `plan` how rows are cut into launches, `kernels` compiles the
``.cu`` files through CuPy, and `solver` does with them what `toolkit.solver.normal.solve_rows` and
`toolkit.evaluation.metrics` do with array operations, which stay the reference.
"""
