"""Processes that make batches, and the choice between them and threads."""
