"""The migration guide names every verb, flag and variable that the unmodified ancestor has."""

import json
import re
import subprocess
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "worker" / "from-ai4s-jobq.md").read_text()
LIST = """
import json
import asyncclick as click
from ai4s.jobq.cli import main
verbs = {
    name: [opt for parameter in command.params if isinstance(parameter, click.Option)
           for opt in (*parameter.opts, *parameter.secondary_opts)]
    for name, command in main.commands.items()
}
shared = [opt for parameter in main.params if isinstance(parameter, click.Option) for opt in parameter.opts]
print(json.dumps({"verbs": verbs, "shared": shared}))
"""


def test_every_verb_and_flag_has_a_row(installed):
    done = subprocess.run([installed / "bin" / "python", "-c", LIST], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    flags = set(found["shared"]).union(*found["verbs"].values())
    assert {"worker", "push", "pull"} <= set(found["verbs"])
    assert {verb for verb in found["verbs"] if f"| `{verb}` |" not in PAGE} == set()
    assert {flag for flag in flags if f"`{flag}`" not in PAGE} - {"--help", "--version"} == set()


READ = re.compile(
    r"(?:env(?:iron)?(?:\.get|\.pop|\.setdefault)?|getenv)[\[(]\s*\"([A-Z][A-Z0-9_]+)\"|envvar=\"([A-Z_]+)\""
)


def test_every_variable_has_a_row(installed):
    (package,) = installed.glob("lib/python3*/site-packages/ai4s/jobq")
    text = "\n".join(path.read_text() for path in package.rglob("*.py"))
    found = {name for match in READ.findall(text) for name in match if name}
    assert {"JOBQ_STORAGE", "JOBQ_KILL_TIMEOUT", "WORKFORCE_CONTROL_TOPIC_NAME"} <= found
    assert {name for name in found if f"`{name}`" not in PAGE} == set()
