"""Task queue library and the wire contracts that operator, agent and people share."""

from jobq.version import __version__

__all__ = ["__version__"]
