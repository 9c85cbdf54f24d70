"""Regenerate the tokenizer goldens in tests/golden with Hugging Face's `tokenizers`.

tokenizer_NAME.jsonl   {"text", "ids", "decoded"} a line: encoded without adding special tokens, decoded with special tokens kept
decode_NAME.jsonl      {"ids", "decoded"} a line: lists of ids that no text encodes to, as a model may emit them

NAME is shipped (deploy/model/tokenizer.json), ws (deploy/model/extra/tokenizer_ws.json) and, when its tokenizer.json is
given with --olmoe, olmoe (the published OLMoE tokenizer, which is not in this repository).
tokenizer_nfc.jsonl    also with --olmoe: strings where Hugging Face's NFC is not that of Unicode 14; see tests/golden/README.md
"""
import argparse
import json
import random
import unicodedata
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.normalizers import NFC

from tricky_texts import Tricky

BROKEN = [b"\xf0\x9f", b"\x80\xbf", b"\xe2\x82", b"\xc3", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
          b"\xf0\x80\x80\x80", b"\xe2\x82\xac\xe2", b"a\xf0\x9f\x98b", b"\xf0\x9f\x98\x80\x98"]
REPOSITORY = Path(__file__).resolve().parents[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "tests/golden", help="default: tests/golden")
    parser.add_argument("--model", type=Path, default=REPOSITORY / "deploy/model", help="default: deploy/model")
    parser.add_argument("--olmoe", type=Path, help="tokenizer.json of OLMoE-1B-7B")
    args = parser.parse_args()
    sets = [("shipped", args.model / "tokenizer.json", 1000, 11), ("ws", args.model / "extra/tokenizer_ws.json", 1000, 12)]
    if args.olmoe:
        sets.append(("olmoe", args.olmoe, 2600, 13))
    for name, path, count, seed in sets:
        tokenizer = Tokenizer.from_file(str(path))
        write(args.out / f"tokenizer_{name}.jsonl", encode_lines(tokenizer, tricky_texts(tokenizer, count, seed)))
        write(args.out / f"decode_{name}.jsonl", decode_lines(tokenizer, random_ids(tokenizer, 200, seed)))
        if name == "olmoe":
            write(args.out / "tokenizer_nfc.jsonl", encode_lines(tokenizer, unlike_unicode_14()))


def write(path, lines):
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    print(f"{path.name}: {len(lines)} lines, {path.stat().st_size} bytes", flush=True)


def decode(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=False)


# ---------------------------------------------------------------------------------------------- texts
def tricky_texts(tokenizer, count, seed):
    added = [token.content for _, token in sorted(tokenizer.get_added_tokens_decoder().items())]
    texts = {}
    for text in Tricky(seed, added).texts():
        if len(texts) == count:
            return list(texts)
        if same_nfc(text):
            texts[text] = None


def encode_lines(tokenizer, texts):
    lines = []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        lines.append({"text": text, "ids": ids, "decoded": decode(tokenizer, ids)})
    return lines


def unlike_unicode_14():
    """A string for every combining mark that Hugging Face's older tables leave unordered, and one pair they do not compose."""
    texts = ["\U00011935\U00011930"]
    for mark in (chr(code) for code in range(0x300, 0x20000) if unicodedata.combining(chr(code))):
        pairs = ["x" + pair for other in "\u0301\u0323\u0345" for pair in (mark + other, other + mark)]
        texts += [pair for pair in pairs if not same_nfc(pair)][:1]
    return texts


def same_nfc(text):
    return NFC().normalize_str(text) == unicodedata.normalize("NFC", text)


# ---------------------------------------------------------------------------------------------- ids
def random_ids(tokenizer, count, seed):
    """Lists of ids that are not the encoding of a text: any tokens, lone bytes, cut and shuffled characters, unknown ids."""
    rng = random.Random(seed)
    size = max(tokenizer.get_vocab().values()) + 1
    added = sorted(tokenizer.get_added_tokens_decoder())
    single = byte_tokens(tokenizer)
    known, high = list(single), [byte for byte in single if byte >= 0x80]
    text = "na\u00efve \u4f60\u597d \U0001f600 \u20ac5 \u0416\u0301 \ud55c\U0001f468\u200d\U0001f469 x\u00b2 \u2028 \u05e9\u05dd"
    lists = [[single[byte] for byte in data] for data in BROKEN if all(byte in single for byte in data)]
    lists += [[], [size]] + [[single[0xE2], between, single[0x82], single[0xAC]] for between in (added[0], size + 5)]
    while len(lists) < count:
        kind = rng.randrange(5)
        if kind == 0:
            ids = [rng.randrange(size) for _ in range(rng.randint(1, 8))]
        elif kind == 1:
            ids = [single[rng.choice((rng.choice(known), rng.choice(high)))] for _ in range(rng.randint(1, 9))]
        else:
            ids = spoiled_characters(rng, text, single)
        if kind >= 3:
            ids.insert(rng.randrange(len(ids) + 1), rng.choice(added))
        if kind == 4:
            ids.insert(rng.randrange(len(ids) + 1), size + rng.randrange(50))
        lists.append(ids)
    return lists


def spoiled_characters(rng, text, single):
    """The UTF-8 bytes of a piece of text, one token a byte, with one byte lost, doubled or swapped."""
    start = rng.randrange(len(text))
    data = list(text[start:start + rng.randint(1, 4)].encode())
    where, how = rng.randrange(len(data)), rng.randrange(4)
    if how == 0:
        del data[where]
    elif how == 1:
        data.insert(where, data[where])
    elif how == 2:
        rng.shuffle(data)
    else:
        data = data[where:]
    return [single[byte] for byte in data] or [single[0x80]]


def byte_tokens(tokenizer):
    """{byte: id of the token that is this byte alone}; a vocabulary may lack bytes that never occur in UTF-8"""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    image = {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + rank) for rank, byte in enumerate(others)}
    vocabulary = tokenizer.get_vocab()
    return {byte: vocabulary[char] for byte, char in sorted(image.items()) if char in vocabulary}


def decode_lines(tokenizer, lists):
    return [{"ids": ids, "decoded": decode(tokenizer, ids)} for ids in lists]


if __name__ == "__main__":
    main()
