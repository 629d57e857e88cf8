"""Whatever a worker is given from outside: an error that explains it, a dead letter with its reason, or no effect."""

import asyncio
import json
import string
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobq.backends.memory import MemoryQueue
from jobq.backends.storage_rest import read_connection_string, read_http_date, read_messages
from jobq.control import ControlError, decode_report
from jobq.dead_letter import decode_dead_letter
from jobq.durations import DurationError, parse_duration
from jobq.task import Task, shell_kwargs
from workforce_agent import pid_file
from workforce_agent.cli.push import line_kwargs
from workforce_agent.execution import Execution, Surroundings
from workforce_agent.orders import Act, judge_targeted, judge_untargeted
from workforce_agent.output import Writer
from workforce_agent.preemption import Notices, Watched, observe, read_machine, read_notices
from workforce_agent.processors.shell import ShellProcessor

FUZZ = settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
FEW = settings(FUZZ, max_examples=20)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(max_size=4), scalars, max_size=2)


def objects(**fields):
    """Objects with some of the fields right, some wrong and some missing, and others beside them."""
    known = st.fixed_dictionaries({}, optional={name: good | values for name, good in fields.items()})
    return st.tuples(st.dictionaries(st.text(max_size=8), values, max_size=2), known).map(
        lambda both: {**both[0], **both[1]}
    )


def texts(documents):
    """JSON texts of documents, whole or damaged, and any text."""
    whole = documents.map(json.dumps)
    cut = st.tuples(whole, st.integers(0, 80), st.text(max_size=3)).map(lambda t: t[0][: t[1]] + t[2] + t[0][t[1] :])
    deep = st.sampled_from(["[" * 3000, "[" * 3000 + "]" * 3000, "9" * 5000, "NaN", '"\\ud800"'])
    return whole | cut | st.text(max_size=30) | deep


shell_arguments = objects(
    cmd=st.text(max_size=20), env=st.dictionaries(st.text(max_size=5), scalars, max_size=2),
    cwd=st.sampled_from([None, "/", "/nowhere", "\0", "x" * 5000]), bg_dirsync_to=st.none(),
)  # fmt: skip
tasks = objects(
    version=st.sampled_from([0, 1, 2]), reply_requested=st.booleans(), kwargs=texts(shell_arguments),
    num_retries=st.integers(-1, 3), id=st.text(max_size=20), timeout_seconds=st.floats() | st.integers(),
)  # fmt: skip


CONNECTION_PARTS = ["AccountName=a", "AccountKey=!", "AccountKey=a2V5", "QueueEndpoint=http://[", "QueueEndpoint=x:1"]


class Harmless(ShellProcessor):
    """Starts a process with the task's arguments, environment and folder; but one that does nothing."""

    def __init__(self):
        super().__init__("q", environ={"PATH": "/usr/bin:/bin"})
        self._shell = ["true"]


async def work_off(body):
    """What becomes of a message: what is left in the queue, and the dead letters."""
    queue, writer = MemoryQueue("a/q"), Writer(-1)
    await queue.send(body)
    around = Surroundings(queue, Harmless(), "w", writer, timedelta(seconds=60))
    try:
        (delivery,) = await queue.receive(1, timedelta(seconds=60))
        execution = Execution(around, delivery, asyncio.get_running_loop().time())
        ended = await execution.run()
        settled = await execution.settle(ended, execution.judge(ended))
        assert settled
    finally:
        writer.close()
    return (await queue.size()).total, [decode_dead_letter(seen.body) for seen in await queue.failed.peek(5)]


@FEW
@given(texts(tasks))
def test_a_task_body_is_run_or_given_up_with_its_reason(body):
    left, letters = asyncio.run(work_off(body))
    if letters:
        (letter,) = letters
        assert left == 0
        assert letter.failure is not None
        assert letter.failure.error


@FUZZ
@given(st.text(max_size=60) | texts(tasks))
def test_any_dead_letter_can_be_read(text):
    letter = decode_dead_letter(text)
    assert (letter.task is None) != (letter.malformed is None)


orders = objects(
    operation=st.sampled_from(["graceful-downscale", "do-not-accept-new-tasks", "accept-new-tasks"]),
    mode=st.sampled_from(["finish", "checkpoint"]), id=st.text(max_size=20), revision=st.integers(),
    deadline=st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat) | st.integers(), version=st.integers(),
    onDeadline=st.sampled_from(["wait", "checkpoint"]), node=st.sampled_from(["j1", "j2"]),
    traceparent=st.text(max_size=60),
)  # fmt: skip
messages = texts(orders).map(lambda text: text.encode(errors="surrogatepass")) | st.binary(max_size=30)


@FUZZ
@given(messages, st.booleans(), st.integers(0, 5))
def test_a_control_message_is_followed_or_refused_with_a_reason(body, accepting, known):
    for answer in (
        judge_targeted(body, job="j1", known_revision=known),
        judge_untargeted(body, job="j1", accepting=accepting),
    ):
        assert answer.reason if answer.act is not Act.APPLY else answer.order is not None


