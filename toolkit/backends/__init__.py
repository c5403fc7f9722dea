"""An array module, and the operations on ratings that the solver asks of it."""
