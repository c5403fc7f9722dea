"""Test suites that anybody can run against her own location, executor or sampler; they need pytest.

Subclass a suite in a test file, in a class whose name begins with ``Test``, and override the methods that
raise `NotImplementedError`. pytest then runs every test of the suite.
"""

from tune.conformance.executor import ExecutorConformance
from tune.conformance.location import LocationConformance
from tune.conformance.sampler import SamplerConformance

__all__ = ["ExecutorConformance", "LocationConformance", "SamplerConformance"]
