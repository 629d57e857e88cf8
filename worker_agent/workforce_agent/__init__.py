"""The worker agent: pulls tasks on an AzureML node, runs them and keeps their locks."""
