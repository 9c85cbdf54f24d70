#!/usr/bin/env python3
"""One Markdown table of several comparisons of the same settings: calibrate-table.py DIR...

Each DIR has the comparison.json of `cemoe compare` on one text and is a column; a row is what
truncation to k_m experts loses, or the share of it that compressed experts bring back.
"""

import json
import pathlib
import re
import sys


def read(path):
    """(the document, its settings by k_m and row)"""
    document = json.loads((pathlib.Path(path) / "comparison.json").read_text())
    return {(setting["main_experts"], row_of(setting)): setting for setting in document["settings"]}


def row_of(setting):
    """The same for all texts: tables have the name of theirs, fits the n_ce that the row says anyway."""
    if setting["kind"] == "scaling":
        return "scaling tables"
    name = re.sub(r"-n\d+$", "", setting["name"])
    name = re.sub(r"^rank(\d+)$", r"affine of rank \1", name)
    return re.sub(r"^budget(\d+)$", r"affine, the bytes of rank \1 where they help most", name)


def number(estimate, digits, scale=1, unit=""):
    return f"{scale * estimate['value']:.{digits}f} ± {scale * estimate['stderr']:.{digits}f}{unit}"


def cell(setting):
    result = setting["texts"][0]
    if setting["kind"] == "truncated":
        return number(result["minus_full"], 4)
    return number(result["recovered_fraction"], 1, 100, " %")


def order(key):
    """More experts first; truncation, tables, then fits by their size, of equal ones the uniform one."""
    mains, row = key
    found = re.search(r"\d+", row)
    return -mains, {"truncated": 0, "scaling tables": 1}.get(row, 2), int(found[0]) if found else 0, "," in row, row


def main(paths):
    if not paths:
        sys.exit(__doc__)
    columns = {pathlib.Path(path).name: read(path) for path in paths}
    first = next(iter(columns.values()))
    print("| k_m | setting | active (M) | replica bytes | " + " | ".join(columns) + " |")
    print("| --: | --- | --: | --: |" + " --: |" * len(columns))
    for key in sorted((key for key in first if key[1] != "full"), key=order):
        setting = first[key]
        name = "NLL lost, truncated" if key[1] == "truncated" else f"recovered, {key[1]}"
        cells = " | ".join(cell(column[key]) for column in columns.values())
        print(f"| {key[0]} | {name} | {setting['active_parameters'] / 1e6:.3f} | {setting['replica_bytes']} | {cells} |")


if __name__ == "__main__":
    main(sys.argv[1:])
