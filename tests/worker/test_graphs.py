"""Random graphs with a real worker: each node ends as the rules of docs/workflows.md say."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.servers import Server
from tests.waiting import wait_until
from tests.worker.conftest import MakeSite
from tests.worker.graphs import QUEUES, Drawn, Running, graphs
from tests.worker.running import WAIT, Site

GRAPHS = int(os.environ.get("UNCUT_GRAPHS", "300"))
LOSSES = int(os.environ.get("UNCUT_GRAPH_LOSSES", "20"))
# The third runs while the second still does.
EARLY = [
    Drawn("fails", 1, "default", (), "list", False),
    Drawn("lingers", 60, "default", (), "list", False),
    Drawn("succeeds", 1, "default", ((0, "early"), (1, "success")), "list", False),
    Drawn("succeeds", 1, "mail", ((2, "success"), (1, "any")), "nested", False),
]
MODULES = {"MODULES": ["tests.worker.graph_tasks"], "LEASE": 1.0}


def chosen(examples: int, *, is_fixed: bool) -> settings:
    """``is_fixed``: the same ones at each run."""
    return settings(
        max_examples=examples,
        derandomize=is_fixed,
        deadline=None,
        database=None,
        print_blob=True,
        # Races do not come back smaller: the graph that failed is shown as it was.
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def started(site: Site) -> Site:
    site.start("--queues", ",".join(QUEUES), "--processes", "2")
    return site


@pytest.mark.parametrize(
    ("examples", "is_fixed"),
    [
        pytest.param(20, True, id="few"),
        pytest.param(
            GRAPHS, False, id="many", marks=[pytest.mark.faults, pytest.mark.timeout(1800)]
        ),
    ],
)
def test_each_node_ends_as_the_policies_say(
    make_site: MakeSite, examples: int, is_fixed: bool
) -> None:
    site = started(make_site(tasks=MODULES))
    seen: Counter[str] = Counter()

    @chosen(examples, is_fixed=is_fixed)
    @given(graphs())
    @example(EARLY)
    def check(graph: list[Drawn]) -> None:
        seen.update(Running(site, graph).judged(WAIT))

    check()

    print(dict(seen))
    assert len(seen) == 8, "every ending was among them, and some ran early"


def empty(server: Server) -> None:
    server.flush()


def go_back(server: Server) -> None:
    """To the last dump."""
    server.kill()
    server.start()


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("lose", [empty, go_back])
def test_law_6_graphs_end_so_though_the_broker_forgets_in_the_middle(
    make_site: MakeSite, lose: Callable[[Server], None]
) -> None:
    with Server() as own:
        site = started(make_site(own.url, tasks=MODULES))
        several = st.lists(graphs(is_steady=True), min_size=3, max_size=3)

        @chosen(LOSSES, is_fixed=False)
        @given(several, several, st.floats(0.1, 0.9), st.floats(0.1, 0.9))
        def check(
            before: list[list[Drawn]], after: list[list[Drawn]], first: float, second: float
        ) -> None:
            running = enqueued(site, before, first)
            with own.client() as client:
                client.save()
            running += enqueued(site, after, second)

            lose(own)

            for one in running:
                one.judged(3 * WAIT, is_shaken=True)

        check()
        site.stop()


def enqueued(site: Site, drawn: list[list[Drawn]], part: float) -> list[Running]:
    """Enqueued, and that part of the nodes has ended."""
    running = [Running(site, one, is_steady=True) for one in drawn]
    most = sum(len(one) for one in drawn) * (1.0 - part)
    wait_until(lambda: sum(len(one.left()) for one in running) <= most, WAIT)
    return running