@FUZZ
@given(messages)
def test_an_order_that_is_followed_arrives_at_the_worker_as_it_was_sent(tmp_path_factory, body):
    answer = judge_targeted(body, job="j1", known_revision=0)
    if answer.act is not Act.APPLY:
        return
    order = answer.order
    with pid_file.PidFile(tmp_path_factory.mktemp("pids"), "w", topic=None, job="j1") as file:
        pid_file.write_intents(
            pid_file.workers(file.path.parent), operation=order.operation, mode=order.mode, id=order.id,
            revision=order.revision, deadline=order.deadline, on_deadline=order.on_deadline,
            traceparent=order.traceparent,
        )  # fmt: skip
        (intent,) = file.take_intents()
    fields = ("operation", "mode", "id", "revision", "deadline", "on_deadline", "traceparent")
    assert [getattr(intent, name) for name in fields] == [getattr(order, name) for name in fields]


@FUZZ
@given(texts(objects(kind=st.sampled_from(["hello", "state", "exit"]), job=st.text(max_size=5), slots=st.integers())))
def test_a_report_is_read_or_refused(text):
    with_error = None
    try:
        decode_report(text)
    except ControlError as error:
        with_error = str(error)
    assert with_error is None or with_error


events = objects(
    EventId=st.text(max_size=5), EventType=st.sampled_from(["Preempt", "Reboot"]),
    Resources=st.lists(st.sampled_from(["vm", "VM", "other"]) | values, max_size=2), EventStatus=st.text(max_size=5),
)  # fmt: skip
answers = texts(objects(Events=st.lists(events | values, max_size=3), DocumentIncarnation=st.integers()))


@FUZZ
@given(answers.map(lambda text: text.encode(errors="surrogatepass")) | st.binary(max_size=30))
def test_an_answer_of_the_metadata_service_is_understood_or_changes_nothing(body):
    assert read_machine(body) is None or read_machine(body)
    notices = read_notices(body, "vm")
    before = Watched(frozenset({"e"}), frozenset({"e"}))
    after, trigger = observe(before, notices)
    if notices is None:
        assert (after, trigger) == (before, None)
    else:
        assert isinstance(notices, Notices)


files = texts(
    objects(
        process=objects(pid=st.integers(-1, 5) | st.integers(), start=st.integers(), boot=st.text(max_size=5)),
        worker=st.text(max_size=5), node=st.text(max_size=5), topic=st.text(max_size=5), job=st.text(max_size=5),
        written=st.floats(), operation=st.just("graceful-downscale"), mode=st.just("finish"), revision=st.integers(),
        on_deadline=st.just("wait"), id=st.none(), deadline=st.just("2026-01-01T00:00:00"),
        traceparent=st.none(),
    )
).map(lambda text: text.encode(errors="surrogatepass")) | st.binary(max_size=20)  # fmt: skip


@FUZZ
@given(files, files, files)
def test_no_file_in_the_folder_of_pid_files_stops_a_worker_or_names_another_process(tmp_path_factory, a, b, c):
    folder: Path = tmp_path_factory.mktemp("pids")
    (folder / "x.pid").write_bytes(a)
    (folder / "x.json").write_bytes(b)
    with pid_file.PidFile(folder, "w", topic="t", job="j") as file:
        (folder / "w.intent-1").write_bytes(c)
        assert [worker.worker for _, worker in pid_file.workers(folder)] == ["w"]
        assert file.take_intents() == []
    assert not list(folder.glob("w.*"))


@FUZZ
@given(
    texts(shell_arguments) | st.text(max_size=40), st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2)
)
def test_a_line_of_input_becomes_a_task_that_can_be_read_again(line, env):
    task = Task.new(line_kwargs(line, env))
    assert task.kwargs.keys() >= {"env", "bg_dirsync_to"}
    if isinstance(task.kwargs["env"], dict):
        assert task.kwargs["env"].items() >= env.items()
    if not line.startswith("{"):
        assert task.kwargs == shell_kwargs(line, env)


@FUZZ
@given(
    st.tuples(st.integers(0, 10**10), st.sampled_from(["", ".5", ".5.5"]), st.sampled_from(" smhdwDx")).map(
        lambda parts: f"{parts[0]}{parts[1]}{parts[2]}"
    )
    | st.text(string.printable, max_size=8)
)
def test_a_duration_is_read_or_refused_with_an_example(text):
    try:
        assert parse_duration(text) >= timedelta(0)
    except DurationError as error:
        assert "such as 90s or 14d" in str(error)  # noqa: PT017 - both ends are right


@FUZZ
@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(lambda text: f"<L><QueueMessage><A>{text}</A></QueueMessage></L>".encode())
)
def test_an_answer_of_the_queue_is_read_or_refused(body):
    try:
        for fields in read_messages(body):
            assert all(isinstance(value, str) for value in fields.values())
    except ValueError as error:
        assert "cannot be read" in str(error)  # noqa: PT017 - both ends are right
    read_http_date(body.decode("latin-1"))


@FUZZ
@given(st.lists(st.sampled_from(CONNECTION_PARTS) | st.text(max_size=9), max_size=5).map(";".join))
def test_a_connection_string_is_read_or_refused(text):
    try:
        assert read_connection_string(text).url
    except ValueError as error:
        assert str(error)  # noqa: PT017 - both ends are right
