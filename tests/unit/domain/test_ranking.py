"""Who leaves first and who is taken back first: classes of loss, and the order within each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.support.planning import job, report, wave
from tests.support.tables import table
from workforce_operator.domain.counting import Count
from workforce_operator.domain.observed import Job, LastReport
from workforce_operator.domain.ranking import Loss, Ranking, by_loss, first_to_leave, take_back_order


class Untouched(Mapping[str, LastReport]):
    """Reports that nobody may look at."""

    def __getitem__(self, name: str) -> LastReport:
        raise AssertionError(f"what {name} reported is looked at")

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("reports are looked at")

    def __len__(self) -> int:
        raise AssertionError("reports are counted")


def said(*reports: LastReport) -> dict[str, LastReport]:
    return {each.job: each for each in reports}


def order(
    count: Count, reports: Mapping[str, LastReport], *, running: bool = True, most: int | None = None
) -> list[int]:
    leaving = first_to_leave(Ranking(count, reports), running=running, most=most)
    return [each.sequence for jobs in leaving.values() for each in jobs]


def back(jobs: list[Job], waves: list, *reports: LastReport) -> list[int]:
    return [each.sequence for each in take_back_order(jobs, waves, said(*reports))]


@table(
    ("state", "reported", "loss"),
    [
        ("Queued", None, Loss.WAITS),
        ("Queued", report(0, busy=1), Loss.WAITS),
        ("Paused", None, Loss.PAUSED),
        ("Paused", report(0, accepting=False), Loss.PAUSED),
        ("Running", None, Loss.SILENT),
        ("Running", report(0, busy=0), Loss.IDLE),
        ("Running", report(0, busy=1), Loss.BUSY),
        ("Running", report(0, busy=4), Loss.BUSY),
        ("Running", report(0, busy=0, accepting=False), Loss.REFUSES),
        ("Running", report(0, busy=2, accepting=False), Loss.REFUSES),
        ("NotResponding", report(0, busy=1), Loss.BUSY),
        ("SomethingNew", None, Loss.SILENT),
    ],
)
def test_what_is_lost_when_a_job_leaves(state: str, reported: LastReport | None, loss: Loss):
    here = job(0, state)
    classes = by_loss([here], {} if reported is None else said(reported))
    assert [each for each, jobs in classes.items() if jobs] == [loss]


def test_the_classes_come_from_the_least_loss_to_the_greatest_whoever_is_in_them():
    assert list(by_loss([], {})) == sorted(Loss)
    ranking = Ranking(Count(running=(job(0), job(1))), said(report(0), report(1, busy=0)))
    assert [loss for loss, _ in ranking.classes()] == sorted(Loss)


def test_all_classes_in_turn():
    here = Count(
        pending=(job(0, "Queued"),),
        paused=(job(1, "Paused"),),
        running=tuple(job(number) for number in range(2, 6)),
    )
    reports = said(report(2, busy=1, task_minutes=5), report(4, busy=0), report(5, accepting=False))
    assert order(here, reports) == [0, 1, 5, 4, 3, 2]
    assert [order(here, reports, most=number) for number in range(7)] == [
        [0, 1, 5, 4, 3, 2][:number] for number in range(7)
    ]


def test_of_jobs_that_never_ran_the_youngest_leaves_first_and_of_equally_old_ones_the_highest_sequence():
    here = Count(
        pending=(
            job(0, "Queued", created=10),
            job(1, "Queued", created=30),
            job(2, "Queued", created=10),
            job(3, "Queued", created=20),
        )
    )
    assert order(here, {}) == [2, 0, 3, 1]


def test_of_busy_workers_the_one_whose_longest_task_is_youngest_leaves_first():
    here = Count(running=tuple(job(number) for number in range(4)))
    reports = said(*(report(number, task_minutes=minutes) for number, minutes in enumerate((7, 90, 2, 7))))
    assert order(here, reports) == [2, 3, 0, 1]


def test_of_busy_workers_one_that_has_just_saved_its_state_leaves_before_one_that_would_lose_more():
    here = Count(running=tuple(job(number) for number in range(4)))
    reports = said(
        report(0, task_minutes=600, saved_minutes=3),
        report(1, task_minutes=10),
        report(2, task_minutes=600),
        report(3, task_minutes=2, saved_minutes=50),  # what an earlier task saved is nothing to this one
    )
    assert order(here, reports) == [3, 0, 1, 2]


def test_a_busy_worker_that_does_not_say_since_when_leaves_last():
    here = Count(running=(job(0), job(1), job(2)))
    assert order(here, said(report(0, task_minutes=600), report(1), report(2, task_minutes=1))) == [2, 0, 1]


@table(
    "reports",
    [{}, said(*(report(number, busy=0) for number in range(3))), said(*(report(n, accepting=False) for n in range(3)))],
    ids=["silent", "idle", "taking no tasks"],
)
def test_where_nothing_else_tells_them_apart_the_highest_sequence_leaves_first(reports: dict[str, LastReport]):
    assert order(Count(running=(job(0), job(1), job(2))), reports) == [2, 1, 0]
    assert order(Count(paused=(job(0, "Paused"), job(1, "Paused"))), reports) == [1, 0]


def test_without_a_control_channel_running_ones_never_leave():
    here = Count(pending=(job(0, "Queued"),), paused=(job(1, "Paused"),), running=(job(2),))
    assert order(here, Untouched(), running=False) == [0, 1]
    assert order(here, Untouched(), running=False, most=3) == [0, 1]


def test_what_running_workers_lose_is_not_looked_at_while_enough_others_can_leave():
    here = Count(pending=(job(0, "Queued"), job(1, "Queued")), paused=(job(2, "Paused"),), running=(job(3),))
    assert order(here, Untouched(), most=3) == [1, 0, 2]


def test_who_has_most_to_finish_is_taken_back_first():
    draining = [job(number) for number in range(4)]
    reports = (report(0, busy=0), report(1, task_minutes=9), report(2, task_minutes=60))
    assert back(draining, [wave(0, 1, 2, 3)], *reports) == [2, 1, 3, 0]


def test_running_workers_of_the_youngest_wave_are_taken_back_first_and_those_without_a_process_last():
    draining = [job(0), job(1), job(2, "Queued"), job(3)]
    waves = [wave(0, revision=5), wave(1, 2, revision=9), wave(3, revision=7)]
    assert back(draining, waves) == [1, 3, 0, 2]


def test_the_order_does_not_hang_on_the_order_of_the_jobs():
    reports = said(report(1, busy=0), report(2, task_minutes=5), report(3, task_minutes=5))
    jobs = [job(number) for number in range(5)]
    forwards, backwards = (order(Count(running=tuple(each)), reports) for each in (jobs, jobs[::-1]))
    assert forwards == backwards == [1, 4, 0, 3, 2]
    there, again = (back(each, [wave(*range(5))], *reports.values()) for each in (jobs, jobs[::-1]))
    assert there == again == forwards[::-1]
