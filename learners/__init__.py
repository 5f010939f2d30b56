"""Learners: batches in, gradient steps, parameters and checkpoints out."""
