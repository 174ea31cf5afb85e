"""How much of the work of a Dask cluster on this machine is work on structures.

Relaxes the same molecules in this process and on a cluster of worker processes, started and warm,
one thread each, and compares the processor time of all processes: 1 would mean that a worker does
as much for its time as this process. Workers that share cores cannot show it by the clock.

    python dask_efficiency.py [--workers 3] [--molecules 300]
"""

import argparse
import os
import time

import psutil
import torch
from distributed import Client, LocalCluster
from relax_many import make_molecules

from tdncalc import RelaxSettings, TDNCalculator, relax_many
from tdncalc.workflows.many.cluster import WorkerModel, relax_on_cluster


def spent(cluster: LocalCluster) -> float:
    """Return the processor time in s of this process, with the scheduler, and of all workers."""
    pids = [os.getpid(), *(worker.pid for worker in cluster.workers.values())]
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def main() -> None:
    """Measure both and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--molecules", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    calculator = TDNCalculator()
    calculator.potential.settle(wait=True)
    settings = RelaxSettings()
    source, molecules = make_molecules(options.molecules, calculator.potential.elements)
    list(relax_many(molecules[:20], calculator=calculator, settings=settings))
    start, clock = time.process_time(), time.perf_counter()
    n_here = len(list(relax_many(molecules, calculator=calculator, settings=settings)))
    here, here_wall = time.process_time() - start, time.perf_counter() - clock
    print(f"{n_here} molecules ({source}) here: {here:.1f} s of processor, {here_wall:.1f} s")
    sha256 = calculator.potential.card["sha256"]
    model = WorkerModel("organic", "cpu", "float32", "auto", None, sha256)
    cluster = LocalCluster(n_workers=options.workers, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster) as client:

        def there(part: list) -> int:
            how = {"client": client, "model": model, "settings": settings}
            return len(list(relax_on_cluster(part, stop=lambda: False, **how)))

        there(molecules[: 40 * options.workers])
        before, clock = spent(cluster), time.perf_counter()
        n_there = there(molecules)
        cpu, wall = spent(cluster) - before, time.perf_counter() - clock
    print(f"{n_there} on {options.workers} workers: {cpu:.1f} s of processor, {wall:.1f} s")
    print(f"efficiency by processor time: {here / cpu:.2f}")


if __name__ == "__main__":
    main()
