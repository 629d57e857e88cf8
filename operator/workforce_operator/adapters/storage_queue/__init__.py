"""Azure Storage Queue: how deep a task queue is."""
