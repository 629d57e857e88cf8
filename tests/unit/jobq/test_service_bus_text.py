"""Dead letters of Service Bus: reason and description there, one text here."""

from datetime import UTC, datetime

from jobq.backends.service_bus_text import NATIVE_LIMIT, from_native, to_native
from jobq.dead_letter import Failure, decode_dead_letter, encode_dead_letter
from jobq.task import Task, shell_kwargs
from tests.support.tables import table

TASK = Task.new(shell_kwargs("exit 3"))
FAILURE = Failure(
    error="exit code 3",
    exit_code=3,
    last_lines=["a", "b"],
    attempts=2,
    worker="w1",
    failed=datetime(2026, 1, 1, tzinfo=UTC),
)


def there_and_back(failure):
    reason, description = to_native(encode_dead_letter(TASK, failure))
    assert max(len(reason), len(description)) <= NATIVE_LIMIT
    return reason, decode_dead_letter(from_native(TASK.encode(), reason, description))


def test_the_reason_is_what_the_services_own_tools_show():
    reason, letter = there_and_back(FAILURE)
    assert reason == "exit code 3"
    assert (letter.task, letter.failure) == (TASK, FAILURE)


def test_the_oldest_output_lines_give_way_to_the_services_limit():
    _, letter = there_and_back(
        FAILURE.model_copy(update={"last_lines": [f"{number} " + "x" * 500 for number in range(50)]})
    )
    assert letter.failure is not None
    assert letter.failure.last_lines[-1].startswith("49 ")
    assert len(letter.failure.last_lines) < 10


@table(
    ("reason", "description", "error"),
    [
        (
            "MaxDeliveryCountExceeded",
            "Message could not be consumed",
            "MaxDeliveryCountExceeded: Message could not be consumed",
        ),
        ("Command 'x' failed with return code 1", "", "Command 'x' failed with return code 1"),
        ("r", "[1]", "r: [1]"),
        (None, "only words", "only words"),
    ],
)
def test_a_reason_of_somebody_else_is_kept_in_words(reason, description, error):
    letter = decode_dead_letter(from_native(TASK.encode(), reason, description))
    assert letter.task == TASK
    assert letter.failure is not None
    assert letter.failure.error == error


def test_a_dead_letter_without_a_reason_is_read_as_it_is():
    assert from_native(TASK.encode(), None, None) == TASK.encode()
    assert to_native(TASK.encode()) == ("given up", "")


def test_what_is_no_task_keeps_its_text():
    letter = decode_dead_letter(from_native("nonsense", "bad", ""))
    assert letter.malformed == "nonsense"
    assert letter.failure is not None
    assert letter.failure.error == "bad"
