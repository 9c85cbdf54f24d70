"""Run a Hugging Face OLMoE and record what its modules return, with forward hooks."""
from contextlib import contextmanager

import torch
from transformers import OlmoeForCausalLM
from transformers.utils import logging

logging.set_verbosity_error()               # "unexpected tensor ces": Hugging Face knows no compressed experts
logging.disable_progress_bar()

def load_model(folder):
    """The checkpoint's stored values, computed with in fp32: eager attention, eager experts, CPU."""
    model = OlmoeForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager", local_files_only=True)
    return model.eval()


@contextmanager
def hooked(modules):
    """modules: {name: (module, pick)}; yields a dict that each forward pass fills with pick(output)."""
    seen = {}

    def keeper(name, pick):
        return lambda module, args, output: seen.__setitem__(name, pick(output).detach().clone())

    handles = [module.register_forward_hook(keeper(name, pick)) for name, (module, pick) in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def batch_row(output):
    return output[0]


def stages(model):
    """Everything that is recorded: {stage: (module, what to keep of its output)}; the batch has one row."""
    points = {"embed": (model.model.embed_tokens, batch_row), "norm": (model.model.norm, batch_row),
              "logits": (model.lm_head, batch_row)}
    for index, layer in enumerate(model.model.layers):
        at = f"layer{index}."
        points[at + "attn_out"] = (layer.self_attn, lambda output: output[0][0])     # (values, attention weights)
        points[at + "moe_in"] = (layer.post_attention_layernorm, batch_row)
        points[at + "moe_out"] = (layer.mlp, batch_row)
        points[at + "out"] = (layer, batch_row)
        # The router returns (logits, weights, ids) without a batch axis, chosen experts in descending order of weight.
        for slot, name in enumerate(("router_logits", "topk_weights", "topk_ids")):
            points[at + name] = (layer.mlp.gate, lambda output, slot=slot: output[slot])
    return points


@torch.no_grad()
def run(model, ids):
    """One forward pass over a prompt -> {stage: tensor [tokens, ...]}, expert ids as int32."""
    with hooked(stages(model)) as seen:
        model(torch.tensor([ids]), use_cache=False)
    return {name: value.int() if name.endswith("ids") else value for name, value in seen.items()}


def router_gap(model, stage):
    """Smallest difference between consecutive router probabilities 1 .. k+1 met: 0 would be a tie."""
    k = model.config.num_experts_per_tok
    gaps = []
    for index in range(model.config.num_hidden_layers):
        top = stage[f"layer{index}.router_logits"].softmax(-1).sort(-1, descending=True)[0][:, :k + 1]
        gaps.append((top[:, :-1] - top[:, 1:]).min())
    return torch.stack(gaps).min().item()


@torch.no_grad()
def greedy(model, ids, steps):
    """`steps` most likely tokens, never stopping -> ids, smallest top-1/top-2 logit margin, smallest router gap."""
    ids, margin, gap = list(ids), float("inf"), float("inf")
    for _ in range(steps):
        stage = run(model, ids)
        values, tokens = stage["logits"][-1].topk(2)
        margin = min(margin, (values[0] - values[1]).item())
        gap = min(gap, router_gap(model, stage))
        ids.append(tokens[0].item())
    return ids[-steps:], margin, gap
