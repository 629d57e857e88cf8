"""The contract of ``ports.azure.WorkerJobs``: the fake and the ARM adapter keep the same promises."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.contract.operator_ports.conftest import JobsBench, body_for, name_of, place
from workforce_operator.domain.errors import Fenced, Missing, SpecError
from workforce_operator.domain.observed import Outcome, Phase
from workforce_operator.ports.azure import Listing

HERE = place()


async def test_a_hired_job_is_read_back_as_ours_with_its_sequence_and_template(jobs_bench: JobsBench):
    hired = await jobs_bench.jobs.hire(HERE, name_of(HERE, 3), 3, body_for(HERE))
    read = await jobs_bench.jobs.get(HERE, name_of(HERE, 3))
    assert hired.name == name_of(HERE, 3)
    assert read is not None
    assert (read.name, read.sequence, read.template_hash) == (hired.name, 3, "v1:test")
    assert read.phase in {Phase.PENDING, Phase.RUNNING}
    assert read.created is not None


async def test_a_name_that_was_never_used_is_none(jobs_bench: JobsBench):
    assert await jobs_bench.jobs.get(HERE, name_of(HERE, 0)) is None


async def test_hiring_twice_under_one_name_makes_one_job(jobs_bench: JobsBench):
    first = await jobs_bench.jobs.hire(HERE, name_of(HERE, 1), 1, body_for(HERE))
    again = await jobs_bench.jobs.hire(HERE, name_of(HERE, 1), 1, body_for(HERE))
    assert again.name == first.name
    assert jobs_bench.stored() == [first.name]


async def test_hiring_with_another_template_under_a_used_name_returns_the_job_that_is_there(jobs_bench: JobsBench):
    name = name_of(HERE, 1)
    await jobs_bench.jobs.hire(HERE, name, 1, body_for(HERE))
    again = await jobs_bench.jobs.hire(HERE, name, 1, body_for(HERE, "echo other"))
    assert again.name == name
    assert jobs_bench.stored() == [name]


async def test_hiring_under_the_name_of_an_ended_job_returns_the_ended_job(jobs_bench: JobsBench):
    name = name_of(HERE, 1)
    await jobs_bench.jobs.hire(HERE, name, 1, body_for(HERE))
    await jobs_bench.jobs.cancel(HERE, name)
    await jobs_bench.until(HERE, name, Phase.ENDED)
    assert (await jobs_bench.jobs.hire(HERE, name, 1, body_for(HERE))).phase is Phase.ENDED


async def test_a_foreign_job_under_our_name_is_refused_and_left_alone(jobs_bench: JobsBench):
    name = name_of(HERE, 5)
    await jobs_bench.add_foreign(HERE, name)
    with pytest.raises(SpecError) as read:
        await jobs_bench.jobs.get(HERE, name)
    with pytest.raises(SpecError):
        await jobs_bench.jobs.hire(HERE, name, 5, body_for(HERE))
    assert read.value.reason == "NameTaken"
    assert jobs_bench.stored() == [name]


async def test_a_cohort_s_list_shows_its_jobs_and_no_others(jobs_bench: JobsBench):
    other = place(name="other")
    for sequence in (0, 7, 255, 256):
        await jobs_bench.jobs.hire(HERE, name_of(HERE, sequence), sequence, body_for(HERE))
    await jobs_bench.jobs.hire(other, name_of(other, 0), 0, body_for(other))
    await jobs_bench.add_foreign(HERE, name_of(HERE, 9))
    await jobs_bench.add_foreign(HERE, "somebody-else")

    first = await jobs_bench.jobs.list_cohorts(HERE, frozenset({0}))
    both = await jobs_bench.jobs.list_cohorts(HERE, frozenset({0, 1}))
    assert sorted(job.sequence for job in first) == [0, 7, 255]
    assert sorted(job.sequence for job in both) == [0, 7, 255, 256]
    assert await jobs_bench.jobs.list_cohorts(HERE, frozenset()) == ()


async def test_the_owned_list_shows_every_cohort_and_only_this_region(jobs_bench: JobsBench):
    second = place("second")
    for sequence in (0, 300, 700):
        await jobs_bench.jobs.hire(HERE, name_of(HERE, sequence), sequence, body_for(HERE))
    await jobs_bench.jobs.hire(second, name_of(second, 1), 1, body_for(second))
    assert sorted(job.sequence for job in await jobs_bench.jobs.list_owned(HERE)) == [0, 300, 700]


async def test_the_list_of_an_installation_shows_the_jobs_of_all_its_workforces_and_no_others(jobs_bench: JobsBench):
    second = place(name="second")
    for where, sequence in ((HERE, 0), (HERE, 300), (second, 7)):
        await jobs_bench.jobs.hire(where, name_of(where, sequence), sequence, body_for(where))
    elsewhere = replace(place(name="third"), owner="a7x2m9qc/default/third", installation_id="a7x2m9qc")
    await jobs_bench.jobs.hire(elsewhere, name_of(elsewhere, 1), 1, body_for(elsewhere))
    await jobs_bench.add_foreign(HERE, name_of(HERE, 9))
    listing = await jobs_bench.jobs.list_installation(HERE, most_pages=2)
    assert listing is not None
    shown = {whose: sorted(job.sequence for job in jobs) for whose, jobs in listing.jobs.items()}
    assert shown == {(HERE.owner, HERE.prefix): [0, 300], (second.owner, second.prefix): [7]}
    assert listing.pages == 2


async def test_the_list_of_an_installation_is_given_up_where_it_has_more_pages_than_it_may(jobs_bench: JobsBench):
    for sequence in range(3):
        await jobs_bench.jobs.hire(HERE, name_of(HERE, sequence), sequence, body_for(HERE))
    assert await jobs_bench.jobs.list_installation(HERE, most_pages=1) is None


async def test_the_list_of_an_installation_without_jobs_is_one_empty_page(jobs_bench: JobsBench):
    assert await jobs_bench.jobs.list_installation(HERE, most_pages=1) == Listing({}, 1)


async def test_lists_show_ended_jobs_too(jobs_bench: JobsBench):
    name = name_of(HERE, 0)
    await jobs_bench.jobs.hire(HERE, name, 0, body_for(HERE))
    await jobs_bench.jobs.cancel(HERE, name)
    await jobs_bench.until(HERE, name, Phase.ENDED)
    (job,) = await jobs_bench.jobs.list_cohorts(HERE, frozenset({0}))
    assert (job.phase, job.outcome) == (Phase.ENDED, Outcome.CANCELED)


async def test_a_running_job_tells_when_it_started_and_when_it_ended(jobs_bench: JobsBench):
    name = name_of(HERE, 0)
    await jobs_bench.jobs.hire(HERE, name, 0, body_for(HERE))
    running = await jobs_bench.until(HERE, name, Phase.RUNNING)
    assert running.started is not None
    assert running.ended is None
    await jobs_bench.jobs.cancel(HERE, name)
    ended = await jobs_bench.until(HERE, name, Phase.ENDED)
    assert ended.ended is not None
    assert ended.ended >= running.started


async def test_cancelling_is_idempotent_for_ending_ended_and_missing_jobs(jobs_bench: JobsBench):
    name = name_of(HERE, 0)
    await jobs_bench.jobs.hire(HERE, name, 0, body_for(HERE))
    await jobs_bench.jobs.cancel(HERE, name)
    await jobs_bench.jobs.cancel(HERE, name)
    await jobs_bench.until(HERE, name, Phase.ENDED)
    await jobs_bench.jobs.cancel(HERE, name)
    await jobs_bench.jobs.cancel(HERE, name_of(HERE, 99))


async def test_a_workspace_that_is_not_there_is_missing_for_every_method_and_never_empty(jobs_bench: JobsBench):
    nowhere = place(workspace="ws-nowhere")
    for attempt in (
        jobs_bench.jobs.list_cohorts(nowhere, frozenset({0})),
        jobs_bench.jobs.list_owned(nowhere),
        jobs_bench.jobs.list_installation(nowhere, most_pages=9),
        jobs_bench.jobs.get(nowhere, name_of(nowhere, 0)),
        jobs_bench.jobs.hire(nowhere, name_of(nowhere, 0), 0, body_for(nowhere)),
        jobs_bench.jobs.cancel(nowhere, name_of(nowhere, 0)),
    ):
        with pytest.raises(Missing):
            await attempt


async def test_without_the_lease_nothing_is_written_and_everything_can_be_read(jobs_bench: JobsBench):
    name = name_of(HERE, 0)
    jobs_bench.guard.held = False
    with pytest.raises(Fenced):
        await jobs_bench.jobs.hire(HERE, name, 0, body_for(HERE))
    with pytest.raises(Fenced):
        await jobs_bench.jobs.cancel(HERE, name)
    assert await jobs_bench.jobs.get(HERE, name) is None
    assert await jobs_bench.jobs.list_owned(HERE) == ()
    assert jobs_bench.stored() == []


async def test_a_paused_job_that_is_resumed_waits_and_runs_again_under_its_name(jobs_bench: JobsBench):
    name = await jobs_bench.paused(HERE, 1)
    assert await jobs_bench.jobs.resume(HERE, name)
    await jobs_bench.until(HERE, name, Phase.RUNNING)
    assert jobs_bench.stored() == [name]


async def test_resuming_what_is_not_paused_or_not_there_changes_nothing(jobs_bench: JobsBench):
    name = name_of(HERE, 1)
    await jobs_bench.jobs.hire(HERE, name, 1, body_for(HERE))
    assert await jobs_bench.jobs.resume(HERE, name)
    assert await jobs_bench.jobs.resume(HERE, name_of(HERE, 2))
    job = await jobs_bench.jobs.get(HERE, name)
    assert job is not None
    assert job.phase in {Phase.PENDING, Phase.RUNNING}


async def test_a_job_that_has_used_up_its_execution_time_is_told_and_stays_paused(jobs_bench: JobsBench):
    name = await jobs_bench.paused(HERE, 1, used_up=True)
    assert not await jobs_bench.jobs.resume(HERE, name)
    job = await jobs_bench.jobs.get(HERE, name)
    assert job is not None
    assert job.phase is Phase.PAUSED
    await jobs_bench.jobs.cancel(HERE, name)
    await jobs_bench.until(HERE, name, Phase.ENDED)


async def test_nobody_is_resumed_without_the_lease(jobs_bench: JobsBench):
    name = await jobs_bench.paused(HERE, 1)
    jobs_bench.guard.held = False
    with pytest.raises(Fenced):
        await jobs_bench.jobs.resume(HERE, name)
    jobs_bench.guard.held = True
    job = await jobs_bench.jobs.get(HERE, name)
    assert job is not None
    assert job.phase is Phase.PAUSED
