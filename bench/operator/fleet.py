"""What many Workforces cost the operator, and how soon an edit is acted upon. Printed, never asserted.

python bench/operator/fleet.py [--workforces N] [--rest SECONDS]

Everything shares one machine: API server, etcd, local Azure, operator and this program. So it creates the Workforces
over a few connections, and then has the API server tell it what changes, instead of asking over and over. The API
server's garbage collector is given more room, as if it had a machine of its own: it is not what is measured.

The limit is the API server's own: the writes that such a Workforce consists of, sent for as many others by a client
that waits for nothing and decides nothing, after the operator has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

from costs import costs
from stage import ACCOUNT, Stage, configuration, row, seconds_of, stage

from workforce_local.cluster.kube_client import Access, KubeClient, Listed

REGIONS = 20
EDITS = 20
WRITERS = 4
AT_ONCE = 16
"""Workforces whose writes are under way at a time where nothing else is done: as many as the operator works on."""
ROOM = {"GOGC": "1000", "GOMEMLIMIT": "2GiB"}
"""Of the API server and etcd: growth of the heap between two collections in percent, which is 100 by default, and the
memory from which on they collect as often as it takes. With a growth of 300 % it was 7 % of the API server's time."""
PATH = "/apis/workforce.dev/v1alpha1/namespaces/default/workforces"
EVENTS = "/api/v1/namespaces/default/events"


def _is_ready(workforce: dict[str, Any]) -> bool:
    conditions = workforce.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


async def until_ready(kubernetes: KubeClient, number: int) -> None:
    """Wait until so many Workforces are Ready."""
    ready: set[str] = set()
    async with aclosing(kubernetes.watch(PATH)) as events:
        async for event in events:
            objects = event.objects if isinstance(event, Listed) else (event.object,)
            ready |= {each["metadata"]["name"] for each in objects if _is_ready(each)}
            if len(ready) >= number:
                return


async def create(kubernetes: KubeClient, documents: list[dict[str, Any]]) -> None:
    """Create them, a few at a time."""
    waiting = iter(documents)

    async def writer() -> None:
        for document in waiting:
            await kubernetes.create(PATH, document)

    await asyncio.gather(*(writer() for _ in range(WRITERS)))


async def write_alone(kubernetes: KubeClient, documents: list[dict[str, Any]], like: str) -> float:
    """Seconds for the writes of as many Workforces as there are documents, alone; with the words of one that is Ready.

    They are: the object, the finalizer, the status before its hire and once it is Ready, and the Events.
    """
    model = await kubernetes.get(f"{PATH}/{like}")
    events = (await kubernetes.get(EVENTS))["items"]
    said = [each for each in events if each["involvedObject"]["uid"] == model["metadata"]["uid"]]
    waiting = iter(documents)

    async def writer() -> None:
        for document in waiting:
            await _write_one(kubernetes, document, model, said)

    began = time.time()
    await asyncio.gather(*(writer() for _ in range(AT_ONCE)))
    return time.time() - began


async def _write_one(
    kubernetes: KubeClient, document: dict[str, Any], model: dict[str, Any], said: list[dict[str, Any]]
) -> None:
    stored = await kubernetes.create(PATH, document)
    name = stored["metadata"]["name"]
    stored = await kubernetes.patch(f"{PATH}/{name}", {"metadata": {"finalizers": model["metadata"]["finalizers"]}})
    conditions = [each | {"status": "False"} for each in model["status"]["conditions"]]
    for status in (model["status"] | {"conditions": conditions}, model["status"]):
        metadata = {key: stored["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
        stored = await kubernetes.replace(f"{PATH}/{name}/status", stored | {"metadata": metadata, "status": status})
    for event in said:
        metadata = {"name": f"{name}.{event['reason'].lower()}", "namespace": event["metadata"]["namespace"]}
        await kubernetes.create(EVENTS, event | {"metadata": metadata})


async def measure(on: Stage, kubernetes: KubeClient, number: int, rest: float) -> None:
    """All of it."""
    before = costs(on)
    documents = [on.workforce(f"wf-{each:04}", 1, [each % REGIONS]) for each in range(number)]
    began = time.time()
    await create(kubernetes, documents)
    created = time.time() - began
    await asyncio.wait_for(until_ready(kubernetes, number), 600)
    ready = time.time() - began
    row(f"{number} Workforces created to all Ready, s", f"{ready:.1f}", "", "", "≤ 30")
    row("  created after, s", f"{created:.1f}")
    row("memory of the operator then (PSS), MB", f"{on.memory():.0f}", "", "", "< 200")
    costs(on).since(before).tell(number)
    await asyncio.sleep(rest)
    versions = await _versions(kubernetes)
    since = time.time()
    await asyncio.sleep(rest)
    writes = [each for each in on.requests() if each["method"] != "GET" and seconds_of(each["at"]) >= since]
    patched = sum(versions[name] != version for name, version in (await _versions(kubernetes)).items())
    row(f"in {rest:.0f} s of rest: ARM writes; patches", f"{len(writes)}; {patched}", "", "", "0; 0")
    row("memory of the operator at rest (PSS), MB", f"{on.memory():.0f}", "", "", "< 200")
    delays = [await _edit(on, kubernetes, f"wf-{each:04}", 2) for each in range(EDITS)]
    p95 = statistics.quantiles(delays, n=20)[-1]
    row("spec change to first PUT, p95 in ms", f"{1000 * p95:.0f}", "", "", "< 300")
    on.stop_operator()
    others = [on.workforce(f"alone-{each:04}", 1, [each % REGIONS]) for each in range(number)]
    limit = await write_alone(kubernetes, others, f"wf-{number - 1:04}")
    row("created to all Ready beside the writes alone, s", f"{ready:.1f}", f"{limit:.1f}", f"{ready / limit:.1f}")


async def _versions(kubernetes: KubeClient) -> dict[str, str]:
    found = (await kubernetes.get(PATH))["items"]
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in found}


async def _edit(on: Stage, kubernetes: KubeClient, name: str, replicas: int) -> float:
    """Change the spec; seconds from when the change was sent to the first PUT."""
    began = time.time()
    await kubernetes.patch(f"{PATH}/{name}", {"spec": {"replicas": replicas}})
    await asyncio.sleep(1)
    on.until(lambda: on.puts(began), "a PUT")
    return min(seconds_of(put["at"]) for put in on.puts(began)) - began


async def run(on: Stage, number: int, rest: float) -> None:
    """Measure with a client of its own."""
    async with KubeClient(Access.from_file(Path(os.environ["KUBECONFIG"]))) as kubernetes:
        await measure(on, kubernetes, number, rest)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workforces", type=int, default=1000)
    parser.add_argument("--rest", type=float, default=60.0, help="seconds to settle, and again to watch the rest")
    options = parser.parse_args()
    row("", "ours", "limit", "ratio", "goal")
    os.environ.update(ROOM)
    with stage(configuration(REGIONS, throttle=False, put_seconds=0)) as on:
        on.bench.run("workforce-agent", "push", f"{ACCOUNT}/bench-tasks", "-c", "true")
        on.start_operator()
        asyncio.run(run(on, options.workforces, options.rest))


if __name__ == "__main__":
    main()
