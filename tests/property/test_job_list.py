"""Pages of the local job list while jobs are hired (AzureML REST reference, Jobs - List)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.job_records import Record, newest
from workforce_local.azureml.listing import Filter, page


@given(existing=st.integers(0, 30), size=st.integers(1, 7), arrivals=st.lists(st.integers(0, 3), max_size=40))
def test_following_the_links_gives_every_job_exactly_once_whatever_is_hired_meanwhile(existing, size, arrivals):
    jobs = [Record(number) for number in range(1, existing + 1)]
    wanted = [job.sequence for job in reversed(jobs)]
    seen, query = [], {}
    for new in (*arrivals, *([0] * (existing + 1))):
        found = page(newest(jobs), Filter.read(query), size)
        seen += [job.sequence for job in found.items]
        jobs += [Record(len(jobs) + 1 + number) for number in range(new)]
        if found.skip is None:
            break
        query = {"$skip": found.skip}
    assert seen == wanted
