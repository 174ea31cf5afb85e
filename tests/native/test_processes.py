"""What the kernel does in a child process, and without memory."""

import os
import subprocess
import sys

import pytest

linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits memory as Linux does"
)
_BEGIN = """
import faulthandler
import os
import resource
import torch
from ase.build import molecule
from tdncalc import TDNCalculator
torch.set_num_threads(2)
calculator = TDNCalculator("organic-small", device="cpu", evaluation="compiled")
atoms = molecule("C6H6")
for x in range(1, 40):
    other = molecule("C6H6")
    other.positions[:, 2] += 4.0 * x
    atoms += other
atoms.calc = calculator
energy = atoms.get_potential_energy()
"""
_FORK = """
child = os.fork()
if child == 0:
    faulthandler.dump_traceback_later(30, exit=True)
    calculator.results.clear()
    calculator.atoms = None
    same = abs(atoms.get_potential_energy() - energy) < 1e-6
    calculator.__dict__.clear()
    del calculator, atoms
    os._exit(0 if same else 3)
_, status = os.waitpid(child, 0)
print("child", os.waitstatus_to_exitcode(status))
"""
_MEMORY = """
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
_, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + 2**20, hard))
big = atoms.copy()
for x in range(8):
    more = atoms.copy()
    more.positions[:, 0] += 20.0 * (x + 1)
    big += more
big.calc = calculator
try:
    big.get_potential_energy()
    print("it fitted")
except MemoryError:
    print("no memory")
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
print("same", abs(big.get_potential_energy() / 9 - energy) < 1e-3)
"""

_LIST = """
from ase.build import bulk
from tdncalc.geometry.graph import listed_graph
from tdncalc.geometry.neighbors import neighbor_list
big = bulk("C", cubic=True).repeat(14)
cell = big.cell.array
edges, shift = neighbor_list(big.positions, cell, big.pbc, 5.0)
edges, shift = edges.astype("i4", order="C"), shift.astype("i2", order="C")
graph = listed_graph(big.numbers, big.positions, cell, big.pbc, edges, shift)
kernel = calculator.potential.choice.kernel()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
_, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + 2**20, hard))
try:
    kernel._prepared(graph)
except MemoryError as error:
    print(error)
"""

_DAEMON = """
import threading
for _ in range(3):
    more = atoms.copy()
    more.positions[:, 0] += 20.0 + atoms.positions[:, 0].max()
    atoms += more
atoms.get_forces()
begun = threading.Event()
class Steps(type(calculator)):
    def calculate(self, *args):
        begun.set()
        super().calculate(*args)
calculator.__class__ = Steps
def run():
    while True:
        atoms.positions[0, 0] += 1e-4
        atoms.get_forces()
threading.Thread(target=run, daemon=True).start()
begun.wait()
print("end")
"""

_LIMIT = """
def limit():
    torch.get_num_threads = lambda: 4  # of the kernel; PyTorch's own would end the process
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    room = 7 * 2**20  # less than the stack of a thread
    resource.setrlimit(resource.RLIMIT_AS, (used + room, resource.RLIM_INFINITY))
"""
_FEW_THREADS = """
expected = atoms.get_forces()
calculator.reset()
limit()
print("same", abs(atoms.get_forces() - expected).max() == 0)
"""
_TRAINING = """
from tdncalc.native.training import training_kernel
torch.set_num_threads(1)
network = calculator.potential.network
kernel = training_kernel(network)
elements = torch.zeros(120, dtype=torch.int64)
edges = torch.arange(120).unflatten(0, (60, 2)).T
edges = torch.cat([edges, edges.flip(0)], dim=1)
edges = edges[:, edges[1].argsort()]
vectors = torch.where(edges[0] < edges[1], 1.0, -1.0)[:, None] * torch.ones(3)
_, expected = kernel(elements, edges, vectors)
limit()
_, found = kernel(elements, edges, vectors)
print("same", torch.equal(found, expected))
"""


def run(text: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN + text],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
        check=False,
    )
    if "is not possible" in done.stderr:
        pytest.skip("no compiler")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_forked_child_computes_and_lets_go() -> None:
    assert run(_FORK) == "child 0\n"


def test_a_process_ends_while_a_thread_computes() -> None:
    assert run(_DAEMON) == "end\n"


@linux
@pytest.mark.parametrize("text", [_FEW_THREADS, _TRAINING])
def test_kernels_compute_where_the_system_gives_no_more_threads(text: str) -> None:
    assert run(_LIMIT + text) == "same True\n"


@linux
def test_the_kernel_computes_after_it_had_no_memory() -> None:
    assert run(_MEMORY).endswith("same True\n")


@linux
def test_a_list_for_which_there_is_no_memory_is_an_error() -> None:
    assert run(_LIST).endswith("pairs do not fit into memory\n")
