"""Measurements against known answers, through the real replay service and clients: `sojourn bench`."""
