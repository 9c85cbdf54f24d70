"""Regenerate the goldens of the requests of an evaluation with lm-evaluation-harness' own functions.

tests/golden/requests.jsonl   a line each:
  {"kind": "loglikelihood", "max_length", "context", "continuation", "tokens", "scored", "dropped"}
  {"kind": "loglikelihood_rolling", "max_length", "text", "windows": [{"tokens", "scored"}, ...]}
  {"kind": "generate_until", "max_length", "max_gen_toks", "context", "tokens", "dropped"}
  {"kind": "final_text", "ids", "until", "stopped", "text"}   stopped: after how many ids generation ends; null: it does not

The tokenizer is deploy/model/tokenizer.json in PreTrainedTokenizerFast, with and without a BOS; "bos" says which. Nothing is
run: HFLM is made without a model, and what would go to the model is written down.

Needs lm_eval==0.4.13, torch, transformers and tokenizers as in requirements.txt.
"""
import argparse
import json
import random
from pathlib import Path
from types import SimpleNamespace

import torch
from lm_eval.api.model import TemplateLM
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import handle_stop_sequences, postprocess_generated_text
from lm_eval.models.utils_hf import stop_sequences_criteria
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from tricky_texts import Tricky

REPOSITORY = Path(__file__).resolve().parents[2]
END = "<|endoftext|>"
PADDING = "<|padding|>"


class Recorder(HFLM):
    """HFLM up to where tokens go to the model."""

    def __init__(self, tokenizer, max_length):
        self.tokenizer = tokenizer
        self.backend = "causal"
        self.add_bos_token = None
        self.custom_prefix_token_id = None
        self._max_length = max_length
        self.truncation = False
        self.batch_size_per_gpu = 1
        self._rank, self._world_size = 0, 1
        self.cache_hook = SimpleNamespace(add_partial=lambda *_: None)

    def _loglikelihood_tokens(self, requests, **_):
        self.seen = [(context, continuation) for _, context, continuation in requests]
        return [(0.0, False)] * len(requests)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "tests/golden/requests.jsonl")
    parser.add_argument("--tokenizer", type=Path, default=REPOSITORY / "deploy/model/tokenizer.json")
    args = parser.parse_args()
    lines = []
    for bos in (False, True):
        tokenizer = make_tokenizer(args.tokenizer, bos)
        made = [*loglikelihood_lines(tokenizer), *rolling_lines(tokenizer), *generate_lines(tokenizer)]
        made += [] if bos else final_text_lines(tokenizer)
        lines += [{"bos": bos} | line for line in made]
    args.out.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    print(f"{args.out.name}: {len(lines)} lines, {args.out.stat().st_size} bytes")


def make_tokenizer(path, bos):
    """As shipped (no BOS, so that the EOS is the prefix), or with <|padding|> as a BOS that is put before every text."""
    backend = Tokenizer.from_file(str(path))
    if bos:
        backend.post_processor = TemplateProcessing(
            single=f"{PADDING} $A", special_tokens=[(PADDING, backend.token_to_id(PADDING))])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=PADDING if bos else None, eos_token=END,
                                   pad_token=PADDING)


def request(*args):
    return SimpleNamespace(args=args)


# ---------------------------------------------------------------------------------------------- scored
def cut(context, continuation, max_length):
    """What _loglikelihood_tokens runs and scores; it asserts that the continuation is not longer than max_length."""
    whole = (context + continuation)[-(max_length + 1):]
    return whole, len(context) + len(continuation) - len(whole)


def loglikelihood_lines(tokenizer):
    for max_length in (1024, 16):
        lm = Recorder(tokenizer, max_length)
        for context, continuation in pairs():
            try:
                TemplateLM.loglikelihood(lm, [request(context, continuation)], disable_tqdm=True)
            except IndexError:  # an empty continuation without a context
                continue
            (left, right), = lm.seen
            if not left or not right or len(right) > max_length:
                continue  # _loglikelihood_tokens asserts all three
            tokens, dropped = cut(left, right, max_length)
            yield {"kind": "loglikelihood", "max_length": max_length, "context": context, "continuation": continuation,
                   "tokens": tokens, "scored": len(right), "dropped": dropped}


def pairs():
    rng = random.Random(5)
    spaces = ["", " ", "  ", "\n", " \n\t ", "\u00a0", "\u3000", "\u2003\u200b", "\u200b\u2003", "\x1f", "\x85", "\u180e", "\ufeff"]
    yield from (("Question: 1 + 1?\nAnswer:" + space, "2 is it" + tail) for space in spaces for tail in ("", " "))
    yield from ((context, continuation) for context in ("", END, PADDING, END + "a", PADDING + " b", END[:5], "x" + END)
                for continuation in ("yes", " yes", "\u00e9\u0301", END, END + "yes", PADDING, PADDING + "yes", "\n\n"))
    yield from (("Question " * count, " answer" * more) for count in (1, 8, 15, 16, 17, 40, 1100) for more in (1, 3, 16))
    yield from (("na\u00efve \U0001f468\u200d\U0001f469\u200d\U0001f466", "\u200d\U0001f467"), ("e", "\u0301"), ("th", "e"),
                ("a\u00a0", "\u00a0b"), ("Hello", ""), ("\ud55c", "\uae00"), ("a ", "b"), ("1", "23"))
    texts = take(Tricky(31, [END, PADDING]).texts(), 160)
    for text in texts:
        middle = rng.randint(0, len(text))
        yield text[:middle] + rng.choice(spaces), text[middle:]


