"""Application Insights of the local Azure: takes telemetry as the real ingestion endpoint does, and shows it."""

from workforce_local.insights.routes import Insights

__all__ = ["Insights"]
