"""What the tasks of a Dask cluster share: its large arrays go to the cluster once."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from distributed import Future

# Bytes from which an array is sent by itself.
_LARGE = 1 << 14


class Shared:
    """An object without its large arrays, as a worker gets it.

    Parameters
    ----------
    pickled : bytes
    """

    def __init__(self, pickled: bytes) -> None:
        self._pickled = pickled

    def whole(self, arrays: Sequence[object]) -> Any:
        """Return the object with its arrays; the same one for all tasks of a process."""
        with _opening:
            if self not in _opened:
                _opened[self] = pickle.loads(self._pickled, buffers=arrays)  # noqa: S301 - our driver's
            return _opened[self]


# What Dask no longer holds goes away with its object.
_opened: WeakKeyDictionary[Shared, Any] = WeakKeyDictionary()
_opening = threading.Lock()


class Sender:
    """Sends one object after the other to a cluster, each without the arrays of the one before.

    Nobody may change an array that was sent.

    Parameters
    ----------
    scatter : callable
        Sends objects to a worker; see `toolkit.engines.Cluster.scatter`.
    """

    def __init__(self, scatter: Callable[[Sequence[object], str | None], list[Future[Any]]]) -> None:
        self._scatter = scatter
        self._sent: list[tuple[object, Future[Any]]] = []

    def send(self, shared: object, worker: str | None, *, anew: bool = False) -> list[Future[Any]]:
        """Return futures of a `Shared` and of the arrays that make it whole.

        Parameters
        ----------
        shared : object
            Pickle can have it.
        worker : str or None
            Who gets it first: the others get it from there.
        anew : bool, default False
            Whether arrays are sent that the cluster has.
        """
        arrays: list[object] = []

        def within(buffer: pickle.PickleBuffer) -> bool:
            view = memoryview(buffer)
            if view.nbytes >= _LARGE:
                arrays.append(view.obj)
            return view.nbytes < _LARGE

        pickled = pickle.dumps(shared, protocol=5, buffer_callback=within)
        known = {id(array): there for array, there in self._sent if not anew and there.status == "finished"}
        new = [array for array in arrays if id(array) not in known]
        head, *sent = self._scatter([Shared(pickled), *new], worker)
        known |= {id(array): there for array, there in zip(new, sent, strict=True)}
        futures = [known[id(array)] for array in arrays]
        self._sent = [*zip(arrays, futures, strict=True)]
        return [head, *futures]
