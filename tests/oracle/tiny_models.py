"""Four tiny random OLMoE checkpoints, each the smallest that shows one way real checkpoints differ."""
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import OlmoeConfig, OlmoeForCausalLM


@dataclass
class Tiny:
    name: str
    seed: int                       # chosen so that no near-tie in routing or greedy decoding is met
    dtype: torch.dtype
    config: dict
    n_ce: int                       # compressed experts in the golden runs
    table: str = ""                 # "": none; "file": ces.safetensors beside the model; "model": stored in the checkpoint
    config_v4: bool = False         # write config.json as transformers 4 did
    save: dict = field(default_factory=dict)        # arguments of save_pretrained
    generation: dict = field(default_factory=dict)  # what generation_config.json says


TINY = [
    Tiny("gqa_f32", 1, torch.float32, n_ce=1, table="file", config_v4=True, config=dict(
        vocab_size=96, hidden_size=32, intermediate_size=18, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, num_experts=8, num_experts_per_tok=3, norm_topk_prob=True, rope_theta=10000.0)),
    Tiny("tied_bf16", 1, torch.bfloat16, n_ce=2, table="file", config=dict(
        vocab_size=113, hidden_size=60, intermediate_size=22, num_hidden_layers=2, num_attention_heads=5,
        num_experts=6, num_experts_per_tok=4, norm_topk_prob=False, clip_qkv=0.75, tie_word_embeddings=True,
        rms_norm_eps=1e-6, rope_theta=500000.0)),
    Tiny("sharded_f16", 1, torch.float16, n_ce=1, config=dict(
        vocab_size=131, hidden_size=48, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3,
        num_experts=5, num_experts_per_tok=2, norm_topk_prob=True, rope_theta=5000.0),
         save=dict(max_shard_size="60KB"), generation=dict(eos_token_id=[7, 0], pad_token_id=1)),
    Tiny("fused_bf16", 8, torch.bfloat16, n_ce=2, table="model", config=dict(
        vocab_size=97, hidden_size=32, intermediate_size=28, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=1, num_experts=9, num_experts_per_tok=5, norm_topk_prob=False, rope_theta=10000.0,
        use_ce=True, n_ce=2),
         save=dict(save_original_format=False)),
]

# Standard deviation of the random weights by the last matching part of the name; norms are 1 + noise.
SPREAD = {"norm": 0.2, "embed_tokens": 0.3, "lm_head": 0.2, "mlp.gate.": 0.3, "_proj": 0.2}


def write_checkpoint(tiny, folder):
    """Make `folder` a checkpoint directory (weights, config.json, generation_config.json and perhaps ces.safetensors)."""
    shutil.rmtree(folder, ignore_errors=True)
    generator = torch.Generator().manual_seed(tiny.seed)
    config = OlmoeConfig(**tiny.config, max_position_embeddings=128, eos_token_id=0, pad_token_id=1)
    model = OlmoeForCausalLM(config)
    randomise(model, generator)
    model = model.to(tiny.dtype)
    config.dtype = tiny.dtype
    for key, value in tiny.generation.items():
        setattr(model.generation_config, key, value)
    model.save_pretrained(folder, **tiny.save)
    if tiny.table:
        store_tables(tiny, folder, random_tables(config, generator))
    if tiny.config_v4:
        respell_config(Path(folder) / "config.json")
    for path in Path(folder).iterdir():
        path.chmod(0o644)                               # safetensors writes files that only their owner may read


@torch.no_grad()
def randomise(model, generator):
    for name, parameter in sorted(model.named_parameters()):
        spread = next(value for part, value in SPREAD.items() if part in name)
        noise = torch.randn(parameter.shape, generator=generator) * spread
        parameter.copy_(1 + noise if "norm" in name else noise)


def random_tables(config, generator):
    shape = (config.num_experts, 3, config.hidden_size)
    return {f"model.layers.{layer}.mlp.ces": 1 + 0.3 * torch.randn(shape, generator=generator)
            for layer in range(config.num_hidden_layers)}


def store_tables(tiny, folder, tables):
    if tiny.table == "file":
        save_file(tables, Path(folder) / "ces.safetensors", metadata={"n_ce": str(tiny.n_ce)})
        return
    path = Path(folder) / "model.safetensors"
    tables = {name: table.to(tiny.dtype) for name, table in tables.items()}
    save_file(load_file(path) | tables, path, metadata={"format": "pt"})


def table_source(tiny, folder):
    """Where compressed.read_tables finds the tables of this checkpoint, if it has any."""
    return Path(folder) / "ces.safetensors" if tiny.table == "file" else Path(folder)


def respell_config(path):
    """Transformers 4 wrote rope_theta, rope_scaling and torch_dtype; like the published OLMoE, leave out rms_norm_eps."""
    config = json.loads(path.read_text())
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config["rope_scaling"] = None
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.45.0"
    del config["rms_norm_eps"]
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def prompts(tiny):
    """Two prompts, of 1 and of 23 tokens; the second has the first and the last id of the vocabulary."""
    generator = torch.Generator().manual_seed(1000 + tiny.seed)
    vocabulary = tiny.config["vocab_size"]
    long = torch.randint(2, vocabulary, (23,), generator=generator).tolist()
    long[5], long[11] = vocabulary - 1, 0
    return [[long[0]], long[1:] + [long[3]]]
