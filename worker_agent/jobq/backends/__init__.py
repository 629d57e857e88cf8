"""Services that hold a task queue, behind one port; one contract suite runs against each of them."""

from jobq.backends.port import Delivery, Peeked, QueueBackend, QueueSize

__all__ = ["Delivery", "Peeked", "QueueBackend", "QueueSize"]
