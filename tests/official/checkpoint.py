"""A random checkpoint as the published code writes it, and its network in plain NumPy.

Written from the equations, and shares nothing with the package: slow, one edge after another.
"""

import numpy as np
import torch

SIZES = {"T": 2, "C": 8, "H": 2, "B": 6, "F1": 5, "F2": 7}
CUTOFF, N_AVG, D_AVG = 4.5, 36.6, 18.6


def linear(rng, name, c_in, c_out, bias=True):
    state = {f"{name}.linear.weight": rng.normal(size=(c_out, c_in)) / np.sqrt(c_in)}
    return state | ({f"{name}.bias": rng.normal(size=(1, c_out))} if bias else {})


def radial(rng, name):
    gaussians, first, second, C = (SIZES[k] for k in ("B", "F1", "F2", "C"))
    shapes = {
        "offset": (C,),
        "net.0.weight": (first, gaussians),
        "net.0.bias": (first,),
        "net.1.weight": (first,),
        "net.1.bias": (first,),
        "net.3.weight": (second, first),
        "net.3.bias": (second,),
        "net.4.weight": (second,),
        "net.4.bias": (second,),
        "net.6.weight": (C, second),
    }
    return {f"{name}.{key}": 0.7 * rng.normal(size=shape) for key, shape in shapes.items()}


def norm(rng, name, l_max):
    C = SIZES["C"]
    return {
        f"{name}.affine_weight": rng.normal(size=(l_max + 1, 1, C)),
        f"{name}.affine_bias": rng.normal(size=(1, 1, C)),
    }


