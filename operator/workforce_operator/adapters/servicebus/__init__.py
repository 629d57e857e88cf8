"""Service Bus: the control channel that the operator sends orders on and reads reports from."""
