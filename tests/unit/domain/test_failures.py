"""Whose fault a failed job's end was, and what people are told of it."""

from __future__ import annotations

from jobq.control import Exit
from tests.support.planning import NOW, job, name_of
from tests.support.tables import table
from workforce_operator.domain.failures import FailureClass, classify, describe, last_description


def words(why="crashed", exit_code=1, *error, sequence=0):
    return Exit(job=name_of(sequence), time=NOW, why=why, exit_code=exit_code, error=list(error))


@table(
    ("codes", "kind"),
    [
        (("UserError",), FailureClass.USER),
        (("UserError", "BadArgument"), FailureClass.USER),
        (("UserError", "ImagePullFailure"), FailureClass.IMAGE_PULL),
        (("SystemError", "ContainerRegistryUnreachable"), FailureClass.IMAGE_PULL),
        (("UserError", "QuotaExceeded"), FailureClass.QUOTA),
        (("ClusterCoreQuotaReached",), FailureClass.QUOTA),
        (("SystemError", "NodePreempted"), FailureClass.PREEMPTED),
        (("ServiceError", "Node_Lost"), FailureClass.NODE_LOST),
        (("SystemError",), FailureClass.UNKNOWN),
        ((), FailureClass.UNKNOWN),
    ],
)
def test_azureml_s_codes_tell_the_class_the_most_particular_first(codes, kind):
    assert classify(job(0, "Failed", codes=codes), None) is kind


@table(
    ("why", "exit_code", "kind"),
    [
        ("crashed", 1, FailureClass.USER),
        ("too-many-failures", 1, FailureClass.USER),
        ("preemption", 0, FailureClass.PREEMPTED),
        ("sigterm", 143, FailureClass.PREEMPTED),
    ],
)
def test_the_worker_s_own_words_count_more_than_azureml_s_codes(why, exit_code, kind):
    assert classify(job(0, "Failed", codes=("SystemError", "NodeLost")), words(why, exit_code)) is kind


def test_a_worker_that_saw_nothing_wrong_leaves_it_to_azureml():
    assert classify(job(0, "Failed", codes=("NodeLost",)), words("time-limit", 0)) is FailureClass.NODE_LOST


def test_a_message_is_never_searched_for_a_class():
    assert classify(job(0, "Failed", error="quota exceeded, image pull, node lost"), None) is FailureClass.UNKNOWN


def test_only_what_would_happen_again_anywhere_blames_the_template():
    blamed = {kind for kind in FailureClass if kind.blames_template}
    assert blamed == {FailureClass.USER, FailureClass.IMAGE_PULL, FailureClass.UNKNOWN}


def test_people_are_told_the_class_the_last_lines_and_the_exit_code():
    lines = [f"line {number}" for number in range(9)]
    text = describe(job(0, "Failed", error="it failed"), words("crashed", 3, *lines))
    assert text == "user error: line 4 | line 5 | line 6 | line 7 | line 8 (exit code 3)"


def test_without_last_words_azureml_s_message_is_told():
    assert describe(job(0, "Failed", error="no such image", codes=("ImagePull",)), None) == "image pull: no such image"
    assert describe(job(0, "Failed", error="no such image"), words("crashed", 2)) == (
        "user error: no such image (exit code 2)"
    )


def test_nothing_is_told_of_a_failure_that_nobody_explains():
    assert describe(job(0, "Failed"), None) is None
    assert describe(job(0, "Failed", codes=("NodeLost",)), None) == "node lost"


def test_the_last_failure_that_somebody_explains_is_told():
    failed = [job(2, "Failed"), job(1, "Failed", error="exit 3"), job(0, "Failed", error="exit 4")]
    assert last_description(failed, {}) == "unknown failure: exit 3"
    assert last_description(failed, {name_of(2): words("crashed", 1, "boom", sequence=2)}) == (
        "user error: boom (exit code 1)"
    )


def test_where_nobody_explains_anything_people_are_told_whose_logs_to_look_at():
    failed = [job(1, "Failed"), job(0, "Failed")]
    assert last_description(failed, {}) == f"not told; the logs of {name_of(1)} in the studio may say it"
    assert last_description([], {}) is None


def test_an_endless_error_line_is_cut():
    assert len(describe(job(0, "Failed"), words("crashed", 1, "x" * 5000)) or "") == 1000
