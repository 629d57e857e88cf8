"""AzureML and its part of Azure Resource Manager, with jobs that really run on simulated nodes."""
