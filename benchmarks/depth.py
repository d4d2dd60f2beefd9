"""What grows with the queue: claim rate, memory of the server, memory of the worker."""

from __future__ import annotations

import time

from benchmarks import machine, tasks
from benchmarks.project import Project
from benchmarks.report import Report

BATCH = 10  # messages in one claim
SHALLOW = 1_000  # messages in the shallow queue


def claims(project: Project, report: Report, *, deep: int, rounds: int) -> None:
    """Claims of ten from a deep queue against a shallow one, in turns. Only claims are timed."""
    from django_tasks.broker.message import Outcome

    project.fresh()
    queues = {deep: "deep", SHALLOW: "shallow"}
    rates: dict[int, list[float]] = {depth: [] for depth in queues}
    for depth, queue in queues.items():
        project.push(depth, queue)
    for _ in range(rounds):
        for depth, queue in queues.items():
            project.broker.beat([queue], ["bench"], register=True)
            spent, done = 0.0, 0
            for _ in range(SHALLOW // 2 // BATCH):  # so the shallow queue is never empty
                began = time.perf_counter()
                claimed = project.broker.claim(queue, "bench", BATCH)
                spent += time.perf_counter() - began
                done += len(claimed)
                outcomes = [Outcome.successful(one) for one in claimed]
                project.broker.ack(queue, "bench", outcomes)
            rates[depth].append(done / spent)
            project.push(done, queue)
    best = {depth: max(found) for depth, found in rates.items()}
    report.add("depth", f"claims with {SHALLOW:,} queued", best[SHALLOW], "messages/s")
    report.add(
        "depth",
        f"claims with {deep:,} queued",
        best[deep],
        "messages/s",
        ratio=best[deep] / best[SHALLOW],
        of=f"{SHALLOW:,} queued",
        target=("≥", 0.9),
    )


def memory(project: Project, report: Report, count: int) -> None:
    """Memory of a child and of its supervisor while ``count`` tasks run: the mean of the last tenth
    against that of the first."""
    project.fresh()
    project.hold()
    project.push(count)
    samples: list[tuple[float, dict[str, tuple[int, int]]]] = []  # share done, role → PSS, RSS
    with project.worker(2) as worker:
        watched = {"child": worker.children[0], "supervisor": worker.supervisor}
        project.release()
        while left := project.left():
            sizes = {role: machine.memory_kib(pid) for role, pid in watched.items()}
            samples.append((1 - left / count, sizes))
            time.sleep(0.02)
    for role in watched:
        for i, kind in enumerate(("PSS", "RSS")):
            tenths = [
                [sizes[role][i] for done, sizes in samples if low <= done < low + 0.1]
                for low in (0.0, 0.9)
            ]
            if not all(tenths):
                report.skip("memory", f"{count} tasks were done before both ends were seen")
                return
            first, last = (sum(found) / len(found) / 1024 for found in tenths)
            report.add(
                "memory",
                f"{kind} of the {role}, last tenth of {count:,} tasks",
                last,
                "MiB",
                ratio=last / first,
                of="first tenth",
                target=("≤", 1.05),
            )


def idle_memory(project: Project, report: Report) -> None:
    """PSS of a worker with two children that has done a little and waits."""
    project.fresh()
    with project.worker(2) as worker:
        project.hold()
        project.enqueue(tasks.never, 200)
        project.release()
        project.wait_finished()
        time.sleep(1.0)
        roles = {
            "supervisor": [worker.supervisor],
            "each child": worker.children,
            "keeper": worker.keeper,
        }
        pss = {pid: machine.memory_kib(pid)[0] / 1024 for pid in worker.all()}
    report.add("pss", "PSS, idle, 2 children, all processes", sum(pss.values()), "MiB")
    for role, pids in roles.items():
        report.add(
            "pss", f"PSS of {role}", sum(pss[pid] for pid in pids) / max(len(pids), 1), "MiB"
        )


def bytes_per_message(project: Project, report: Report, count: int) -> None:
    """What a queued call with two small arguments takes in the server."""
    for recording in ("never", "first"):
        project.fresh()
        task = tasks.with_arguments.using(record=recording)
        project.enqueue(task, 10, 1, 2)  # what the first ones cost is no message's
        before = project.server.used_memory()
        project.enqueue(task, count, 1, 2)
        used = (project.server.used_memory() - before) / count
        report.add("bytes", f'a queued small task, record="{recording}"', used, "bytes")
