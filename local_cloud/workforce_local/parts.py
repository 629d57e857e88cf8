"""Which parts the local cloud consists of, and in which order they start."""

from collections.abc import Sequence

from workforce_local.config import LocalConfig
from workforce_local.state import StateFolder
from workforce_local.supervisor import Component


def compose(folder: StateFolder, config: LocalConfig, *, kubernetes: bool) -> Sequence[Sequence[Component]]:
    """The parts, stage by stage."""
    return []
