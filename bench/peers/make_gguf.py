#!/usr/bin/env python3
"""Random weights of an OLMoE shape as a BF16 GGUF file for llama.cpp, and the config.json for cemoe.

Speeds do not depend on the values, so a block of a million random numbers is written again and again, for every
tensor from another place. Only the router must tell experts apart: its rows are all different.
"""

import argparse
import array
import json
import pathlib
import random
import struct

ALIGNMENT = 32
F32, BF16 = 0, 30  # types of tensors
FILE_BF16 = 32
BLOCK = 1 << 20
USED = b"olmoe.expert_used_count"

# OLMoE-1B-7B (arXiv 2409.02060); layers and vocabulary are options.
HIDDEN, INTERMEDIATE, HEADS, EXPERTS, TOP_K, CONTEXT = 2048, 1024, 16, 64, 8, 4096


def text(value):
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def pair(key, value):
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    if isinstance(value, float):
        return text(key) + struct.pack("<If", 6, value)
    return text(key) + struct.pack("<II", 4, value)


def metadata(layers, vocabulary):
    return [
        ("general.architecture", "olmoe"), ("general.name", "random"), ("general.file_type", FILE_BF16),
        ("olmoe.block_count", layers), ("olmoe.context_length", CONTEXT), ("olmoe.embedding_length", HIDDEN),
        ("olmoe.feed_forward_length", INTERMEDIATE), ("olmoe.attention.head_count", HEADS),
        ("olmoe.attention.head_count_kv", HEADS), ("olmoe.attention.layer_norm_rms_epsilon", 1e-5),
        ("olmoe.rope.freq_base", 10000.0), ("olmoe.expert_count", EXPERTS), (USED, TOP_K),
        ("olmoe.vocab_size", vocabulary), ("tokenizer.ggml.model", "none"),
    ]


def tensors(layers, vocabulary):
    """(name, sizes with the innermost first, type)"""
    yield "token_embd.weight", [HIDDEN, vocabulary], BF16
    yield "output_norm.weight", [HIDDEN], F32
    yield "output.weight", [HIDDEN, vocabulary], BF16
    for layer in range(layers):
        for name in ("attn_norm", "attn_q_norm", "attn_k_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}.weight", [HIDDEN], F32
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{name}.weight", [HIDDEN, HIDDEN], BF16
        yield f"blk.{layer}.ffn_gate_inp.weight", [HIDDEN, EXPERTS], F32
        for name in ("ffn_gate_exps", "ffn_up_exps"):
            yield f"blk.{layer}.{name}.weight", [HIDDEN, INTERMEDIATE, EXPERTS], BF16
        yield f"blk.{layer}.ffn_down_exps.weight", [INTERMEDIATE, HIDDEN, EXPERTS], BF16


def elements(sizes):
    count = 1
    for size in sizes:
        count *= size
    return count


def tensor_bytes(sizes, kind):
    return elements(sizes) * (2 if kind == BF16 else 4)


def random_block(draw, inputs):
    """A block of BF16 numbers, uniform and so large that products keep the size of activations."""
    spread = (3 / inputs) ** 0.5
    wide = array.array("f", (draw.uniform(-spread, spread) for _ in range(BLOCK))).tobytes()
    block = bytearray(2 * BLOCK)
    block[0::2], block[1::2] = wide[2::4], wide[3::4]
    return bytes(block)


def write_matrix(out, draw, block, size):
    start = 2 * draw.randrange(BLOCK)
    turned = block[start:] + block[:start]
    for begin in range(0, size, len(turned)):
        out.write(turned[:min(len(turned), size - begin)])


def write_small(out, draw, name, sizes):
    count = elements(sizes)
    spread = (3 / HIDDEN) ** 0.5
    router = "ffn_gate_inp" in name
    out.write(array.array("f", (draw.uniform(-spread, spread) if router else 1.0 for _ in range(count))).tobytes())


def pad(out):
    out.write(b"\0" * (-out.tell() % ALIGNMENT))


def write_gguf(path, layers, vocabulary):
    draw = random.Random(1)
    blocks = {inputs: random_block(draw, inputs) for inputs in (HIDDEN, INTERMEDIATE)}
    listed, pairs = list(tensors(layers, vocabulary)), metadata(layers, vocabulary)
    with open(path, "wb") as out:
        out.write(struct.pack("<4sIQQ", b"GGUF", 3, len(listed), len(pairs)))
        out.write(b"".join(pair(*entry) for entry in pairs))
        offset = 0
        for name, sizes, kind in listed:
            out.write(text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset))
            offset += tensor_bytes(sizes, kind)
            offset += -offset % ALIGNMENT
        pad(out)
        for name, sizes, kind in listed:
            if kind == BF16:
                write_matrix(out, draw, blocks[sizes[0]], tensor_bytes(sizes, kind))
            else:
                write_small(out, draw, name, sizes)
            pad(out)


def set_experts_used(path, used):
    """Changes the number of experts of a token in a GGUF file, in place."""
    with open(path, "r+b") as file:
        head = file.read(1 << 20)
        at = head.index(USED) + len(USED)
        assert struct.unpack_from("<I", head, at) == (4,), "not a 32-bit number"
        file.seek(at + 4)
        file.write(struct.pack("<I", used))


def write_config(path, layers, vocabulary):
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps({
        "architectures": ["OlmoeForCausalLM"], "model_type": "olmoe", "attention_bias": False, "clip_qkv": None,
        "hidden_act": "silu", "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE,
        "max_position_embeddings": CONTEXT, "norm_topk_prob": False, "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS, "num_experts": EXPERTS, "num_experts_per_tok": TOP_K,
        "num_hidden_layers": layers, "rms_norm_eps": 1e-5, "rope_scaling": None, "rope_theta": 10000.0,
        "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": vocabulary,
    }, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=4, help="default 4; 16 is the full model")
    parser.add_argument("--vocabulary", type=int, default=12576, help="default 12576; 50304 is the full model")
    parser.add_argument("--gguf", type=pathlib.Path, help="write random BF16 weights to this file")
    parser.add_argument("--config", type=pathlib.Path, help="write config.json to this directory")
    parser.add_argument("--experts-used", type=pathlib.Path, metavar="FILE",
                        help="only set the number of experts of a token in this file")
    parser.add_argument("--used", type=int, default=4, help="to this number; default 4")
    options = parser.parse_args()
    if options.experts_used:
        set_experts_used(options.experts_used, options.used)
    if options.gguf:
        write_gguf(options.gguf, options.layers, options.vocabulary)
    if options.config:
        write_config(options.config, options.layers, options.vocabulary)


if __name__ == "__main__":
    main()
