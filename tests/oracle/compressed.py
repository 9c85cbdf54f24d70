"""The MoE block with compressed experts, written from the paper's formulas on top of Hugging Face's OLMoE.

Router, expert weights and everything around the block stay Hugging Face's own; only the block's forward is replaced.
Semantics of one token (x = the block's input, k experts chosen in descending order of weight, n_ce of them auxiliary):
  main experts: the first k - n_ce, with their routing weights as they are (not renormalised after the split)
  theta = sum over the auxiliary experts of  weight / sum(auxiliary weights) * table[expert]      (three rows)
  y = sum over main experts of  weight * down( act(gate(x * theta[0])) * up(x * theta[2]) * theta[1][:f] )
"""
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn


class CompressedBlock(nn.Module):
    """table: [experts, 3, d] compressed experts, or None: the auxiliary experts are dropped (truncation)."""

    def __init__(self, block, n_ce, table=None):
        super().__init__()
        self.gate, self.experts = block.gate, block.experts
        self.n_main = block.gate.top_k - n_ce
        assert 0 < self.n_main < block.gate.top_k, "n_ce must be at least 1 and less than the number of chosen experts"
        self.table = None if table is None else table.float()

    def forward(self, hidden):
        x = hidden.reshape(-1, hidden.shape[-1])
        _, weights, ids = self.gate(x)
        theta = self.modulation(weights[:, self.n_main:], ids[:, self.n_main:], x)
        out = torch.zeros_like(x)
        main_ids = ids[:, :self.n_main]
        for expert in main_ids.unique().tolist():
            tokens, slots = torch.where(main_ids == expert)
            y = self.run_expert(expert, x[tokens], theta[tokens])
            out.index_add_(0, tokens, weights[tokens, slots, None] * y)
        return out.view_as(hidden)

    def modulation(self, weights, ids, x):
        """One theta [3, d] a token: the weighted mean of its auxiliary experts' rows."""
        if self.table is None:
            return torch.ones(x.shape[0], 3, x.shape[1])
        total = weights.sum(-1, keepdim=True)
        share = torch.where(total > 0, weights / total, 1.0 / weights.shape[-1])
        return torch.einsum("ta,tard->trd", share, self.table[ids])

    def run_expert(self, expert, x, theta):
        gate, up = self.experts.gate_up_proj[expert].chunk(2, dim=0)
        down = self.experts.down_proj[expert]
        hidden = self.experts.act_fn((x * theta[:, 0]) @ gate.T) * ((x * theta[:, 2]) @ up.T)
        return (hidden * theta[:, 1, :hidden.shape[-1]]) @ down.T


@contextmanager
def replaced_blocks(model, n_ce, tables=None):
    """Within the context every MoE block of `model` runs with n_ce compressed experts (tables) or without them (None)."""
    originals = [layer.mlp for layer in model.model.layers]
    for index, layer in enumerate(model.model.layers):
        layer.mlp = CompressedBlock(layer.mlp, n_ce, None if tables is None else tables[index])
    try:
        yield model
    finally:
        for layer, block in zip(model.model.layers, originals):
            layer.mlp = block


def read_tables(path):
    """The `model.layers.N.mlp.ces` tensors of a safetensors file or a checkpoint folder, in layer order; None if there are none."""
    files = sorted(Path(path).glob("model*.safetensors")) if Path(path).is_dir() else [path]
    tables = {}
    for file in files:
        with safe_open(file, "pt") as tensors:
            tables |= {name: tensors.get_tensor(name) for name in tensors.keys() if name.endswith(".mlp.ces")}
    return [tables[f"model.layers.{layer}.mlp.ces"] for layer in range(len(tables))] or None
