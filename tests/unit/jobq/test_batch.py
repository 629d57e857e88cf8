"""Enqueueing a whole piece of work."""

import io
import itertools

import pytest

import jobq
from jobq import BatchError, JobQ, WorkSpecification, batch_enqueue
from jobq.backends.memory import MemoryQueue
from jobq.errors import NotStored
from jobq.progress import Progress
from jobq.task import Task
from tests.support.tables import table


class Flaky(MemoryQueue):
    """Refuses bodies that contain a word."""

    async def send(self, body, **options):
        if "refuse" in body:
            raise NotStored("no")
        await super().send(body, **options)


class Counting(MemoryQueue):
    """Keeps nothing but a number."""

    sent = 0

    async def send(self, body, **options):
        self.sent += 1


class Work(WorkSpecification):
    """Three seeds of four tasks each; the even ones are done."""

    entered = 0

    async def __aenter__(self):
        self.entered += 1

    async def __aexit__(self, *error):
        self.entered += 10

    async def task_seeds(self):
        for seed in "abc":
            yield seed

    async def list_tasks(self, seed, force=False):
        for number in range(4):
            yield {"cmd": f"{seed}{number}"}

    async def already_done(self, task):
        return int(task["cmd"][1]) % 2 == 0


@pytest.fixture
def queue():
    return JobQ(MemoryQueue())


async def commands(queue):
    return sorted([looked.task.kwargs["cmd"] for looked in await queue.peek(32)])


async def test_a_command_is_written_as_other_writers_write_it(queue):
    """The golden ids of the ancestor's own Python interface, whose default of retries is 1 here and 5 for one push."""
    await batch_enqueue(queue, ["echo a"])
    await queue.push("echo direct")
    assert [looked.task.id for looked in await queue.peek(2)] == [
        "ef0e9a14fe8c92da9fb3167ef4a32b05",
        "92851c204d4165991a91c88a587ad4f1",
    ]


async def test_commands_arguments_and_tasks_come_from_any_iterable(queue):
    async def later():
        yield "c"

    assert (await batch_enqueue(queue, ["a", {"cmd": "b"}], num_retries=3)).stored == 2
    assert (await batch_enqueue(queue, later())).stored == 1
    assert (await batch_enqueue(queue, iter([Task.new({"cmd": "d"}, id="mine")]))).stored == 1
    assert await commands(queue) == ["a", "b", "c", "d"]
    assert [looked.task.num_retries for looked in await queue.peek(32)] == [3, 3, 1, 0]


async def test_equal_commands_are_as_many_messages(queue):
    await batch_enqueue(queue, ["python job.py"] * 40)
    assert (await queue.size()).total == 40


async def test_a_long_generator_is_read_as_it_is_pushed():
    """Nothing is kept but counts: so many tasks as fit a test's time stand for a million."""
    backend = Counting()
    read = itertools.count(1)
    ahead = 0

    def source():
        nonlocal ahead
        for _ in range(1_000):
            ahead = max(ahead, next(read) - backend.sent)
            yield "echo"

    result = await batch_enqueue(JobQ(backend), source())
    assert (result.considered, result.stored, result.failures) == (1_000, 1_000, [])
    assert ahead <= 102


async def test_a_source_of_work_skips_what_is_done(queue):
    work = Work()
    result = await batch_enqueue(queue, work)
    assert (result.considered, result.skipped, result.stored) == (12, 6, 6)
    assert await commands(queue) == ["a1", "a3", "b1", "b3", "c1", "c3"]
    assert work.entered == 11


async def test_force_pushes_what_is_done_too(queue):
    assert (await batch_enqueue(queue, Work(), force=True)).stored == 12


async def test_a_dry_run_pushes_nothing(queue):
    assert (await batch_enqueue(queue, Work(), dry_run=True)).stored == 6
    assert await commands(queue) == []


