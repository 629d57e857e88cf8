"""How fast the operator hires, beside ai4s-jobq on the same server in the same run. Printed, never asserted.

    python bench/operator/hiring.py [--only with_buckets|without_buckets|passes]

* with ARM's token buckets and PUTs of 3 s: hires per second over the bucket's own pace, writes per hire, answers 429;
* without buckets: 200 hires, and 64 by ``Workforce.parallel_hire`` with its 8 threads; the operator keeps to ARM's
  documented pace all the same, so that its next hires would come at 10 per second;
* one worker in each of 84 regions, then passes in which there is nothing to do, with 200 ms per request; then one more
  worker in each region, and the same by ``MultiRegionWorkforce.run`` with parallel reads.

Needs what ``make test-interop`` needs.
"""

from __future__ import annotations

import argparse
import time

from stage import ACCOUNT, Ancestor, Stage, configuration, row, seconds_of, stage

PUT_SECONDS = 3.0
MANY, BURST, THEIRS = 600, 200, 64
REGIONS = 84
LATENCY = 0.2
SLOW = ("latency", "service=arm", f"seconds={LATENCY}")
READ_ONLY = 2
"""Passes with nothing to do that are measured; one comes every 30 s."""


def hire(on: Stage, name: str, number: int) -> tuple[float, list[float]]:
    """Let one Workforce hire in one region; seconds from the first PUT sent to the last answered, and their times."""
    began = on.apply(on.workforce(name, number, [0]))
    on.until(lambda: len(on.puts(began)) >= number, f"{number} hires")
    times = sorted(seconds_of(entry["at"]) for entry in on.puts(began))
    return times[-1] - times[0] + PUT_SECONDS, times


def with_buckets() -> None:
    """The pace of ARM's bucket, beside the pace that the bucket itself allows."""
    row("", "ours", "limit", "ratio", "goal")
    with stage(configuration(1, throttle=True, put_seconds=PUT_SECONDS)) as on:
        on.start_operator()
        _, _ = hire(on, "warm", 1)
        time.sleep(25)  # The bucket is full again.
        taken, times = hire(on, "many", MANY)
        puts = on.puts(times[0])
        ideal = (MANY - BURST) / 10 + PUT_SECONDS
        refused = sum(entry["status"] == 429 for entry in puts)
        row(f"{MANY} hires, buckets on, seconds", f"{taken:.1f}", f"{ideal:.1f}", f"{ideal / taken:.1%}", "≥ 95 %")
        row("writes per hire; answered 429", f"{len(puts) / MANY:.2f}", "", f"{refused / len(puts):.1%}", "1; < 1 %")


def without_buckets() -> None:
    """Both on one server."""
    row("", "ours", "peer", "ratio", "goal")
    with stage(configuration(1, throttle=False, put_seconds=PUT_SECONDS)) as on:
        on.start_operator()
        hire(on, "warm", 1)
        theirs = Ancestor(on, [0], "theirs")
        theirs.call(0, "hire", 1)
        time.sleep(25)
        their_rate = THEIRS / theirs.call(0, "parallel_hire", THEIRS)
        theirs.close()
        taken, _ = hire(on, "ours", BURST)
        rate = BURST / taken
        row(
            f"hires/s of a burst of {BURST}, buckets off",
            f"{rate:.1f}",
            f"{their_rate:.2f}",
            f"{rate / their_rate:.1f}x",
            "≥ 10x",
        )


def passes() -> None:
    """Passes over all regions."""
    row("", "ours", "peer", "ratio", "goal")
    with stage(configuration(REGIONS, throttle=False, put_seconds=0)) as on:
        on.start_operator()
        numbers = list(range(REGIONS))
        on.bench.run("workforce-agent", "push", f"{ACCOUNT}/bench-tasks", "-c", "true")
        began = on.apply(on.workforce("ours", REGIONS, numbers))
        on.until(lambda: len(on.puts(began)) >= REGIONS, "a job in each region")
        cold = max(seconds_of(entry["at"]) for entry in on.puts(began)) - began
        row("first pass: one hire in each of 84 regions, s", f"{cold:.1f}")
        on.bench.kubectl("wait", "--for=condition=Ready", "wf/ours", "--timeout=120s")
        row("read-only pass over 84 regions, s", f"{_read_only(on):.2f}", "", "", "≤ 0.6")
        theirs = Ancestor(
            on, numbers, "theirs", queue="bench-tasks", account=ACCOUNT,
            options={"parallel_region_reads": True, "batched_delay_in_hiring": False},
        )  # fmt: skip
        on.calm()
        theirs.call("all", "run", manual_hire=1)
        on.chaos(*SLOW)
        their_pass = theirs.call("all", "run", manual_hire=1)
        theirs.close()
        began = on.apply(on.workforce("ours", 2 * REGIONS, numbers))
        on.until(lambda: len(on.puts(began)) >= REGIONS, "one more job in each region")
        ours = _pass_of(on, began)
        row(
            "the same again, 200 ms per request, s",
            f"{ours:.2f}",
            f"{their_pass:.1f}",
            f"{their_pass / ours:.0f}x",
            "≥ 20x",
        )


def _pass_of(on: Stage, since: float) -> float:
    """From the first list of the pass that hired to its last PUT; what it thinks in between counts.

    A pass lists the jobs of each region once, so that its lists are the last ones before the first PUT.
    """
    answered = [seconds_of(entry["at"]) for entry in on.puts(since)]
    lists = {
        entry["path"]: seconds_of(entry["at"])
        for entry in on.requests()
        if entry["method"] == "GET" and entry["path"].endswith("/jobs") and seconds_of(entry["at"]) <= min(answered)
    }
    return max(answered) - min(lists.values()) + LATENCY


def _read_only(on: Stage) -> float:
    """Mean duration of passes in which nothing is to be done, with latency, at the operator's own interval.

    Only one Workforce is there, and none of its passes is under way when the latency begins.
    """
    on.until(lambda: on.metric("workforce_workqueue_processing") == 0, "the end of the pass that found all Ready")
    on.chaos(*SLOW)
    before = _passes(on)
    on.until(lambda: _passes(on)[0] >= before[0] + READ_ONLY, "passes with nothing to do", every=3)
    number, seconds = (now - then for now, then in zip(_passes(on), before, strict=True))
    return seconds / number


def _passes(on: Stage) -> tuple[float, float]:
    """How many passes there have been, and their seconds."""
    name = "workforce_reconcile_duration_seconds"
    return on.metric(f"{name}_count", result="ok"), on.metric(f"{name}_sum", result="ok")


def main() -> None:
    """Measure and print."""
    parts = {part.__name__: part for part in (with_buckets, without_buckets, passes)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=parts, help="this part alone")
    only = parser.parse_args().only
    for name, part in parts.items():
        if only in (None, name):
            part()


if __name__ == "__main__":
    main()
