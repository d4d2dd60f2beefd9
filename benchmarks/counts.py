"""How many tasks each case takes: in a run whose figures count, and in a smoke test."""

from __future__ import annotations

FULL = {
    "rounds": 3,
    "bare": 20_000,
    "never": 60_000,
    "recorded": 40_000,
    "peer": 15_000,
    "idle": 400,
    "deep": 300_000,
    "memory": 300_000,
    "inserts": 3_000,
    "many": 20_000,
    "bytes": 20_000,
    "options": 2_000,
    "runs": 10_000,
    "chain": 100,
    "chord": 1_000,
    "chord-10000": 10_000,
    "long": 10,
    "short": 200,
    "long_ms": 2_000,
}
# Each is tried, nothing is measured.
QUICK = {
    "rounds": 1,
    "bare": 500,
    "never": 300,
    "recorded": 200,
    "peer": 500,
    "idle": 10,
    "deep": 3_000,
    "memory": 5_000,
    "inserts": 100,
    "many": 200,
    "bytes": 200,
    "options": 100,
    "runs": 100,
    "chain": 5,
    "chord": 20,
    "chord-10000": 200,
    "long": 2,
    "short": 10,
    "long_ms": 100,
}
