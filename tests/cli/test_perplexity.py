#!/usr/bin/env python3
"""cemoe score gives the published perplexities of the shipped model, to four digits.

CEMOE_TEXT: math, code or general; all three when unset.
"""

import json
import os

import cemoe

PUBLISHED = json.loads((cemoe.MODEL / "eval/perplexity.json").read_text())
TEXTS = [os.environ["CEMOE_TEXT"]] if os.environ.get("CEMOE_TEXT") else list(PUBLISHED)

SETTINGS = {  # model directory and options of each published setting
    "full": ("", []),
    "top2": ("", ["--truncated", 2]),
    "ce_math": ("", ["--compressed-experts", cemoe.MODEL / "ces-math.safetensors"]),
    "ce_code": ("", ["--compressed-experts", cemoe.MODEL / "ces-code.safetensors"]),
    "ce_general": ("", ["--compressed-experts", cemoe.MODEL / "ces-general.safetensors"]),
    "ckpt_ce_math": ("ce-math", []),
}
CHOSEN = {"full", "ce_math"} if cemoe.QUICK else SETTINGS.keys()


class Perplexity(cemoe.TestCase):
    def score(self, text, model, options):
        return self.assert_done(cemoe.run("score", "--model", cemoe.MODEL / model, *options, "--file",
                                          cemoe.MODEL / f"eval/{text}.txt", "--json", "--quiet")).json()

    def test_published(self):
        tried = 0
        for text in TEXTS:
            for setting in sorted(CHOSEN & PUBLISHED[text].keys()):
                with self.subTest(text=text, setting=setting):
                    wanted = PUBLISHED[text][setting]
                    found = self.score(text, *SETTINGS[setting])
                    self.assertEqual((found["tokens"], found["scored"]),
                                     (PUBLISHED[text]["tokens"], PUBLISHED[text]["scored"]))
                    self.assertEqual(found["compressed"], 2 if "ce_" in setting else 0)
                    self.assertAlmostEqual(found["perplexity"] / wanted["ppl"], 1, delta=5e-5)
                    self.assertAlmostEqual(found["nll"], wanted["nll"], delta=5e-5)
                    print(f"{text:8} {setting:13} {found['perplexity']:.5f}, published {wanted['ppl']:.5f}")
                    tried += 1
        self.assertGreaterEqual(tried, min(4, len(CHOSEN)) * len(TEXTS))

    def test_quantised_weights(self):
        """8 bits change the perplexity by less than 0.1 %; 4 bits of a model this small by much more, experts less than all."""
        for text in TEXTS:
            exact = PUBLISHED[text]["full"]["ppl"]
            changes = {}
            for experts, dense in (("q8", "q8"), ("q4", "stored"), ("q4", "q4")):
                found = self.score(text, "", ["--weights", experts, "--dense-weights", dense])["perplexity"]
                changes[experts, dense] = found / exact - 1
                print(f"{text:8} experts {experts}, dense {dense:6} {found:.5f}, "
                      f"{100 * changes[experts, dense]:+.3f} % of the published")
            self.assertNotEqual(changes["q8", "q8"], 0)
            self.assertLess(abs(changes["q8", "q8"]), 1e-3)
            self.assertLess(abs(changes["q4", "stored"]), 0.06)
            self.assertLess(abs(changes["q4", "q4"]), 0.12)

    def test_rounded_weights(self):
        """The shipped weights are BF16 already: rounding them changes nothing."""
        options = ["--weights", "bf16", "--dense-weights", "bf16"]
        self.assertEqual(self.score(TEXTS[0], "", options)["nll"], self.score(TEXTS[0], "", [])["nll"])

    def test_rounded_cache(self):
        """Keys and values in 16 bits change the perplexity, by less than 0.1 %."""
        for text in TEXTS:
            with self.subTest(text=text):
                rounded = self.score(text, "", ["--kv", "bf16"])["perplexity"]
                change = rounded / PUBLISHED[text]["full"]["ppl"] - 1
                self.assertLess(abs(change), 1e-3)
                self.assertNotEqual(rounded, self.score(text, "", [])["perplexity"])
                print(f"{text:8} {'full, kv bf16':13} {rounded:.5f}, {100 * change:+.3f} % of the published")


if __name__ == "__main__":
    cemoe.main()