def take(iterator, count):
    """Texts that a query can hold: without NUL, and not long, since the file is kept in the repository."""
    fitting = (text for text in iterator if "\0" not in text and len(text) <= 300)
    return [text for text, _ in zip(fitting, range(count))]


def rolling_lines(tokenizer):
    texts = ["a", "Hello, world.", END, PADDING + "x", " padded ", *("word " * count for count in (7, 8, 9, 15, 16, 17, 31, 32, 33, 100))]
    texts += take(Tricky(32, [END, PADDING]).texts(), 40)
    for max_length in (1024, 8, 2):
        lm = Recorder(tokenizer, max_length)
        for text in texts:
            lm.seen = []
            windows = rolling(lm, text)
            if windows:
                yield {"kind": "loglikelihood_rolling", "max_length": max_length, "text": text,
                       "windows": [window(left, right, max_length) for left, right in windows]}


def rolling(lm, text):
    windows = []
    lm._loglikelihood_tokens = lambda requests, **_: windows.extend(requests) or [(0.0, False)] * len(requests)
    try:
        HFLM.loglikelihood_rolling(lm, [request(text)], disable_tqdm=True)
    finally:
        del lm._loglikelihood_tokens
    return [(left, right) for _, left, right in windows]


def window(left, right, max_length):
    tokens, dropped = cut(left, right, max_length)
    assert dropped == 0
    return {"tokens": tokens, "scored": len(right)}


# ---------------------------------------------------------------------------------------------- generated
def generate_lines(tokenizer):
    contexts = ["a", "Question: 1 + 1?\nAnswer:", " ends in space ", END + "x", PADDING + "x", *("word " * count for count in (7, 8, 9, 30))]
    contexts += take(Tricky(33, [END, PADDING]).texts(), 40)
    for max_length, max_gen_toks in ((1024, 256), (16, 8), (16, 15)):
        lm = Recorder(tokenizer, max_length)
        for context in contexts:
            whole, _ = lm.tok_batch_encode([context])
            ids, _ = lm.tok_batch_encode([context], left_truncate_len=max_length - max_gen_toks)
            if whole.numel():
                yield {"kind": "generate_until", "max_length": max_length, "max_gen_toks": max_gen_toks, "context": context,
                       "tokens": ids[0].int().tolist(), "dropped": whole.shape[1] - ids.shape[1]}


def final_text_lines(tokenizer):
    """Texts as a model may emit them, in other tokens than the tokenizer would cut them into."""
    untils = [[], ["\n\n"], ["Question:"], ["\n\n", "Question:"], ["Q:", "</s>", "<|im_end|>"], ["ab", "bc"], ["bc", "ab"], ["\u00e9"],
              [""], [" ."], [END], [PADDING], ["\U0001f600"], ["ti", "Ques"]]
    texts = ["One.\n\nTwo", "One.\n", "Answer Question: next", "Quest ion: Question", "abc", "xabc", "caf\u00e9 \u00e9t\u00e9", "a . b , c",
             "smile \U0001f600 and \U0001f600", f"done{END}", f"pad{PADDING}ded \n\n", "", "\n\n", "tail Question", "</s", "a</s>b<|im_end|>"]
    rng = random.Random(6)
    for text in texts:
        for until in untils:
            for split in (False, True):
                ids = spelled(tokenizer, text, rng) if split else tokenizer.encode(text)
                yield final_text_line(tokenizer, ids, until)


def spelled(tokenizer, text, rng):
    """The text cut at random places, each piece encoded alone."""
    ids, start = [], 0
    while start < len(text):
        special = next((name for name in (END, PADDING) if text.startswith(name, start)), None)
        end = start + (len(special) if special else rng.randint(1, 3))
        ids += tokenizer.encode(text[start:end])
        start = end
    return ids


def final_text_line(tokenizer, ids, until):
    stops = handle_stop_sequences(list(until), eos=tokenizer.decode(tokenizer.eos_token_id))
    criteria = stop_sequences_criteria(tokenizer, [stop for stop in stops if stop], 0, 1)
    stopped = next((count for count in range(1, len(ids) + 1)
                    if any(bool(criterion(torch.tensor([ids[:count]]), None)) for criterion in criteria)), None)
    text = tokenizer.decode(ids[:stopped] if stopped else ids, skip_special_tokens=True)
    return {"kind": "final_text", "ids": ids, "until": until, "stopped": stopped, "text": postprocess_generated_text(text, stops, None)}


if __name__ == "__main__":
    main()
