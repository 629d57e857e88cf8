"""The wire format of tasks: golden files, ids, limits and everything that is no task."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from jobq.errors import TaskError, TaskTooLarge
from jobq.task import MESSAGE_LIMIT, Task, check_size, decode_task, message_size, shell_kwargs
from tests.support.tables import table

GOLDEN = (Path(__file__).parent / "golden" / "tasks_v1.jsonl").read_text().splitlines()


@table("line", GOLDEN)
def test_a_message_of_an_existing_producer_is_written_back_byte_for_byte(line):
    assert decode_task(line).encode() == line


@table("line", GOLDEN)
def test_the_id_is_the_hash_that_existing_producers_make(line):
    body = json.loads(line)
    task = Task.new(json.loads(body["kwargs"]), num_retries=body["num_retries"], deterministic=True)
    assert task.encode() == line


def test_a_pushed_command_has_the_bytes_of_the_ancestors_command_line():
    task = Task.new(shell_kwargs('echo "hi <é> & $NAME"', {"NAME": "bob"}), num_retries=2, deterministic=True)
    assert task.encode() == GOLDEN[0]


def test_equal_tasks_have_equal_ids_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.delenv("JOBQ_DETERMINISTIC_IDS", raising=False)
    assert Task.new({"a": 1}).id == Task.new({"a": 1}).id
    monkeypatch.setenv("JOBQ_DETERMINISTIC_IDS", "false")
    assert Task.new({"a": 1}).id != Task.new({"a": 1}).id


def test_an_id_given_by_the_caller_wins():
    assert Task.new({"k": None}, id="custom-id").id == "custom-id"


def test_a_retry_changes_the_retries_and_nothing_else():
    task = decode_task(GOLDEN[0])
    assert task.retried().encode() == GOLDEN[0].replace('"num_retries": 2', '"num_retries": 1')


def test_reading_the_arguments_does_not_let_a_caller_change_the_task():
    task = decode_task(GOLDEN[0])
    task.kwargs["env"]["SECRET"] = "x"
    assert task.encode() == GOLDEN[0]


def test_a_timeout_is_a_field_beside_the_arguments_and_no_part_of_the_id():
    plain = Task.new({"cmd": "true"}, num_retries=1, deterministic=True)
    timed = Task.new({"cmd": "true"}, num_retries=1, deterministic=True, timeout=timedelta(minutes=1.5))
    assert json.loads(timed.encode()) == {**json.loads(plain.encode()), "timeout_seconds": 90.0}
    assert decode_task(timed.encode()).retried().extra == {"timeout_seconds": 90.0}
    with pytest.raises(TaskError, match="longer than nothing"):
        Task.new({}, timeout=timedelta(0))


def test_a_message_of_version_0_is_read():
    text = '{"version": 0, "kwargs": "{\\"cmd\\": \\"true\\"}", "num_retries": 1, "id": "abc"}'
    task = decode_task(text)
    assert (task.id, task.num_retries, task.reply_requested) == ("abc", 1, False)


def test_fields_that_this_version_does_not_know_survive_a_retry():
    line = GOLDEN[1][:-1] + ', "timeout": 5}'
    assert decode_task(line).retried().encode().endswith('"timeout": 5}')


@table(
    ("text", "reason"),
    [
        ("echo hi", "not JSON"),
        ("[]", "must be a JSON object, not list"),
        ("{}", "no field version"),
        ('{"version": 2}', "version 2 is not supported"),
        ('{"version": true}', "version True is not supported"),
        ('{"version": [1]}', "version [1] is not supported"),
        ('{"version": 1}', "no field kwargs"),
        ('{"version": 1, "kwargs": {}, "num_retries": 0}', "kwargs must be str, not dict"),
        ('{"version": 1, "kwargs": "{}", "num_retries": "0"}', "num_retries must be int, not str"),
        ('{"version": 1, "kwargs": "{}", "num_retries": true}', "num_retries must be int, not bool"),
        ('{"version": 1, "kwargs": "{}", "num_retries": 0, "id": "x"}', "no field reply_requested"),
        ('{"version": 1, "reply_requested": false, "kwargs": "{", "num_retries": 0, "id": "x"}', "kwargs is not JSON"),
        ('{"version": 1, "reply_requested": false, "kwargs": "[]", "num_retries": 0, "id": "x"}', "JSON object"),
        ('{"version": 1, "reply_requested": false, "kwargs": "{}", "num_retries": 0, "id": 3}', "id must be str"),
    ],
)
def test_what_is_no_task_is_refused_with_the_reason(text, reason):
    with pytest.raises(TaskError) as caught:
        decode_task(text)
    assert reason in str(caught.value)


def test_arguments_that_json_cannot_hold_are_refused():
    with pytest.raises(TaskError, match="cannot be written as JSON"):
        Task.new({"when": object()})


def test_the_size_is_what_is_sent_with_xml_escaping():
    assert message_size("a<é") == len("a&lt;") + 2


def test_the_limit_is_checked_with_the_size_in_the_error():
    check_size("x" * MESSAGE_LIMIT)
    with pytest.raises(TaskTooLarge, match=f"{MESSAGE_LIMIT + 4} bytes"):
        check_size("x" * MESSAGE_LIMIT + "<")
