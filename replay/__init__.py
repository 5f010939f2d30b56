"""The replay service and its client: experience in, prioritised batches out. Never imports torch."""
