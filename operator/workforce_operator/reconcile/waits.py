"""Since when jobs wait for a node again after they have run: AzureML does not tell when a job lost its node.

Kept in memory. What a process that has just started does not know only makes it more patient.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from workforce_operator.domain.observed import Known, Phase, RegionJobs, Unknown


class Waits:
    """Remembers, by the prefix of a region's jobs, when each one was first seen to wait again."""

    def __init__(self) -> None:
        self._since: dict[str, dict[str, datetime]] = {}

    def seen(self, prefix: str, reading: Known[RegionJobs] | Unknown) -> Mapping[str, datetime]:
        """Since when jobs have been seen to wait again, by name. A region that cannot be read changes nothing."""
        if isinstance(reading, Known):
            before = self._since.pop(prefix, {})
            pending = reading.value.by_phase[Phase.PENDING]
            waiting = {job.name: before.get(job.name, reading.at) for job in pending if job.started is not None}
            if waiting:
                self._since[prefix] = waiting
        return self._since.get(prefix, {})
