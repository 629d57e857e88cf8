"""The instance metadata service of simulated machines: instance data, scheduled events, managed identity."""

from workforce_local.imds.events import NOTICE_SECONDS, EventType, ScheduledEvent, ScheduledEvents
from workforce_local.imds.server import Machine, MetadataServer

__all__ = ["NOTICE_SECONDS", "EventType", "Machine", "MetadataServer", "ScheduledEvent", "ScheduledEvents"]
