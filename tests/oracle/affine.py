"""OLMoE with compressed experts of the affine kind, in NumPy and double precision; files of such experts.

One token (x = the input of an MoE block, k experts chosen in descending order of weight, the last n_ce of them auxiliary):
  y = sum over main experts of       weight * down( silu(gate x) * (up x) )
    + sum over auxiliary experts of  weight * ( U (V x) + down' ( silu(gate' x) * (up' x) ) + b )
with the expert's own small matrices U, V, gate', up', down' and vector b.
"""
import json
import struct
from pathlib import Path

import numpy as np
import xxhash

FNV_START, FNV_PRIME, WORD = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1
CHUNK = 64 << 10


# ---------------------------------------------------------------------------------------------- files
def read_safetensors(path):
    """-> {name: float64 or int32 array}, metadata; BF16 and F32 are widened."""
    image = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", image[:8])
    header = json.loads(image[8:8 + length])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, tensor in header.items():
        begin, end = (8 + length + offset for offset in tensor["data_offsets"])
        tensors[name] = decode(tensor["dtype"], image[begin:end]).reshape(tensor["shape"])
    return tensors, metadata


def decode(dtype, data):
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return np.frombuffer(data, {"F32": "<f4", "I32": "<i4"}[dtype]).astype(np.int32 if dtype == "I32" else np.float64)


def bf16_bits(values):
    """Rounded to nearest even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def encode(value):
    """-> dtype, bytes: integers as I32, arrays of uint16 are BF16 already, all else is F32."""
    if value.dtype == np.dtype("<u2"):
        return "BF16", value.tobytes()
    if np.issubdtype(value.dtype, np.integer):
        return "I32", value.astype("<i4").tobytes()
    return "F32", value.astype("<f4").tobytes()


def write_safetensors(path, tensors, metadata):
    header, data = {"__metadata__": metadata} if metadata else {}, []
    end = 0
    for name, value in tensors.items():
        dtype, image = encode(value)
        header[name] = {"dtype": dtype, "shape": list(value.shape), "data_offsets": [end, end + len(image)]}
        data.append(image)
        end += len(image)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))


def fnv(state, data):
    for byte in data:
        state = ((state ^ byte) * FNV_PRIME) & WORD
    return state


def mix(digest, place):
    """SplitMix64's finalizer: spreads the hash of a chunk and its place over all bits."""
    x = digest ^ ((place + 1) * 0x9E3779B97F4A7C15 & WORD)
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & WORD
    x = (x ^ x >> 27) * 0x94D049BB133111EB & WORD
    return x ^ x >> 31


