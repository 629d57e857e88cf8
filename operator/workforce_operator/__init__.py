"""The Kubernetes operator that hires and drains AzureML worker jobs, and its command line."""
