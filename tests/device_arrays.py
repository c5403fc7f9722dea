"""Arrays of the stand-in for a GPU: no more permissive than those of CuPy 14.

They are none of NumPy's. As with CuPy, NumPy cannot read them, no operation mixes them with arrays of the
host, reductions return arrays without axes, and text and objects have no type. Memory that was not written
holds NaN. An index that is out of bounds, which CuPy wraps in silence, is an error.
"""

from __future__ import annotations

import numpy as np

# The pool that counts the arrays.
POOL = [None]
# Methods of CuPy's arrays that are the same as NumPy's.
METHODS = {
    *("all", "any", "argmax", "argmin", "argsort", "astype", "clip", "copy", "cumsum", "dot", "max", "mean"),
    *("min", "nonzero", "ravel", "repeat", "reshape", "squeeze", "std", "sum", "take", "trace", "transpose"),
    *("var", "view"),
}
PROPERTIES = {"dtype", "flags", "itemsize", "nbytes", "ndim", "shape", "size", "strides"}


def refused(text, kind=TypeError):
    """Return the error of what CuPy refuses."""
    return kind(f"{text} (as CuPy says)")


def to_device(found):
    """Return what a function of NumPy returned, on the device: numbers become arrays without axes."""
    if isinstance(found, tuple):
        parts = [to_device(each) for each in found]
        return type(found)(*parts) if hasattr(found, "_fields") else tuple(parts)
    if isinstance(found, (np.ndarray, np.generic)):
        return DeviceArray(np.asarray(found))
    return found


def to_host(arg, index=False):
    """Return an argument for a function of NumPy; arrays of the host are refused but as an index."""
    if isinstance(arg, DeviceArray):
        return host_of(arg)
    if isinstance(arg, (list, tuple)):
        return type(arg)(to_host(each, index) for each in arg)
    if isinstance(arg, np.ndarray) and not index:
        raise refused("Unsupported type <class 'numpy.ndarray'>")
    return arg


def host_of(array):
    """Return the memory of an array of the device."""
    return array._memory


def _waits():
    POOL[0].waits += 1


class DeviceArray:
    """As `cupy.ndarray`."""

    __hash__ = None
    __array_priority__ = 100

    def __init__(self, memory):
        self._memory = memory
        POOL[0].take(self)

    def __getattr__(self, name):
        if name in PROPERTIES:
            return getattr(self._memory, name)
        if name not in METHODS:
            raise AttributeError(f"arrays of the stand-in have no {name}")
        method = getattr(self._memory, name)

        def on_device(*args, **kwargs):
            if name == "nonzero":
                _waits()
            if name == "repeat" and any(isinstance(arg, DeviceArray) for arg in args):
                raise refused("`repeats` of an array of the device is not supported")
            found = method(*map(to_host, args), **{key: to_host(arg) for key, arg in kwargs.items()})
            return self if found is self._memory else to_device(found)

        return on_device

    @property
    def T(self):  # noqa: N802 - its name
        return self.transpose()

    def fill(self, value):
        self._memory.fill(value)

    # ------------------------------------------------------------------------------------ reading

    def get(self):
        _waits()
        return np.array(self._memory)

    def item(self):
        return self.get().item()

    def tolist(self):
        return self.get().tolist()

    def __array__(self, dtype=None, copy=None):
        raise refused("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __bool__(self):
        return bool(self.get())

    def __int__(self):
        return int(self.get())

    def __float__(self):
        return float(self.get())

    def __index__(self):
        return self.get().__index__()

    def __repr__(self):
        return f"on the device: {self._memory!r}"

    def __len__(self):
        return len(self._memory)

    def __iter__(self):
        return (self[at] for at in range(len(self)))

    # ------------------------------------------------------------------------------------ indices

    def __getitem__(self, index):
        at = to_host(index, index=True)
        if any(
            getattr(each, "dtype", np.intp) == np.bool_ for each in (at if isinstance(at, tuple) else (at,))
        ):
            _waits()
        return to_device(self._memory[at])

    def __setitem__(self, index, value):
        at = to_host(index, index=True)
        # Which of several numbers for one place is kept depends on the threads.
        if isinstance(at, np.ndarray) and at.dtype != np.bool_ and len(np.unique(at)) < at.size:
            raise refused("a place is written twice", ValueError)
        self._memory[at] = to_host(value)

    # ------------------------------------------------------------------------------------ operations

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        if method != "__call__":
            raise refused(f"{ufunc.__name__}.{method}")
        if out is not None:
            kwargs["out"] = to_host(out)
        return to_device(getattr(ufunc, method)(*map(to_host, inputs), **kwargs))

    def __array_function__(self, function, _, args, kwargs):
        return to_device(function(*map(to_host, args), **{key: to_host(arg) for key, arg in kwargs.items()}))


def _operator(name):
    def operate(self, *others):
        found = getattr(self._memory, name)(*map(to_host, others))
        if found is NotImplemented:
            return NotImplemented
        return self if found is self._memory else to_device(found)

    return operate


_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")
for _name in (
    *(f"__{prefix}{word}__" for word in _BINARY for prefix in ("", "r", "i")),
    *(
        "__lt__",
        "__le__",
        "__gt__",
        "__ge__",
        "__eq__",
        "__ne__",
        "__neg__",
        "__pos__",
        "__abs__",
        "__invert__",
    ),
):
    setattr(DeviceArray, _name, _operator(_name))
