"""AzureML: worker jobs over ARM, and templates resolved by azure-ai-ml in a child process."""
