"""How a task says that it has saved its state."""

import os
from datetime import UTC, datetime

from workforce_agent.checkpoint_note import CheckpointNote

SAVED = datetime(2026, 11, 1, 12, tzinfo=UTC)


def test_a_task_that_never_touches_its_file_has_said_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    note = CheckpointNote()
    assert note.read() is None
    note.close()
    assert note.read() is None


def test_what_a_task_has_said_is_kept_when_its_file_is_removed_at_the_end(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    note = CheckpointNote()
    note.path.touch()
    os.utime(note.path, (SAVED.timestamp(), SAVED.timestamp()))
    note.close()
    assert note.read() == SAVED
    assert list(tmp_path.iterdir()) == []


def test_two_runs_have_two_files():
    assert CheckpointNote().path != CheckpointNote().path
