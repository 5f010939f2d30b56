"""The parameter service: allots policy versions and hands the newest policy to whoever watches. Imports no torch."""
