"""Prepare the three-domain corpus (general / math / code) as plain text documents.

Inputs (in data/raw): WikiText-2 valid+test, GSM8K train+test, CPython 3.11 stdlib.
Outputs: data/docs.json  {domain: {"train": [doc...], "val": [doc...]}}
         out/eval/{math,code,general}.txt  (the fixed ~40 KB evaluation texts, from "val")
All text is NFC-normalised UTF-8.  The split is deterministic.
"""
import json, os, random, re, sys, sysconfig, unicodedata
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RAW = os.path.join(ROOT, "data/raw")


def math_docs(split):
    docs = []
    for line in open(f"{RAW}/gsm8k.{split}.jsonl", encoding="utf-8"):
        r = json.loads(line)
        ans = re.sub(r"<<[^>]*>>", "", r["answer"])
        docs.append(f"Question: {r['question'].strip()}\nAnswer: {ans.strip()}\n")
    return docs


def wiki_articles(split):
    docs, cur = [], []
    for line in open(f"{RAW}/wiki.{split}.txt", encoding="utf-8"):
        if re.match(r"^ = [^=].* = $", line) and cur:
            docs.append("".join(cur)); cur = []
        if line.strip():
            cur.append(line)
    docs.append("".join(cur))
    return [d for d in docs if len(d) > 200]


def code_files(limit):
    base, files = sysconfig.get_path("stdlib"), []      # of Debian 12's CPython 3.11
    for d, dirs, names in os.walk(base):
        dirs[:] = sorted(x for x in dirs if x not in
                         ("__pycache__", "encodings", "pydoc_data", "test", "tests", "lib-dynload",
                          "dist-packages", "site-packages", "idlelib", "config-3.11-x86_64-linux-gnu"))
        files += [os.path.join(d, n) for n in sorted(names) if n.endswith(".py")]
    random.Random(7).shuffle(files)
    docs, tot = [], 0
    for f in files:
        try:
            t = open(f, encoding="utf-8").read()
        except UnicodeDecodeError:
            continue
        if len(t) < 300 or "sysconfigdata" in f:
            continue
        docs.append(t); tot += len(t)
        if tot > limit:
            break
    return docs


def main():
    nfc = lambda ds: [unicodedata.normalize("NFC", d) for d in ds]
    wt, wv = wiki_articles("test"), wiki_articles("valid")
    cut = next(i for i in range(len(wt)) if sum(map(len, wt[i:])) < 170_000)
    code = code_files(4_200_000)
    D = {"general": {"train": nfc(wv + wt[:cut]), "val": nfc(wt[cut:])},
         "math": {"train": nfc(math_docs("train")), "val": nfc(math_docs("test"))},
         "code": {"train": nfc([c for i, c in enumerate(code) if i % 20]), "val": nfc(code[::20])}}
    json.dump(D, open(f"{ROOT}/data/docs.json", "w", encoding="utf-8"), ensure_ascii=False)
    os.makedirs(f"{ROOT}/out/eval", exist_ok=True)
    for dom, d in D.items():
        if dom == "math":
            parts = d["val"][:78]
        else:                                # the beginning of every held-out document
            share = 40_000 // len(d["val"])
            parts = [x.encode()[:share].decode("utf-8", "ignore") for x in d["val"]]
            parts = [x[:x.rfind("\n") + 1] for x in parts]
        t = "\n".join(parts)
        open(f"{ROOT}/out/eval/{dom}.txt", "w", encoding="utf-8", newline="").write(t)
        print(dom, {k: (len(v), sum(len(x.encode()) for x in v)) for k, v in d.items()}, "eval", len(t.encode()))


if __name__ == "__main__":
    main()
