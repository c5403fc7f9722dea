"""Frame of the suite for samplers: what proposes hyperparameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tune.search.proposer import Proposer
    from tune.spec.search_spec import SearchSpec


class SamplerConformance:
    """What every sampler must do; override `sampler`."""

    def sampler(self, spec: SearchSpec) -> Proposer:
        """Return a sampler that has proposed nothing yet."""
        raise NotImplementedError
