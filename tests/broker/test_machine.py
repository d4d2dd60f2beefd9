"""The stateful test of the scripts. `make faults` runs ten times as many steps."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.broker.machine import Machine
from tests.servers import Server

STEPS = int(os.environ.get("UNCUT_MACHINE_STEPS", "2000"))
STEPS_PER_EXAMPLE = 50


@pytest.mark.timeout(600)  # a busy machine takes five times as long
def test_laws_1_to_5_hold_over_random_interleavings() -> None:
    class Random(Machine):
        pass

    with Server() as server:
        Random.server = server
        run_state_machine_as_test(
            Random,
            settings=settings(
                max_examples=STEPS // STEPS_PER_EXAMPLE,
                stateful_step_count=STEPS_PER_EXAMPLE,
                deadline=None,
                database=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
