"""What a program must not load for the little that it is asked for."""

from __future__ import annotations

import subprocess
import sys


def test_help_loads_no_verb() -> None:
    code = (
        "import sys; from workforce_operator.cli.main import workforce; workforce(['--help'], standalone_mode=False); "
        "print([name for name in ('workforce_local', 'kopf', 'rich', 'azure.ai.ml') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"


def test_help_of_the_verbs_that_ask_kubernetes_loads_no_client_of_it() -> None:
    code = (
        "import sys; from workforce_operator.cli.main import workforce\n"
        "for verb in ('drain', 'explain', 'workers'): workforce([verb, '--help'], standalone_mode=False)\n"
        "print([name for name in ('workforce_operator.cli.reach', 'kubernetes') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "['workforce_operator.cli.reach']"


def test_asking_for_the_version_imports_no_azure_sdk():
    code = (
        "import sys; from workforce_agent.cli import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: pass\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'azure', 'aiohttp', 'pydantic', 'structlog'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