def attention(rng, name, factors):
    C, H = SIZES["C"], SIZES["H"]
    return {
        f"{name}.alpha_dot": rng.normal(size=(H, C // H)),
        **linear(rng, f"{name}.merge_src", C, C),
        **linear(rng, f"{name}.merge_dst", C, C, bias=False),
        **{f"{name}.tp1.cp_tp.cp_{k}": f for k, f in zip("abc", factors, strict=True)},
        **radial(rng, f"{name}.rad"),
        **linear(rng, f"{name}.lin_alpha", C, C),
        **linear(rng, f"{name}.lin_value", C, 2 * C),
        **{f"{name}.tp2.cp_tp.cp_{k}": f for k, f in zip("abc", factors, strict=True)},
        **linear(rng, f"{name}.proj", C, C),
    }


def random_state(l_max=1, rank=5, seed=0):
    """Make a state dict of NumPy arrays in float32's values."""
    rng = np.random.default_rng(seed)
    C, B = SIZES["C"], SIZES["B"]
    factors = [rng.normal(size=((l_max + 1) ** 2, rank)) / rank**0.5 for _ in range(3)]
    state = {
        "atom_embed.atom_type_lin.weight": rng.normal(size=(C, 80)),
        "atom_embed.atom_type_lin.bias": rng.normal(size=C),
        **linear(rng, "edge_embed.exp", C, C),
        **{f"edge_embed.tp.cp_tp.cp_{k}": f for k, f in zip("abc", factors, strict=True)},
        **radial(rng, "edge_embed.rad"),
        **linear(rng, "edge_embed.proj", C, C),
        "rbf.mean": rng.uniform(size=(1, B)),
        "rbf.std": rng.choice([-1, 1], size=(1, B)) * rng.uniform(0.2, 1, size=(1, B)),
        "rbf.weight": np.array([[1.1]]),
        "rbf.bias": np.array([[-0.1]]),
    }
    for t in range(SIZES["T"]):
        state |= norm(rng, f"blocks.{t}.norm1", l_max)
        state |= attention(rng, f"blocks.{t}.attn", factors)
        state |= norm(rng, f"blocks.{t}.norm2", l_max)
        state |= linear(rng, f"blocks.{t}.ffn.0", C, 2 * C)
        state |= linear(rng, f"blocks.{t}.ffn.2", C, C)
    state |= norm(rng, "norm", l_max)
    state |= linear(rng, "head.0", C, C) | linear(rng, "head.2", C, 1)
    state |= attention(rng, "force_head", factors) | linear(rng, "force_proj", C, 1)
    return {name: value.astype(np.float32) for name, value in state.items()}


def tensors(state):
    return {name: torch.from_numpy(value.copy()) for name, value in state.items()}


def save(path, state, **more):
    """Write a state dict, or a training checkpoint if there is anything more."""
    content = {"epoch": 3, "model_state_dict": tensors(state), **more} if more else tensors(state)
    torch.save(content, path)
    return path


def sigmoid(t):
    return 1 / (1 + np.exp(-t))


def silu(t):
    return t * sigmoid(t)


def harmonics(u, l_max):
    x, y, z = u
    s3, s5, s15 = np.sqrt([3.0, 5.0, 15.0])
    first = [1, s3 * x, s3 * y, s3 * z]
    second = [
        s15 * x * z,
        s15 * x * y,
        s5 * (y**2 - (x**2 + z**2) / 2),
        s15 * y * z,
        s15 / 2 * (z**2 - x**2),
    ]
    return np.array(first + (second if l_max == 2 else []))


class NumPyNetwork:
    """Energies and direct forces of a structure, given all its edges (j, i, r_j - r_i)."""

    def __init__(self, state):
        self.p = {name: value.astype(np.float64) for name, value in state.items()}
        self.l_max = len(state["norm.affine_weight"]) - 1

    def linear(self, name, x):
        y = x @ self.p[f"{name}.linear.weight"].T
        y[0] += self.p.get(f"{name}.bias", np.zeros((1, 1)))[0]
        return y

    def radial(self, name, g):
        p = {key: self.p[f"{name}.{key}"] for key in ("offset", "net.6.weight")}
        h = g
        for affine, layer in ((0, 1), (3, 4)):
            w, b, gamma, beta = (
                self.p[f"{name}.net.{k}.{kind}"]
                for k in (affine, layer)
                for kind in ("weight", "bias")
            )
            h = w @ h + b
            h = silu((h - h.mean()) / np.sqrt(h.var() + 1e-5) * gamma + beta)
        return p["net.6.weight"] @ h + p["offset"]

    def norm(self, name, x):
        gamma, beta = self.p[f"{name}.affine_weight"], self.p[f"{name}.affine_bias"]
        y = np.zeros_like(x)
        for degree in range(self.l_max + 1):
            part = slice(degree**2, (degree + 1) ** 2)
            centered = x[part] - (x[part].mean() if degree == 0 else 0)
            y[part] = centered * gamma[degree] / np.sqrt((centered**2).mean() + 1e-5)
        y[0] += beta[0, 0]
        return y

    def gate(self, x):
        C = SIZES["C"]
        return np.concatenate([silu(x[:1, :C]), x[1:, :C] * sigmoid(x[:1, C:])])

    def product(self, name, x, y, w):
        a, b, c = (self.p[f"{name}.cp_tp.cp_{k}"] for k in "abc")
        return w * np.einsum("kr,rc,r->kc", c, a.T @ x, b.T @ y)

    def attention(self, name, x, edges):
        out = np.zeros_like(x)
        for i in range(len(x)):
            logits, values = [], []
            for j, target, y, g in edges:
                if target != i:
                    continue
                w = self.radial(f"{name}.rad", g)
                m = self.linear(f"{name}.merge_src", x[j]) + self.linear(f"{name}.merge_dst", x[i])
                m = self.product(f"{name}.tp1", m, y, w)
                z = self.linear(f"{name}.lin_alpha", m)[0].reshape(SIZES["H"], -1)
                act = 0.6 * z + 0.4 * z * (2 * sigmoid(z) - 1)
                logits.append((self.p[f"{name}.alpha_dot"] * act).sum(1))
                q = self.gate(self.linear(f"{name}.lin_value", m))
                values.append(self.product(f"{name}.tp2", q, y, w))
            if values:
                raised = np.exp(logits - np.max(logits, axis=0))
                p = raised / (raised.sum(0) + 1e-16)
                width = SIZES["C"] // SIZES["H"]
                out[i] = sum(np.repeat(pe, width) * v for pe, v in zip(p, values, strict=True))
        return np.stack([self.linear(f"{name}.proj", o) for o in out])

    def degree_embedding(self, n_atoms, edges):
        d, C = (self.l_max + 1) ** 2, SIZES["C"]
        f = np.zeros((d, C))
        f[0] = self.p["edge_embed.exp.linear.weight"].sum(1) + self.p["edge_embed.exp.bias"][0]
        G = np.zeros((n_atoms, d, C))
        for _, i, y, g in edges:
            w = self.radial("edge_embed.rad", g)
            G[i] += self.linear("edge_embed.proj", self.product("edge_embed.tp", f, y, w))
        return G / np.sqrt(D_AVG)

    def basis(self, distance):
        p = self.p
        t = p["rbf.weight"][0, 0] * distance / CUTOFF + p["rbf.bias"][0, 0]
        s = np.abs(p["rbf.std"][0]) + 1e-5
        return np.exp(-(((t - p["rbf.mean"][0]) / s) ** 2) / 2) / (np.sqrt(2 * np.pi) * s)

    def __call__(self, numbers, edges):
        lengths = [np.linalg.norm(v) for _, _, v in edges]
        edges = [
            (j, i, harmonics(v / d, self.l_max), self.basis(d))
            for (j, i, v), d in zip(edges, lengths, strict=True)
        ]
        x = self.degree_embedding(len(numbers), edges)
        embedding = self.p["atom_embed.atom_type_lin.weight"][:, numbers].T
        x[:, 0] += embedding + self.p["atom_embed.atom_type_lin.bias"]
        for t in range(SIZES["T"]):
            normed = np.stack([self.norm(f"blocks.{t}.norm1", one) for one in x])
            x = x + self.attention(f"blocks.{t}.attn", normed, edges)
            for n, one in enumerate(x.copy()):
                h = self.linear(f"blocks.{t}.ffn.0", self.norm(f"blocks.{t}.norm2", one))
                x[n] += self.linear(f"blocks.{t}.ffn.2", self.gate(h))
        x = np.stack([self.norm("norm", one) for one in x])
        hidden = [silu(self.linear("head.0", one)[:1]) for one in x]
        energies = np.array([self.linear("head.2", one)[0, 0] for one in hidden]) / np.sqrt(N_AVG)
        touched = {atom for j, i, _, _ in edges for atom in (j, i)}
        energies[[n for n in range(len(x)) if n not in touched]] = 0
        direct = self.attention("force_head", x, edges)
        forces = np.stack([self.linear("force_proj", one)[1:4, 0] for one in direct])
        return energies, forces


def all_edges(positions):
    """List (j, i, r_j - r_i) of every pair within the cutoff."""
    return [
        (j, i, positions[j] - positions[i])
        for i in range(len(positions))
        for j in range(len(positions))
        if i != j and ((positions[j] - positions[i]) ** 2).sum() < CUTOFF**2
    ]
