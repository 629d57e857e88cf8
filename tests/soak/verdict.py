"""What became of every task of a storm, counted from outside the workers. Pure.

Tasks note in a journal when they begin and when they are done, and which worker they belong to. A task may run twice
only where a worker was killed or frozen, or let go of that very task: its lock was lost, or it was told to stop and is
returned whatever it does then. In each case the queue has to hand it out again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field


@dataclass
class Facts:
    """What is known at the end.

    Attributes:
        tasks: All of them, by their number.
        hopeless: Those that fail at each attempt, and belong into the dead letters.
        journal: Lines `begin|done TASK WORKER`.
        dead_letters: The tasks of the dead letters, once each.
        excused: Workers that were killed or frozen.
        let_go: Task and worker, as workers have logged it: the lock was lost, or the task returned.
        died: Workers that ended with an error though nobody had killed them, with their exit code.
        left: Processes of tasks that are still there.
        waiting: Messages that are still in the queue.
    """

    tasks: range
    hopeless: AbstractSet[int]
    journal: Iterable[str]
    dead_letters: Iterable[int] = ()
    excused: AbstractSet[str] = frozenset()
    let_go: AbstractSet[tuple[int, str]] = frozenset()
    died: Mapping[str, int] = field(default_factory=dict)
    left: int = 0
    waiting: int = 0


@dataclass
class Verdict:
    """What follows from the facts; each list but the first two should be empty.

    Attributes:
        completed: Tasks that were done.
        excused_twice: Tasks that were done more than once, with a reason.
        twice: The same without a reason.
        lost: Neither done nor a dead letter.
        wrong_letters: Dead letters of tasks that can be done.
        missing_letters: Hopeless tasks that are no dead letters.
        died: See `Facts`.
        left: See `Facts`.
        waiting: See `Facts`.
    """

    completed: int
    excused_twice: list[int]
    twice: list[int]
    lost: list[int]
    wrong_letters: list[int]
    missing_letters: list[int]
    died: Mapping[str, int]
    left: int
    waiting: int

    @property
    def good(self) -> bool:
        """Whether nothing went wrong."""
        wrong = (self.twice, self.lost, self.wrong_letters, self.missing_letters, self.died, self.left, self.waiting)
        return not any(wrong)

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"tasks completed                          {self.completed:>6}",
            f"  more than once, killed or let go       {len(self.excused_twice):>6}",
            f"  more than once, without a reason       {_named(self.twice)}",
            f"tasks lost                               {_named(self.lost)}",
            f"dead letters that should be none         {_named(self.wrong_letters)}",
            f"hopeless tasks that are no dead letters  {_named(self.missing_letters)}",
            f"workers that died by themselves          {len(self.died):>6}  {dict(self.died) or ''}",
            f"processes of tasks left behind           {self.left:>6}",
            f"messages left in the queue               {self.waiting:>6}",
            "VERDICT: " + ("nothing was lost" if self.good else "NOT GOOD"),
        ]


def judge(facts: Facts) -> Verdict:
    """Count."""
    began: dict[int, set[str]] = defaultdict(set)
    done: Counter[int] = Counter()
    for line in facts.journal:
        word, number, worker = line.split()
        began[int(number)].add(worker)
        done[int(number)] += word == "done"
    letters = set(facts.dead_letters)
    again = [number for number, times in done.items() if times > 1]

    def excused(number: int) -> bool:
        ran_on = began[number]
        return bool(ran_on & facts.excused) or any((number, worker) in facts.let_go for worker in ran_on)

    return Verdict(
        completed=sum(times > 0 for times in done.values()),
        excused_twice=sorted(number for number in again if excused(number)),
        twice=sorted(number for number in again if not excused(number)),
        lost=[number for number in facts.tasks if not done[number] and number not in letters],
        wrong_letters=sorted(letters - facts.hopeless),
        missing_letters=sorted(facts.hopeless - letters),
        died=facts.died,
        left=facts.left,
        waiting=facts.waiting,
    )


def _named(numbers: list[int]) -> str:
    return f"{len(numbers):>6}  {numbers[:10] if numbers else ''}".rstrip()
