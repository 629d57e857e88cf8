"""The cap over all regions holds however many workers stay and leave, and wherever places are free."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.planning import desired, entry, hires, job, jobs, ledger, observed, regions, wave, with_tasks
from workforce_operator.domain.plan import plan

NUMBERS = st.integers(min_value=0, max_value=6)


@given(
    most=st.integers(min_value=0, max_value=20),
    there=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=4),
)
def test_no_hire_takes_all_regions_together_over_the_cap(most, there):
    """Rule 2: regions with so many workers that stay, that leave, and places that are free."""
    names = [f"r{number}" for number in range(len(there))]
    entries, readings, limits, live = {}, {}, {}, 0
    for name, (staying, going, free) in zip(names, there, strict=True):
        live += staying + going
        gone = (wave(*range(staying, staying + going), mode="Checkpoint"),) if going else ()
        entries[name] = entry(staying + going, name, filled=staying, share=staying + free, waves=gone)
        readings[name] = jobs(*(job(number, region=name, started=50) for number in range(staying + going)))
        limits[name] = staying + going + free
    scaling = {"policy": "TasksPerReplica", "minReplicas": most, "maxReplicas": most}
    wanted = desired(replicas=None, autoscaling=scaling, drain={"mode": "Checkpoint"}, regions=regions(**limits))
    answer = plan(wanted, with_tasks(observed(**readings), 1000), ledger(**entries))
    assert live + len(hires(answer)) <= max(most, live)
