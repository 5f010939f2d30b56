"""Faults on real services under load, and what they cost: `sojourn bench chaos`."""
