#!/usr/bin/env python3
"""Bad input on several ranks: all end alike, with one line, whoever met it.

What is met depends on who reads, not on how the input is bad (test_bad_input.py has those cases): rank 0 for all, each
rank for itself, the owner of an expert, the rank that has the token. One case for each of them.
"""

import struct

import cemoe
from test_bad_input import NAN_BF16, BadInput


class OnRanks(BadInput):
    RANKS = 3

    def set_bf16(self, value, chosen):
        """The first value of each tensor whose name begins so."""
        file = self.model / "model.safetensors"
        header, data = cemoe.read_safetensors(file)
        image = bytearray(data)
        for name, tensor in header.items():
            if name.startswith(chosen):
                at = tensor["data_offsets"][0]
                image[at:at + 2] = value
        cemoe.write_safetensors(file, header, bytes(image))

    def test_rank_0_reads_texts(self):
        broken = self.write("broken", b"Question: \xff\xfe")
        self.assert_failure(self.generate("--prompt-file", broken), broken, "UTF-8", "byte 10")

    def test_rank_0_reads_standard_input(self):
        self.assert_failure(self.generate("--prompt-file", "-"), "UTF-8", "byte 0", stdin=b"\xc3(")

    def test_each_reads_the_configuration(self):
        (self.model / "config.json").unlink()
        self.assert_failure(self.logits(), self.model / "config.json")

    def test_each_reads_headers(self):
        file = self.model / "model.safetensors"
        file.write_bytes(struct.pack("<Q", (1 << 64) - 1) + file.read_bytes()[8:])
        self.assert_failure(self.logits(), file)

    def test_each_reads_compressed_experts(self):
        header, data = cemoe.read_safetensors(cemoe.MODEL / "ces-math.safetensors")
        tables = self.dir / "tables.safetensors"
        cemoe.write_safetensors(tables, header, struct.pack("<f", float("inf")) * (len(data) // 4))
        self.assert_failure(self.logits("--compressed-experts", tables), tables, "mlp.ces", "not finite")

    def test_owners_compute_with_experts(self):
        self.set_bf16(NAN_BF16, "model.layers.2.mlp.experts.")
        self.assert_failure(self.generate("--prompt", "Question: James"), "layer 2", "expert")

    def test_one_has_the_token(self):
        """Rank 0, of the only text; the others have no row to meet it with."""
        self.set_bf16(NAN_BF16, "model.norm.weight")
        self.assert_failure(self.logits(), "logits")

    def test_each_counts_its_memory(self):
        self.assert_failure(self.logits(), "memory", CEMOE_MEMORY_LIMIT="1000000")

    def test_rank_0_writes(self):
        nowhere = self.dir / "no" / "where"
        self.assert_failure(["logits", "--model", self.model, "--ids", "50", "--out", nowhere], nowhere)


if __name__ == "__main__":
    cemoe.main(several=True)
