"""Dead letters: the reason is there, the task is unchanged, and the size limit holds."""

import json

from jobq.dead_letter import Failure, decode_dead_letter, encode_dead_letter, encode_malformed
from jobq.task import MESSAGE_LIMIT, Task, decode_task, message_size, shell_kwargs
from tests.support.tables import table

FAILURE = Failure(error="exit code 3", exit_code=3, last_lines=["a", "b"], attempts=2, worker="w1")


def a_task(command="exit 3", **options):
    return Task.new(shell_kwargs(command), deterministic=True, **options)


def test_a_dead_letter_carries_why_and_the_task_unchanged():
    task = a_task()
    letter = decode_dead_letter(encode_dead_letter(task, FAILURE))
    assert letter.task == task
    assert letter.failure == FAILURE


def test_a_reader_of_the_plain_format_can_read_a_dead_letter():
    text = encode_dead_letter(a_task(), FAILURE)
    assert text.startswith(a_task().encode()[:-1])
    assert decode_task(text).id == a_task().id


def test_a_second_failure_replaces_the_first():
    once = decode_task(encode_dead_letter(a_task(), FAILURE))
    twice = encode_dead_letter(once, FAILURE.model_copy(update={"error": "later"}))
    failure = decode_dead_letter(twice).failure
    assert failure is not None
    assert failure.error == "later"


def test_output_lines_give_way_to_the_size_limit():
    task = a_task("x" * (MESSAGE_LIMIT - 2000))
    text = encode_dead_letter(task, FAILURE.model_copy(update={"last_lines": ["y" * 900] * 40}))
    letter = decode_dead_letter(text)
    assert message_size(text) <= MESSAGE_LIMIT
    assert letter.failure is not None
    assert letter.failure.error == "exit code 3"
    assert letter.failure.last_lines == []


def test_a_task_of_the_full_size_is_dead_lettered_without_a_reason():
    task = a_task()
    padding = MESSAGE_LIMIT - message_size(task.encode())
    task = a_task("exit 3".ljust(6 + padding, "x"))
    text = encode_dead_letter(task, FAILURE)
    assert message_size(text) <= MESSAGE_LIMIT
    assert decode_dead_letter(text).failure is None


def test_a_malformed_message_is_kept_beside_the_reason():
    letter = decode_dead_letter(encode_malformed("not a task", FAILURE))
    assert (letter.task, letter.malformed, letter.failure) == (None, "not a task", FAILURE)


def test_a_malformed_message_that_fills_the_limit_is_kept_without_a_reason():
    text = '"' * MESSAGE_LIMIT
    assert encode_malformed(text, FAILURE) == text


@table("failure", [None, 3, {"error": 5}, {"attempts": "many"}])
def test_a_dead_letter_of_somebody_else_is_read_without_a_reason(failure):
    body = json.loads(a_task().encode()) | {"failure": failure}
    letter = decode_dead_letter(json.dumps(body))
    assert letter.id == a_task().id
    assert letter.failure is None


def test_anything_at_all_can_be_listed():
    assert decode_dead_letter("\x00").malformed == "\x00"
    assert decode_dead_letter("[1]").malformed == "[1]"
