"""The solver's inner loops as machine code for this processor, by Numba; NumPy does the same without it."""
