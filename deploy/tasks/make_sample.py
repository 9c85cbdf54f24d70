#!/usr/bin/env python3
"""Writes the documents of cemoe's own tasks: make_sample.py [FOLDER]

cemoe_arithmetic.jsonl and cemoe_answer.jsonl are invented from lists of words and numbers;
cemoe_text.jsonl has the texts of deploy/model/eval, cut at line ends. The same on every machine.
"""

import json
import pathlib
import random
import sys

HERE = pathlib.Path(__file__).resolve().parent
NAMES = ["Tom", "Ana", "Leo", "Mia", "Sam", "Eva", "Max", "Zoe", "Ben", "Ida"]
THINGS = ["apples", "books", "coins", "cards", "eggs", "pens", "stamps", "shells", "cups", "stones"]
PIECE = 700    # characters of text, at least, that are one document
LONG = 6000    # of the first document of a domain: more tokens than the shipped model's context


def problem(rnd):
    """A question of one step, the calculation and its result."""
    name, friend = rnd.sample(NAMES, 2)
    things = rnd.choice(THINGS)
    a, b = rnd.randint(3, 40), rnd.randint(2, 12)
    return rnd.choice([
        (f"{name} has {a} {things} and buys {b} more. How many {things} does {name} have now?",
         f"{a} + {b}", a + b),
        (f"{name} has {a + b} {things} and gives {b} to {friend}. How many {things} are left?",
         f"{a + b} - {b}", a),
        (f"{name} fills {b} boxes with {a} {things} each. How many {things} are in the boxes?",
         f"{b} * {a}", a * b),
        (f"{name} and {friend} share {a * 2} {things} equally. How many {things} does each get?",
         f"{a * 2} / 2", a),
    ])


def problems(rnd, count):
    """Different ones."""
    seen = {}
    while len(seen) < count:
        question, work, result = problem(rnd)
        seen.setdefault(question, (question, work, result))
    return list(seen.values())


def arithmetic(count):
    rnd = random.Random(1)
    for number, (question, _, result) in enumerate(problems(rnd, count)):
        wrong = {result + step for step in (-10, -2, -1, 1, 2, 10)} - {result}
        choices = [result, *rnd.sample(sorted(w for w in wrong if w >= 0), 3)]
        rnd.shuffle(choices)
        yield {"id": f"arithmetic-{number}", "question": question,
               "choices": [str(c) for c in choices], "gold": choices.index(result)}


def answer(count):
    rnd = random.Random(2)
    for number, (question, work, result) in enumerate(problems(rnd, count)):
        yield {"id": f"answer-{number}", "question": question, "work": work, "answer": str(result)}


def text():
    for domain in ("math", "code", "general"):
        piece, number = "", 0
        for line in (HERE.parent / f"model/eval/{domain}.txt").read_text().splitlines(keepends=True):
            piece += line
            if len(piece) >= (PIECE if number else LONG) and piece.strip():
                yield {"id": f"{domain}-{number}", "domain": domain, "text": piece}
                piece, number = "", number + 1
        if piece.strip():
            yield {"id": f"{domain}-{number}", "domain": domain, "text": piece}


def main(folder=HERE):
    made = {"arithmetic": arithmetic(220), "answer": answer(200), "text": text()}
    for name, documents in made.items():
        lines = [json.dumps(d, ensure_ascii=False) + "\n" for d in documents]
        pathlib.Path(folder, f"cemoe_{name}.jsonl").write_text("".join(lines))
        print(f"cemoe_{name}.jsonl: {len(lines)} documents")


if __name__ == "__main__":
    main(*sys.argv[1:])
