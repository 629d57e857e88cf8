"""Prints the CustomResourceDefinition and its reference page, both made from the models and never written by hand.

``python -m workforce_operator.api.crd`` prints the definition; ``--write FILE...`` writes it where it is kept,
``--check FILE...`` fails if a kept file says something else; ``--write-docs`` and ``--check-docs`` do so for the page.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from typing_extensions import override

from workforce_operator.api.base import GROUP, KIND, PLURAL, SHORT_NAME, SINGULAR, VERSION, rule, rules
from workforce_operator.api.reference import reference_page
from workforce_operator.api.schema import Schema, structural
from workforce_operator.api.spec import WorkforceSpec
from workforce_operator.api.status import WorkforceStatus

HEADER = "# Generated from the models in operator/workforce_operator/api by `make crds`. Do not edit.\n"
LONGEST_NAME = 50


def _promised(region: str) -> str:
    """Names are reserved in a region of the status, and so jobs may be on their way."""
    return (
        f"(has({region}.hiring) && {region}.hiring.size() > 0)"
        f" || (has({region}.reserved) && {region}.reserved > 0 && has({region}.desired) && {region}.desired > 0)"
    )


# Numbers of jobs follow what happens; names that are reserved go ahead of it.
_JOBS_LIVE = (
    "has(oldSelf.status) && ((has(oldSelf.status.replicas) && oldSelf.status.replicas > 0)"
    " || (has(oldSelf.status.drainingReplicas) && oldSelf.status.drainingReplicas > 0)"
    f" || (has(oldSelf.status.regions) && oldSelf.status.regions.exists(region, {_promised('region')})))"
)
_LIVES = (
    "(has(known.pending) && known.pending > 0) || (has(known.running) && known.running > 0)"
    " || (has(known.paused) && known.paused > 0) || (has(known.draining) && known.draining > 0)"
    f" || {_promised('known')}"
)
_OTHER_CONTROL = (
    "oldSelf.spec.regions.exists(before, before.name == region.name && (has(before.control) != has(region.control)"
    " || (has(before.control) && before.control != region.control)))"
)
# Asked first: hardly anybody has them, and the rule below looks at every region of the status in each write of it.
_OWN_CONTROLS = " || ".join(f"{each}.spec.regions.exists(region, has(region.control))" for each in ("self", "oldSelf"))
# A list of one is how CEL says "let": the regions where jobs live are looked for once, or the rule costs too much.
_SAME_CONTROL_WHERE_JOBS_LIVE = (
    f"!({_OWN_CONTROLS}) || !has(oldSelf.status) || !has(oldSelf.status.regions) ||"
    f" [oldSelf.status.regions.filter(known, {_LIVES})].all(live,"
    f" self.spec.regions.all(region, !live.exists(known, known.name == region.name) || !{_OTHER_CONTROL}))"
)
_SAME_CONTROL = (
    "has(self.spec.control) == has(oldSelf.spec.control)"
    " && (!has(self.spec.control) || self.spec.control == oldSelf.spec.control)"
)
_ROOT_RULES = rules(
    rule(
        f"self.metadata.name.size() <= {LONGEST_NAME} && !self.metadata.name.contains('.')",
        f"`metadata.name` must be a DNS label of at most {LONGEST_NAME} characters: it is part of the jobs' names",
    ),
    rule(
        f"({_SAME_CONTROL}) || !({_JOBS_LIVE})",
        "`spec.control` must not change while worker jobs live or are being hired: they listen where they were told to",
    ),
    rule(
        _SAME_CONTROL_WHERE_JOBS_LIVE,
        "`spec.regions[].control` must not change while the region's worker jobs live or are being hired: they listen"
        " where they were told to",
    ),
)


def _column(name: str, kind: str, path: str, description: str, *, wide: bool = False) -> dict[str, Any]:
    column = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return column | ({"priority": 1} if wide else {})


COLUMNS = (
    _column("Desired", "integer", ".status.desiredReplicas", "Worker jobs wanted now."),
    _column("Running", "integer", ".status.runningReplicas", "Jobs that have a process."),
    _column("Pending", "integer", ".status.pendingReplicas", "Jobs that wait for a node."),
    _column("Draining", "integer", ".status.drainingReplicas", "Jobs that were told to leave."),
    _column("Queue", "integer", ".status.queueLength", "Tasks in the queue, including those being run."),
    _column("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether all is as desired."),
    _column("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
    _column("Regions", "string", ".status.regionsSummary", "Supply and desired number by region.", wide=True),
    _column(
        "Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why it is or is not ready.", wide=True
    ),
    _column("Policy", "string", ".spec.autoscaling.policy", "What the number of replicas follows.", wide=True),
)


def definition() -> dict[str, Any]:
    """The CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": SINGULAR,
                "shortNames": [SHORT_NAME],
                "categories": [SINGULAR],
            },
            "versions": [_version()],
        },
    }


@cache
def schema() -> Schema:
    """The schema of one object; all callers share it, and none changes it."""
    return {
        "type": "object",
        "description": "N identical workers that serve one task queue, spread over AzureML regions.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"{KIND}."},
            "metadata": {"type": "object"},
            "spec": structural(WorkforceSpec, defaults=True),
            # One writer replaces it as a whole. Kept field by field, who owns it would be half of each stored object.
            "status": structural(WorkforceStatus, defaults=False) | {"x-kubernetes-map-type": "atomic"},
        },
        **_ROOT_RULES,
    }


class _Dumper(yaml.CSafeDumper):
    """Writes no aliases: they would be correct YAML, and unreadable."""

    @override
    def ignore_aliases(self, data: Any) -> bool:
        return True


@cache
def definition_text() -> str:
    """The definition as YAML."""
    return HEADER + yaml.dump(definition(), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


@cache
def page_text() -> str:
    """The reference page as Markdown."""
    return reference_page(schema())


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workforce_operator.api.crd", description=__doc__)
    for option, text in (("write", "write the definition"), ("check", "compare the definition")):
        parser.add_argument(f"--{option}", nargs="+", type=Path, default=[], metavar="FILE", help=text)
        parser.add_argument(f"--{option}-docs", nargs="+", type=Path, default=[], metavar="FILE", help=f"{text}'s page")
    options = parser.parse_args(arguments)
    wanted = [(path, definition_text()) for path in options.write] + [
        (path, page_text()) for path in options.write_docs
    ]
    checked = [(path, definition_text()) for path in options.check] + [
        (path, page_text()) for path in options.check_docs
    ]
    for path, text in wanted:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    stale = [path for path, text in checked if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        sys.stderr.write(f"{path} is out of date: run make crds\n")
    if not (wanted or checked):
        sys.stdout.write(definition_text())
    return 1 if stale else 0


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema()},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": list(COLUMNS),
    }


if __name__ == "__main__":
    sys.exit(main())
