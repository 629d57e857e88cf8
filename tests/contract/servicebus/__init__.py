"""The local Service Bus under contract: what the real azure-servicebus SDK finds, feature by feature."""
