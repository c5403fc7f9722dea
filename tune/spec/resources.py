"""The share of a machine that each trial gets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from toolkit.config import Range
from tune.spec.checks import Part, checked

# With a smaller one, hundreds of trials would start on one processor.
_LEAST_SHARE = 0.01


@dataclass(frozen=True)
class Resources(Part):
    """Processors and GPUs of one trial."""

    cpu: Annotated[float, checked(Range(0, 10_000))]
    gpu: Annotated[float, checked(Range(0, 10_000))]

    def problems(self) -> Iterator[str]:
        """Yield what Ray cannot give a trial."""
        if self.cpu == self.gpu == 0:
            yield (
                ": cpu and gpu must not both be 0, since then nothing limits how many trials start at once: "
                "write {cpu: 1, gpu: 0}"
            )
        for name, amount in dataclasses.asdict(self).items():
            if 0 < amount < _LEAST_SHARE:
                yield f".{name} must be 0 or at least {_LEAST_SHARE}, but got {amount:g}"
        if self.gpu > 1 and self.gpu % 1:
            yield f".gpu must be a whole number above 1, but got {self.gpu:g}: only one GPU can be shared"