async def test_anything_with_list_tasks_is_a_source_of_work(queue):
    class Plain:
        def list_tasks(self, seed, force=False):
            return ["x", "y"]

    class Made(Plain):
        async def enqueue_task(self, task, force=False):
            return None if task == "x" else f"make {task}"

    class Done(Plain):
        async def already_done(self, task):
            return task == "x"

    assert (await batch_enqueue(queue, Plain())).stored == 2
    assert (await batch_enqueue(queue, Made())).skipped == 1
    assert (await batch_enqueue(queue, Done())).skipped == 1
    assert await commands(queue) == ["make y", "x", "y", "y"]


async def test_a_source_without_tasks_says_what_is_missing(queue):
    with pytest.raises(TypeError, match="must define list_tasks"):
        await batch_enqueue(queue, WorkSpecification())


async def test_an_error_while_listing_comes_through(queue):
    class Broken(Work):
        async def list_tasks(self, seed, force=False):
            yield {"cmd": f"{seed}1"}
            raise OSError("no such table")

    with pytest.raises(OSError, match="no such table"):
        await batch_enqueue(queue, Broken())


async def test_every_task_that_was_not_stored_is_named_and_the_others_are_stored():
    queue = JobQ(Flaky())
    with pytest.raises(BatchError, match=r"not surely stored: 200 of 202 tasks; the first: task \w+ was not") as caught:
        await batch_enqueue(queue, ["a", *["refuse"] * 200, "b"], num_enqueue_workers=3)
    assert caught.value.result.failed == len(caught.value.result.failures) == 200
    assert await commands(queue) == ["a", "b"]


async def test_a_task_that_is_too_large_is_named_with_its_size(queue):
    with pytest.raises(
        BatchError, match=r"task \w+ was not stored: it is 70\d\d\d bytes as sent, above the limit of 65536"
    ):
        await batch_enqueue(queue, ["x" * 70_000])


@pytest.mark.parametrize("dry_run", [False, True])
async def test_what_no_task_can_be_made_of_is_named_and_the_others_are_stored(queue, dry_run):
    odd = [1, None, {"cmd": object()}, ["x" * 100]]
    with pytest.raises(BatchError, match="not surely stored: 4 of 6 tasks") as caught:
        await batch_enqueue(queue, ["a", *odd, "b"], num_enqueue_workers=1, dry_run=dry_run)
    errors = [str(failure.error) for failure in caught.value.result.failures]
    assert errors[:2] == [
        f"{text} is no task: write a shell command or a mapping of arguments" for text in ("1", "None")
    ]
    assert "is no task: the task's arguments cannot be written as JSON" in errors[2]
    assert "xxx... is no task" in errors[3]
    assert await commands(queue) == ([] if dry_run else ["a", "b"])


async def test_a_dry_run_names_what_is_too_large(queue):
    with pytest.raises(
        BatchError, match=r"not surely stored: 1 of 2 tasks; .* task \w+ was not stored: it is 70\d\d\d bytes"
    ):
        await batch_enqueue(queue, ["a", "x" * 70_000], dry_run=True)


class Screen(io.StringIO):
    """A terminal, or a file."""

    def __init__(self, *, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@table(("terminal", "wanted", "drawn"), [(True, True, True), (True, False, False), (False, True, False)])
def test_progress_is_drawn_on_a_terminal_only(terminal, wanted, drawn):
    screen = Screen(terminal=terminal)
    with Progress(screen, wanted=wanted) as progress:
        for number in range(5):
            progress.show(f"{number} stored")
    assert ("4 stored\n" in screen.getvalue()) is drawn
    assert bool(screen.getvalue()) is drawn


@pytest.mark.parametrize(
    ("work", "line"),
    [
        (["a", "b"], "[####################] 100% 2 considered, 2 stored, 0 not\n"),
        (iter(["a"]), "\x1b[K1 considered, 1 stored, 0 not\n"),
    ],
)
async def test_work_of_a_known_length_has_a_bar(queue, monkeypatch, work, line):
    screen = Screen(terminal=True)
    monkeypatch.setattr("sys.stderr", screen)
    await batch_enqueue(queue, work)
    assert screen.getvalue().endswith(line)


def test_the_module_says_what_it_has_not():
    with pytest.raises(AttributeError, match="no attribute 'launch_workers'"):
        _ = jobq.launch_workers
