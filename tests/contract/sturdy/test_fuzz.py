"""A part of what `make bench-local` feeds to the decoder of the local Service Bus, with another seed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[3] / "bench" / "local_fuzz.py"
INPUTS, SEED = "2000", "2"


def test_broken_bytes_do_no_more_than_end_their_connection() -> None:
    """AMQP 1.0, 2.8.16: what cannot be read is a decode error or a framing error of its connection."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), INPUTS, SEED], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith(f"{INPUTS} inputs")
    assert "took more than" not in done.stdout
