"""Fit the affine compressed experts of one layer again, with NumPy from the rows themselves, and compare.

usage: check_fit.py ROWS.safetensors COMPRESSED.safetensors --layer L [--tolerance X]

ROWS is what `cemoe calibrate --dump-layer L --dump ROWS` writes: for every expert E and the sets fit and heldout `E.SET.x` and `E.SET.y`
[rows, hidden], what went into the expert and came out, and `E.SET.a` [rows], the router's weights.  COMPRESSED is the file of the same run;
its metadata say which ridges were tried and up to which rank.

For each expert: w = a^2, ridge regression of y on x about the weighted means for every ridge, cut by a singular value decomposition in the
metric of the inputs; of the ridges the one with the least error on the held-out rows at the highest rank; then U and V rounded to BF16.
All in float64, with no moments and no code in common with cemoe.  Compared are the matrix U V, relative in the metric of the inputs, and b,
which is the mean output less what the file's U V makes of the mean input: beyond the rounding of b to BF16, relative to its length.  The
error both leave on the held-out rows is printed as a share of the layer's without experts.
Exit: 0 agrees, 3 above the tolerance, 1 failed, 2 wrong usage.
"""
import argparse
import json
import struct
import sys
from pathlib import Path

import numpy as np

ROWS_PER_RANK = 4  # src/calibrate/fit.c: effective rows that a rank takes
PRIOR_ROWS = 4     # and how many the layer's mean counts for in a constant


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("compressed", type=Path)
    parser.add_argument("--layer", type=int, required=True)
    parser.add_argument("--tolerance", type=float, default=1e-3, help="default: 1e-3")
    args = parser.parse_args()
    rows, _ = read(args.rows)
    written, metadata = read(args.compressed)
    sys.exit(check_layer(rows, written, metadata, args.layer, args.tolerance))


def read(path):
    """{name: array}, metadata; BF16 is widened to float32."""
    data = path.read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    metadata = header.pop("__metadata__", {})
    arrays = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        kind = {"F32": "<f4", "BF16": "<u2"}[entry["dtype"]]
        array = np.frombuffer(data[begin:end], kind).reshape(entry["shape"])
        arrays[name] = from_bf16(array) if entry["dtype"] == "BF16" else array
    return arrays, metadata


def from_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def round_bf16(values):
    """To the nearest, ties to even."""
    bits = np.asarray(values, np.float32).view(np.uint32).astype(np.uint64)
    return from_bf16(((bits + 0x7fff + ((bits >> 16) & 1)) >> 16).astype(np.uint16)).astype(np.float64)


class Rows:
    def __init__(self, rows, expert, kind):
        self.x, self.y, a = (rows[f"{expert}.{kind}.{part}"].astype(np.float64) for part in "xya")
        self.w = a * a

    def effective(self):
        return self.w.sum() ** 2 / (self.w ** 2).sum() if self.w.any() else 0.0

    def means(self):
        return self.w @ self.x / self.w.sum(), self.w @ self.y / self.w.sum()

    def error(self, matrix, b):
        left = self.y - self.x @ matrix - b
        return float(self.w @ (left * left).sum(1))


def check_layer(rows, written, metadata, layer, tolerance):
    experts = sorted({int(name.split(".")[0]) for name in rows})
    fits, heldout = ([Rows(rows, e, kind) for e in experts] for kind in ("fit", "heldout"))
    total = sum(f.w.sum() for f in fits)
    layer_mean = sum(f.w @ f.y for f in fits) / total
    ridges = [float(text) for text in metadata["ridges"].split()]
    worst, errors = (0.0, None), np.zeros(3)
    for e, fit, other in zip(experts, fits, heldout):
        part = {name: written.get(f"model.layers.{layer}.mlp.affine.{e}.{name}") for name in "uvb"}
        if part["b"] is None:
            sys.exit(f"layer {layer} has no expert {e}")
        matrix, mean_x, mean_y, note = fit_expert(fit, other, part, ridges, int(metadata["most_rank"]), layer_mean)
        found = np.zeros_like(matrix) if part["u"] is None else \
            part["v"].T.astype(np.float64) @ part["u"].T.astype(np.float64)
        b = mean_y - mean_x @ matrix
        difference = max(compare_matrices(fit, matrix, found), compare_constants(mean_y - mean_x @ found, part["b"]))
        worst = max(worst, (difference, e), key=lambda pair: pair[0])
        errors += other.error(np.zeros_like(matrix), 0), other.error(found, part["b"]), other.error(matrix, b)
        print(f"expert {e:3}: {len(fit.w):6} rows, {note}, differs by {difference:.1e}")
    print(f"held-out error: {100 * errors[1] / errors[0]:.2f} % of that without experts, here {100 * errors[2] / errors[0]:.2f} %")
    print(f"worst: expert {worst[1]}, {worst[0]:.1e}; tolerance {tolerance:g}")
    return 0 if worst[0] <= tolerance else 3


def fit_expert(fit, heldout, part, ridges, most_rank, layer_mean):
    """The matrix [in, out] that the file should have, the means b comes from, and what they are."""
    width = fit.x.shape[1]
    written_rank = 0 if part["u"] is None else part["u"].shape[1]
    n = fit.effective()
    allowed = min(most_rank, width, int(n // ROWS_PER_RANK))
    if allowed == 0 and most_rank > 0:
        mean = fit.means()[1] if n > 0 else 0
        b = (n * mean + PRIOR_ROWS * layer_mean) / (n + PRIOR_ROWS)
        return np.zeros((width, width)), np.zeros(width), b, "a constant"
    mean_x, mean_y = fit.means()
    if written_rank == 0:
        return np.zeros((width, width)), mean_x, mean_y, "rank   0"
    best = min((ridge_fit(fit, heldout, ridge, allowed, mean_x, mean_y) for ridge in choose_ridges(ridges, heldout)),
               key=lambda found: found[0])
    _, ridge, u, v = best
    u, v = u[:, :written_rank], v[:written_rank]
    signs = np.sign((u * part["u"]).sum(0))  # of singular vectors: anybody's choice
    matrix = round_bf16(v * signs[:, None]).T @ round_bf16(u * signs).T
    return matrix, mean_x, mean_y, f"rank {written_rank:3}, ridge {ridge:g}"


def choose_ridges(ridges, heldout):
    return ridges if heldout.w.any() else [ridges[(len(ridges) - 1) // 2]]


def ridge_fit(fit, heldout, ridge, rank, mean_x, mean_y):
    """(held-out error at `rank`, ridge, U, V)"""
    root = np.sqrt(fit.w)[:, None]
    x, y = root * (fit.x - mean_x), root * (fit.y - mean_y)
    c = x.T @ x
    c += ridge * np.trace(c) / len(c) * np.eye(len(c))
    a = np.linalg.solve(c, x.T @ y)
    _, _, right = np.linalg.svd(np.linalg.cholesky(c).T @ a)
    u, v = right[:rank].T, (a @ right[:rank].T).T
    matrix = v.T @ u.T
    error = heldout.error(matrix, mean_y - mean_x @ matrix) if heldout.w.any() else 0.0
    return error, ridge, u, v


def compare_matrices(fit, matrix, found):
    def length(m):
        return np.sqrt(fit.w @ ((fit.x @ m) ** 2).sum(1))

    return length(found - matrix) / length(matrix) if matrix.any() else float(found.any())


def compare_constants(b, found):
    beyond = np.maximum(np.abs(found - b) - 2.0 ** -8 * np.abs(b), 0)
    return np.linalg.norm(beyond) / np.linalg.norm(b)


if __name__ == "__main__":
    main()
