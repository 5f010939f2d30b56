"""How fast is it? Rows of replay, rollout, learner and parameters, each with what it must reach (docs/benchmarks.md)."""
