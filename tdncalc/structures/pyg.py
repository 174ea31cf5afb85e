"""PyTorch Geometric graphs as Atoms, without importing torch_geometric."""

from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from ase import Atoms

from tdncalc.errors import StructureError

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data

__all__ = ["is_pyg", "split_pyg"]


def is_pyg(x: object) -> "TypeGuard[Data | Batch]":
    """Return whether an object is a graph, or a batch of graphs, of torch_geometric."""
    return any(
        kind.__module__.startswith("torch_geometric.data") and kind.__name__ in ("Data", "Batch")
        for kind in type(x).__mro__
    )


def split_pyg(graphs: "Data | Batch") -> list[Atoms]:
    """Make Atoms of each graph in a batch.

    Parameters
    ----------
    graphs
        ``z`` (N,) atomic numbers and ``pos`` (N, 3) in Å; ``batch`` (N,) where there are B > 1
        structures; ``cell`` (B, 3, 3) in Å and ``pbc`` (B, 3), each optional. A cell without pbc is
        periodic along every vector that is not zero. Anything else is ignored.

    Raises
    ------
    StructureError
        Numbers or positions are missing, or a shape does not fit.
    """
    numbers, positions = _array(graphs, "z"), _array(graphs, "pos")
    if numbers is None or positions is None:
        raise StructureError("a PyG graph lacks z (atomic numbers) or pos (positions); set both")
    batch = _array(graphs, "batch")
    batch = np.zeros(len(numbers), dtype=np.int64) if batch is None else batch
    n_structures = int(getattr(graphs, "num_graphs", None) or batch.max(initial=0) + 1)
    cell, pbc = _array(graphs, "cell"), _array(graphs, "pbc")
    try:
        cells = np.zeros((n_structures, 3, 3)) if cell is None else cell.reshape(n_structures, 3, 3)
        periodic = np.asarray(cells.any(axis=2) if pbc is None else pbc.reshape(n_structures, 3))
        return [
            Atoms(numbers[batch == i], positions[batch == i], cell=cells[i], pbc=periodic[i])
            for i in range(n_structures)
        ]
    except (ValueError, IndexError) as error:
        raise StructureError(f"a PyG batch of {n_structures} has wrong shapes ({error})") from error


def _array(graphs: Any, name: str) -> Any:  # noqa: ANN401 - attributes of PyG objects have no type
    value = getattr(graphs, name, None)
    return None if value is None else value.detach().cpu().numpy()
