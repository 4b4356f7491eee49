# SPDX-License-Identifier: MIT
"""Bounds for counted figures, in tests/bench/bounds.json: a change that makes a request dearer has to change that file too, in the same
commit. What is spent spinning is not bounded, nor are times: on an emulator they are no figures."""

import json

from . import benchmark

COUNTED = ("instructions", "el2_entries")
OURS = ("lichen", "lichen-direct")  # what a change of ours can make dearer; Linux alone is the measure, not the measured
MARGIN = 1.03    # counts repeat to a fraction of a percent
ENTRIES = 0.02   # a timer's or the console's entries in a run of thousands of requests


def load(path):
    with open(path) as file:
        return json.load(file)


def bound(figure, value):
    """A new bound for a measured value."""
    if figure == "el2_entries":
        return round(max(value * MARGIN, value + ENTRIES), 3)
    return round(value * MARGIN, 1)


def by_name(results):
    return {(r["system"], r["test"]): r for r in results}


def check(results, bounds, systems, tests):
    """Lines that say what is wrong: a figure over its bound, a ratio over its limit, a bound without result, a result without bound. Only what was
    asked for (systems; tests, empty: all) must be there."""
    found, faults = by_name(results), []

    def asked(system, test):
        return system in systems and (not tests or test in tests)

    for system, of_system in bounds["counted"].items():
        for test, figures in of_system.items():
            if not asked(system, test):
                continue
            result = found.get((system, test))
            for figure, limit in figures.items():
                value = benchmark.path_of(result, figure) if result else None
                if value is None:
                    faults.append(f"{system} {test}: {figure} has a bound, {limit:,}, but was not measured")
                elif value > limit:
                    faults.append(f"{system} {test}: {figure} {value:,.4g} is over its bound of {limit:,} ({value / limit * 100 - 100:+.1f} %)"
                                  if limit else f"{system} {test}: {figure} {value:,.4g} is over its bound of 0")
    for (system, test), result in found.items():
        for figure in COUNTED:
            if system in OURS and result.get(figure) is not None and figure not in bounds["counted"].get(system, {}).get(test, {}):
                faults.append(f"{system} {test}: {figure} has no bound (scripts/bench --update-bounds)")
    for test, limits in bounds["ratio to linux"].items():
        for system, limit in limits.items():
            if not asked(system, test) or "linux" not in systems:
                continue
            ratio = benchmark.ratio_to_linux(found[system, test], found) if (system, test) in found else None
            if ratio is None:
                faults.append(f"{system} {test}: its ratio to linux has a limit, {limit}, but was not measured")
            elif ratio > limit:
                faults.append(f"{system} {test}: {ratio:.3f} x the instructions of linux, over the limit of {limit}")
    return faults


def update(results, bounds):
    """The bounds of what was measured, anew; limits of ratios are a promise and are changed by hand."""
    for r in results:
        if r["system"] not in OURS:
            continue
        figures = {figure: bound(figure, benchmark.path_of(r, figure)) for figure in COUNTED if r.get(figure) is not None}
        if figures:
            bounds["counted"].setdefault(r["system"], {})[r["test"]] = figures
    return bounds


def save(path, bounds):
    """One test a line, so that a commit's difference is readable."""
    lines = ["{", '"about": [']
    lines.append(",\n".join(f"\t{json.dumps(line)}" for line in bounds["about"]))
    lines.append("],")
    for key in ("ratio to linux", "counted"):
        if key == "ratio to linux":
            inner = ",\n".join(f"\t{json.dumps(test)}: {json.dumps(limits)}" for test, limits in bounds[key].items())
        else:
            inner = ",\n".join(f"\t{json.dumps(system)}: {{\n" + ",\n".join(
                f"\t\t{json.dumps(test)}: {json.dumps(figures)}" for test, figures in tests.items()) + "\n\t}" for system, tests in bounds[key].items())
        lines.append(f"{json.dumps(key)}: {{\n{inner}\n}}" + ("," if key != "counted" else ""))
    lines.append("}")
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")
