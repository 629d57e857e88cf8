"""What became of every task of a storm, counted from outside the workers. Pure.

Tasks note in a journal when they begin and when they are done, and which worker they belong to. Of a task that was done
several times all but one must have been done on a worker that was killed or frozen, or that let go of that very task:
its lock was lost, or it was told to stop. The exit code of a task that was told to stop is ignored, as the protocol has
it, because a program that has saved its state ends well, too: one that was just done is returned all the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum


class Why(StrEnum):
    """Why the queue had to hand out a task again that was done."""

    KILLED = "the worker was killed or frozen"
    LOCK_LOST = "its lock was lost, or the queue's answer"
    TOLD_TO_STOP = "just done when it was told to stop"


@dataclass
class Facts:
    """What is known at the end.

    Attributes:
        tasks: All of them, by their number.
        hopeless: Those that fail at each attempt, and belong into the dead letters.
        journal: Lines `begin|done TASK WORKER`.
        dead_letters: The tasks of the dead letters, once each.
        killed: Workers that were killed or frozen.
        let_go: Task and worker, and why, as workers have logged it.
        died: Workers that ended with an error though nobody had killed them, with their exit code.
        left: Processes of tasks that are still there.
        waiting: Messages that are still in the queue.
        unpushed: Tasks that there was no time for; `tasks` does not have them.
    """

    tasks: range
    hopeless: AbstractSet[int]
    journal: Iterable[str]
    dead_letters: Iterable[int] = ()
    killed: AbstractSet[str] = frozenset()
    let_go: Mapping[tuple[int, str], Why] = field(default_factory=dict)
    died: Mapping[str, int] = field(default_factory=dict)
    left: int = 0
    waiting: int = 0
    unpushed: int = 0

    def why_again(self, task: int, worker: str) -> Why | None:
        """Why a task that was done on a worker had to be handed out again; None for no reason."""
        return Why.KILLED if worker in self.killed else self.let_go.get((task, worker))


@dataclass
class Verdict:
    """What follows from the facts; each list but the first two should be empty.

    Attributes:
        completed: Tasks that were done.
        again: How often a task was done once more, with the reason.
        twice: Tasks that were done more than once, without a reason.
        lost: Neither done nor a dead letter, though the queue is empty.
        wrong_letters: Dead letters of tasks that can be done.
        missing_letters: Hopeless tasks that are no dead letters.
        died: See `Facts`.
        left: See `Facts`.
        waiting: See `Facts`.
        unpushed: See `Facts`.
    """

    completed: int
    again: Mapping[Why, int]
    twice: list[int]
    lost: list[int]
    wrong_letters: list[int]
    missing_letters: list[int]
    died: Mapping[str, int]
    left: int
    waiting: int
    unpushed: int

    @property
    def good(self) -> bool:
        """Whether nothing went wrong."""
        wrong = (self.twice, self.lost, self.wrong_letters, self.missing_letters, self.died, self.left)
        return self.finished and not any(wrong)

    @property
    def finished(self) -> bool:
        """Whether there was time for all of it."""
        return not (self.waiting or self.unpushed)

    def lines(self) -> list[str]:
        """For people."""
        counts = {
            "tasks completed": str(self.completed),
            **{f"  and again: {why}": str(times) for why, times in self.again.items()},
            "  and again: without a reason": _named(self.twice),
            "tasks lost": _named(self.lost),
            "dead letters that should be none": _named(self.wrong_letters),
            "hopeless tasks that are no dead letters": _named(self.missing_letters),
            "workers that died by themselves": f"{len(self.died)}  {dict(self.died) or ''}".rstrip(),
            "processes of tasks left behind": str(self.left),
            "messages left in the queue": str(self.waiting),
            "tasks that were never pushed": str(self.unpushed),
        }
        lines = [f"{what:<52} {count}" for what, count in counts.items()]
        words = "nothing was lost" if self.good else "NOT GOOD" if self.finished else "NOT FINISHED, look at --patience"
        return [*lines, f"VERDICT: {words}"]


def judge(facts: Facts) -> Verdict:
    """Count."""
    done: dict[int, list[str]] = defaultdict(list)
    for line in facts.journal:
        word, number, worker = line.split()
        if word == "done":
            done[int(number)].append(worker)
    letters = set(facts.dead_letters)
    again = dict.fromkeys(Why, 0)
    twice = []
    for task, places in done.items():
        reasons = [why for worker in places if (why := facts.why_again(task, worker)) is not None]
        for why in reasons[: len(places) - 1]:
            again[why] += 1
        if len(reasons) < len(places) - 1:
            twice.append(task)
    return Verdict(
        completed=len(done),
        again=again,
        twice=sorted(twice),
        lost=[task for task in facts.tasks if task not in done and task not in letters and not facts.waiting],
        wrong_letters=sorted(letters - facts.hopeless),
        missing_letters=[task for task in facts.tasks if task in facts.hopeless - letters and not facts.waiting],
        died=facts.died,
        left=facts.left,
        waiting=facts.waiting,
        unpushed=facts.unpushed,
    )


def _named(numbers: list[int]) -> str:
    return f"{len(numbers)}  {numbers[:10] if numbers else ''}".rstrip()
