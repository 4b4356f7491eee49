# SPDX-License-Identifier: MIT
"""The figures of earlier runs: one JSON object a line in ${XDG_CACHE_HOME:-~/.cache}/lichen/bench/history.jsonl, which outlives `make clean`. Only
complete runs are kept (all requests, instruction counting): a trend of unlike things says nothing. Lines are only added; a broken one is passed over."""

import json
import os

FIGURES = ("instructions", "el2_entries", "mean")


def path():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.environ.get("LICHEN_BENCH_HISTORY") or os.path.join(cache, "lichen", "bench", "history.jsonl")


def entry(document):
    """What is kept of a run: its head and a few figures a result."""
    results = [[r["system"], r["test"]] + [r.get(figure) for figure in FIGURES] for r in document["results"]]
    head = document["head"]
    return {"date": head["date"], "commit": head["commit"], "gic": head["gic"], "figures": list(FIGURES), "results": results}


def add(document):
    if not document["head"].get("complete"):
        return
    os.makedirs(os.path.dirname(path()), exist_ok=True)
    with open(path(), "a") as file:
        file.write(json.dumps(entry(document), separators=(",", ":")) + "\n")


def load(gic=None):
    """The runs, oldest first, as [(entry, {(system, test): {figure: value}})]; those with another interrupt controller are left out."""
    runs = []
    try:
        with open(path()) as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            run = json.loads(line)
            figures = {(r[0], r[1]): dict(zip(run["figures"], r[2:])) for r in run["results"]}
        except (ValueError, KeyError, IndexError, TypeError):
            continue
        if gic is None or run.get("gic") == gic:
            runs.append((run, figures))
    return runs
