"""What a shell task's arguments mean."""

import pytest

from jobq.errors import TaskError
from jobq.task import Task, shell_kwargs
from tests.support.tables import table
from workforce_agent.shell import shell_command


def read(environ=None, **kwargs):
    return shell_command(Task.new(kwargs, id="t1"), queue_name="q", environ=environ or {}, checkpoint_file="/f")


def test_a_task_sees_its_own_variables_its_id_and_its_queue():
    command = read({"PATH": "/bin", "A": "agent"}, **shell_kwargs("true", {"A": "task", "JOBQ_TASK_ID": "other"}))
    assert command.command == "true"
    assert command.env == {
        "PATH": "/bin", "A": "task", "JOBQ_TASK_ID": "t1", "JOBQ_QUEUE_NAME": "q", "JOBQ_CHECKPOINT_FILE": "/f",
        "PYTHONUNBUFFERED": "1",
    }  # fmt: skip


def test_what_the_ancestors_workers_add_on_the_way_is_tolerated():
    assert read(cmd="true", _job_id="x", env=None, cwd="/").cwd == "/"


@table(
    ("kwargs", "reason"),
    [
        ({}, "needs cmd"),
        ({"cmd": 3}, "needs cmd"),
        ({"cmd": "true", "x": 1, "y": 2}, "unknown arguments of a shell task: x, y"),
        ({"cmd": "true", "bg_dirsync_to": "/x"}, "bg_dirsync_to is not supported"),
        ({"cmd": "true", "env": []}, "env must be an object"),
        ({"cmd": "true", "env": {"A=B": "x"}}, "'A=B'"),
        ({"cmd": "true", "cwd": 1}, "cwd must be a string"),
    ],
)
def test_other_arguments_are_refused_by_name(kwargs, reason):
    with pytest.raises(TaskError) as caught:
        read(**kwargs)
    assert reason in str(caught.value)


def test_values_that_are_no_strings_become_strings():
    assert read(cmd="true", env={"N": 3}).env["N"] == "3"
