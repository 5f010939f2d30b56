"""How fast is learning, in steps and by the clock? Whole runs, beside Stable-Baselines3 on the same machine.

course       a system, an environment and a seed, and what came of it: one line of docs/results/learning.jsonl
ours         a course of this program: `sojourn train` in a process of its own
peer         a course of Stable-Baselines3: benchmarks/peers/programs, in its own virtual environment
statistics   interquartile means and their intervals
page, plot   docs/learning.md and its curves
"""
