"""Actors: environments are stepped with the latest policy and their experience is sent to the replay service."""