def content(image):
    """Of a tensor's bytes: the sum over its chunks of 64 KiB of XXH3, each mixed with its place."""
    chunks = range(0, len(image), CHUNK)
    return sum(mix(xxhash.xxh3_64_intdigest(image[at : at + CHUNK]), at // CHUNK) for at in chunks) & WORD


def tensor_names(config):
    """In the order in which the program walks through a model."""
    yield "model.embed_tokens.weight"
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        yield at + "input_layernorm.weight"
        yield from (f"{at}self_attn.{part}.weight" for part in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm"))
        yield at + "post_attention_layernorm.weight"
        yield at + "mlp.gate.weight"
        for expert in range(config["num_experts"]):
            yield from (f"{at}mlp.experts.{expert}.{part}_proj.weight" for part in ("gate", "up", "down"))
    yield "model.norm.weight"
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight"


def fingerprint(folder, config):
    """The program's name for a model: FNV-1a over name, type, shape and content of every tensor."""
    image = (Path(folder) / "model.safetensors").read_bytes()
    start = 8 + struct.unpack("<Q", image[:8])[0]
    header = json.loads(image[8:start])
    state = FNV_START
    for name in tensor_names(config):
        tensor = header[name]
        kind = fnv(FNV_START, name.encode() + b"\0" + tensor["dtype"].encode() + b"\0")
        kind = fnv(kind, b"".join(struct.pack("<Q", size) for size in tensor["shape"]))
        begin, end = (start + offset for offset in tensor["data_offsets"])
        state = fnv(state, struct.pack("<QQ", kind, content(image[begin:end])))
    return f"{state:016x}"


def random_experts(config, rng, scale):
    """Ranks and numbers of neurons differ, and both are 0 for some; -> tensors as in a file."""
    d, tensors = config["hidden_size"], {}
    for layer in range(config["num_hidden_layers"]):
        for expert in range(config["num_experts"]):
            at = f"model.layers.{layer}.mlp.affine.{expert}."
            rank, neurons = rng.choice([0, 0, 1, 3]), rng.choice([0, 0, 1, 2])
            parts = {"b": ((d,), 1.0)}
            if rank:
                parts |= {"u": ((d, rank), 1.0), "v": ((rank, d), d ** -0.5)}
            if neurons:
                parts |= {"gate": ((neurons, d), d ** -0.5), "up": ((neurons, d), d ** -0.5), "down": ((d, neurons), 1.0)}
            for name, (shape, size) in parts.items():
                size *= scale if name in ("b", "u", "down") else 1
                tensors[at + name] = bf16_bits(size * rng.standard_normal(shape))
    return tensors


# ---------------------------------------------------------------------------------------------- the model
def silu(x):
    return x / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Model:
    """A checkpoint in one file, without biases, clipping or grouped heads; `experts` are affine ones or None."""

    def __init__(self, folder, n_ce=0, experts=None):
        self.config = json.loads((Path(folder) / "config.json").read_text())
        self.weights, _ = read_safetensors(Path(folder) / "model.safetensors")
        self.n_ce, self.experts = n_ce, experts
        c = self.config
        assert not c["clip_qkv"] and not c["attention_bias"] and not c["norm_topk_prob"]
        assert c["num_attention_heads"] == c["num_key_value_heads"] and not c["tie_word_embeddings"]

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.config["rms_norm_eps"]) * self.weights[name + ".weight"]

    def linear(self, x, name):
        return x @ self.weights[name + ".weight"].T

    def rotate(self, x):
        """x: [heads, tokens, size]; pairs (i, i + size/2). Angles as in fp32, like the model was trained."""
        half = x.shape[-1] // 2
        frequency = (1 / np.float32(self.config["rope_theta"]) ** (np.arange(half, dtype=np.float32) / half)).astype(np.float32)
        angle = (np.arange(x.shape[1], dtype=np.float32)[:, None] * frequency).astype(np.float64)
        low, high = x[..., :half], x[..., half:]
        return np.concatenate([low * np.cos(angle) - high * np.sin(angle), high * np.cos(angle) + low * np.sin(angle)], -1)

    def attention(self, x, at):
        tokens, heads = len(x), self.config["num_attention_heads"]
        q = self.norm(self.linear(x, at + "q_proj"), at + "q_norm")
        k = self.norm(self.linear(x, at + "k_proj"), at + "k_norm")
        q, k, v = (y.reshape(tokens, heads, -1).transpose(1, 0, 2) for y in (q, k, self.linear(x, at + "v_proj")))
        scores = self.rotate(q) @ self.rotate(k).transpose(0, 2, 1) / np.sqrt(q.shape[-1])
        scores += np.triu(np.full((tokens, tokens), -np.inf), 1)
        return self.linear((softmax(scores) @ v).transpose(1, 0, 2).reshape(tokens, -1), at + "o_proj")

    def affine(self, x, at):
        """One token's x through one small map."""
        part = {name: self.experts.get(at + name) for name in ("b", "u", "v", "gate", "up", "down")}
        y = part["b"]
        if part["u"] is not None:
            y = y + part["u"] @ (part["v"] @ x)
        if part["gate"] is not None:
            y = y + part["down"] @ (silu(part["gate"] @ x) * (part["up"] @ x))
        return y

    def block(self, x, layer):
        at, k = f"model.layers.{layer}.mlp.", self.config["num_experts_per_tok"]
        weights = softmax(self.linear(x, at + "gate"))
        out = np.zeros_like(x)
        for t, row in enumerate(x):
            for position, expert in enumerate(np.argsort(-weights[t], kind="stable")[:k]):
                if position < k - self.n_ce:
                    name = f"{at}experts.{expert}."
                    y = self.linear(silu(self.linear(row, name + "gate_proj")) * self.linear(row, name + "up_proj"), name + "down_proj")
                else:
                    y = self.affine(row, f"{at}affine.{expert}.") if self.experts else 0
                out[t] += weights[t, expert] * y
        return out

    def run(self, ids):
        """-> {"logits": [tokens, vocabulary], "layerN.moe_in", "layerN.moe_out"}"""
        x, seen = self.weights["model.embed_tokens.weight"][ids], {}
        for layer in range(self.config["num_hidden_layers"]):
            at = f"model.layers.{layer}."
            x = x + self.attention(self.norm(x, at + "input_layernorm"), at + "self_attn.")
            into = self.norm(x, at + "post_attention_layernorm")
            out = self.block(into, layer)
            seen |= {f"layer{layer}.moe_in": into, f"layer{layer}.moe_out": out}
            x = x + out
        return seen | {"logits": self.linear(self.norm(x, "model.norm"), "lm_head")}
