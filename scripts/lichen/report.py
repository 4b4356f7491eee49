# SPDX-License-Identifier: MIT
"""build/bench/report.html: what scripts/bench measured, as one page that needs nothing else. Well-formed XML too, so that a test can read it.

The waterfall of a request's stages is drawn elsewhere (scripts/trace, which scripts/bench runs): if there is a waterfall.svg beside the report, it is put in."""

import os
from html import escape

from . import benchmark, charts, history

ORDER = ("linux", "lichen", "lichen-direct", "linux-frontend", "kvm-guest", "xen-domu")
NAMES = {"linux": "Linux alone", "lichen": "Lichen", "lichen-direct": "Lichen, direct", "linux-frontend": "Linux, frontend",
         "kvm-guest": "KVM guest", "xen-domu": "Xen domU"}
TESTS = {
    "getppid": "null system call", "pipe": "pipe round trip, two processes", "switch": "switch between two processes",
    "fork-exec": "fork, exec, wait", "read4k-qd1": "4 KiB read, O_DIRECT, one at a time",
    "read4k-cold": "4 KiB read, all asleep before it", "read4k-hot": "4 KiB read, both ends polling", "write4k-qd1": "4 KiB write, O_DIRECT, one at a time",
    "read4k-qd32": "4 KiB read, 32 at a time", "seqread": "1 MiB of a buffered sequential read, ext4, cold",
    "seqwrite": "1 MiB of a buffered sequential write, ext4, with fsync", "echo-hot": "the transport alone, polling",
    "echo-cold": "the transport alone, asleep in between", "boot": "reset to the first program",
}
HEADLINES = ("read4k-qd1", "read4k-qd32", "getppid", "pipe", "fork-exec", "seqread", "seqwrite")
CAUSES = ("notify", "signal", "hvc", "virtio", "distributor", "abort", "sysreg", "other")
# The requests whose stages the report shows.
TRACED = "dd if=/dev/vda of=/dev/null bs=4k count=500 iflag=direct status=none".split()
WATERFALL = "scripts/trace -o build/bench/waterfall -- " + " ".join(TRACED)


def css_of(system):
    return f"c-{system}" if system in ORDER else "c-other"


def name_of(system):
    return NAMES.get(system, system)


def verdict(ratio):
    """The class of a ratio to Linux: no worse, or worse by more than counting can tell."""
    return "" if ratio is None else "good" if ratio <= 1.005 else "over"


class Figures:
    """The results by test and system, in the page's order."""

    def __init__(self, results):
        self.by = {(r["test"], r["system"]): r for r in results}
        self.by_name = {(r["system"], r["test"]): r for r in results}
        known = list(TESTS)
        tests = dict.fromkeys(r["test"] for r in results)
        self.tests = sorted(tests, key=lambda t: known.index(t) if t in known else len(known))
        systems = dict.fromkeys(r["system"] for r in results)
        self.systems = sorted(systems, key=lambda s: ORDER.index(s) if s in ORDER else len(ORDER))

    def of(self, test):
        return [self.by[test, s] for s in self.systems if (test, s) in self.by]

    def get(self, test, system, figure):
        return self.by.get((test, system), {}).get(figure)

    def path(self, test, system, figure):
        """As the ratio has it: instructions without those spent waiting."""
        result = self.by.get((test, system))
        return benchmark.path_of(result, figure) if result else None

    def ratio(self, test, system, figure="instructions"):
        result = self.by.get((test, system))
        return benchmark.ratio_to_linux(result, self.by_name, figure) if result else None


def legend(items):
    return '<p class="legend">' + "".join(f'<span><i class="{css}"></i>{escape(name)}</span>' for css, name in items) + "</p>"


def systems_legend(figures):
    return legend([(css_of(s), name_of(s)) for s in figures.systems])


def panel(title, aside, content):
    return f'<div class="panel"><header><h3>{escape(title)}</h3><span>{escape(aside)}</span></header>{content}</div>'


def head_items(document):
    head = document["head"]
    items = [("measured", head["date"]), ("commit", head["commit"]), ("units", head["unit"]), ("boots of each system", head["runs"])]
    if head.get("qemu"):
        items.append(("emulator", head["qemu"]))
    items.append(("host", head["host"]))
    machine = document["machines"].get("linux") or next(iter(document["machines"].values()), {})
    items.append(("CPU", cpu_name(machine)))
    if machine.get("cntfrq"):
        items.append(("clock", f"{machine['cntfrq'] / 1e6:g} MHz counter, {machine['khz'] + ' kHz' if machine.get('khz') else 'CPU clock not told'}"))
    items.append(("governor", machine.get("governor") or "none to be seen"))
    items.append(("interrupts", f"GICv{head['gic']}"))
    return items


PARTS = {0xD03: "Cortex-A53", 0xD05: "Cortex-A55", 0xD07: "Cortex-A57", 0xD08: "Cortex-A72", 0xD09: "Cortex-A73", 0xD0A: "Cortex-A75",
         0xD0B: "Cortex-A76", 0xD0C: "Neoverse-N1", 0xD40: "Neoverse-V1", 0xD41: "Cortex-A78", 0xD49: "Neoverse-N2"}


def cpu_name(machine):
    midr = int(machine.get("midr") or "0", 16)
    if not midr:
        return "not told"
    arm = midr >> 24 == 0x41
    name = PARTS.get(midr >> 4 & 0xFFF, "part") if arm else "part"
    return f"{name} (MIDR {midr:#010x}), {machine.get('cpus', '?')} in view of Linux alone"


def header(document):
    items = "".join(f"<div>{escape(name)} <b>{escape(str(value))}</b></div>" for name, value in head_items(document))
    if document["head"]["mode"] == "icount":
        lede = ("Instructions retired by the whole machine, hypervisor and driver domain included, for one request. They repeat to a fraction of a "
                "percent. Times are virtual: one instruction is one nanosecond, and a disk answers after ten microseconds.")
        warning = ""
    else:
        lede = "Times by the machine's own clock. Instructions and cycles are summed over all CPUs, the driver domain's too."
        warning = ('<p class="warning">An emulator without instruction counting: every figure here is the host’s, load and all. They are good for '
                   "finding that something works, and for nothing else.</p>") if document["head"]["emulated"] else ""
    return f'<h1>What a request costs</h1><p class="lede">{lede}</p>{warning}<div class="head">{items}</div>'


def cards(figures, unit):
    found = []
    for test in HEADLINES:
        ratio = figures.ratio(test, "lichen", unit)
        if ratio is None:
            continue
        ours, linux = figures.path(test, "lichen", unit), figures.path(test, "linux", unit)
        waiting = figures.get(test, "lichen", "spin") if unit == "instructions" else None
        show = charts.duration if unit == "p50" else charts.number
        found.append(f'<div class="card"><div class="what">{escape(TESTS[test])}</div><div class="big {verdict(ratio)}">{ratio:.2f}<small> × Linux</small></div>'
                     f'<div class="why">{show(ours)} against {show(linux)}'
                     + (f", and {charts.number(round(waiting))} waiting" if waiting and waiting >= 1 else "") + "</div></div>")
    entries = figures.get("read4k-qd1", "lichen", "el2_entries")
    if entries is not None:
        found.append('<div class="card"><div class="what">entries into the hypervisor, 4 KiB read</div>'
                     f'<div class="big">{charts.number(round(entries, 3))}</div><div class="why">one at a time, of all CPUs</div></div>')
    return f'<div class="cards">{"".join(found)}</div>' if found else ""


def side_by_side(figures, unit):
    panels = []
    for test in figures.tests:
        rows = []
        figure = unit if any(r.get(unit) for r in figures.of(test)) else "mean"
        show = charts.number if figure in ("instructions", "cycles") else charts.duration
        for r in figures.of(test):
            ratio = figures.ratio(test, r["system"], figure)
            against = f"{ratio:.2f} ×" if ratio and r["system"] != "linux" else ""
            value = figures.path(test, r["system"], figure)
            rows.append((name_of(r["system"]), css_of(r["system"]), value, show(value), against, verdict(ratio)))
        panels.append(panel(test, TESTS.get(test, ""), charts.bars(rows, f"{test}: {figure} of each system")))
    what = {"instructions": "Instructions of one request without those spent waiting in a loop, which the table has; boot in virtual time.", "p50": "The median time of one request."}[unit]
    return (f'<h2>Systems side by side</h2><p class="note">{what} The ratio is to Linux alone on the same disk: less is better.</p>'
            f'{systems_legend(figures)}<div class="grid2">{"".join(panels)}</div>')


def histograms(figures):
    blocks = []
    for test in figures.tests:
        results = [r for r in figures.of(test) if r.get("histogram")]
        if not results:
            continue
        low = min(r["histogram"][0][0] for r in results) * 0.8
        high = max(max(r["histogram"][-1][1] for r in results) * 1.1, low * 4)
        panels = []
        for r in results:
            marks = [(label, r.get(figure)) for label, figure in (("p50", "p50"), ("p99", "p99"), ("p99.9", "p999"), ("p99.99", "p9999"))]
            drawing = charts.histogram(r["histogram"], max(low, 1), high, marks, css_of(r["system"]), f"{test} on {r['system']}: histogram of latencies")
            panels.append(panel(name_of(r["system"]), f"p50 {charts.duration(r.get('p50'))} · max {charts.duration(r.get('max'))}", drawing))
        blocks.append(f'<h3 style="margin-top:30px">{escape(test)} <span class="note">{escape(TESTS.get(test, ""))}</span></h3>'
                      f'<div class="grid3" style="margin-top:12px">{"".join(panels)}</div>')
    if not blocks:
        return ""
    return ('<h2>Latency</h2><p class="note">How the times of single requests are spread. The time axis of a test is logarithmic, and the same for all its systems; '
            "the height is each one’s own.</p>" + "".join(blocks))


def waterfall(directory):
    path = os.path.join(directory, "waterfall.svg")
    head = "<h2>The stages of a request</h2>"
    try:
        with open(path) as file:
            drawing = file.read()
    except FileNotFoundError:
        return f'{head}<p class="note">No trace was taken. <code>{escape(WATERFALL)}</code> makes one; the next report shows it.</p>'
    start = drawing.find("<svg")
    return f'{head}<div class="wide panel">{drawing[max(start, 0):]}</div>'


def entries(figures):
    rows, used, lines = [], [], []
    for test in figures.tests:
        for r in figures.of(test):
            causes = {cause: count for cause, count in (r.get("el2") or {}).items() if count >= 0.00005}
            if causes:
                used += [cause for cause in causes if cause not in used]
                lines.append((test, r, causes))
    order = [cause for cause in CAUSES if cause in used] + [cause for cause in used if cause not in CAUSES]
    css = {cause: f"k-{i % 8 + 1}" for i, cause in enumerate(order)}
    for test, r, causes in lines:
        pieces = [(css[cause], f"{cause}: {charts.number(causes[cause])}", causes[cause]) for cause in order if cause in causes]
        rows.append((f"{test} · {name_of(r['system'])}", pieces, charts.number(r["el2_entries"])))
    if not rows:
        return ""
    return ('<h2>Entries into the hypervisor, by cause</h2><p class="note">Of all CPUs, for one request. A request that is not shown causes none.</p>'
            + legend([(css[cause], cause) for cause in order]) + '<div class="wide panel">' + charts.stacked(rows, "EL2 entries by cause") + "</div>")


def trends(figures, runs, unit):
    """Earlier runs and this one, whose figures scripts/bench has added to the history already."""
    if unit != "instructions" or len(runs) < 2:
        return ""
    runs = runs[-60:]
    labels = [f"{run['date']}, {run['commit']}" for run, _ in runs]
    panels = []
    for test in figures.tests:
        series = []
        for system in figures.systems:
            points = [values.get((system, test), {}).get("instructions") for _, values in runs]
            if any(points):
                series.append((css_of(system), points))
        if series:
            panels.append(panel(test, "instructions", charts.lines(series, labels, f"{test}: instructions in earlier runs")))
    return (f'<h2>Earlier runs</h2><p class="note">The last {len(runs)} complete runs on this machine, oldest first, from '
            f'<code>{escape(history.path().replace(os.path.expanduser("~"), "~"))}</code>. An axis begins near its smallest value.</p>{systems_legend(figures)}'
            f'<div class="grid3">{"".join(panels)}</div>') if panels else ""


COLUMNS = (("instructions", "instructions", charts.number), ("cycles", "cycles", charts.number), ("spin", "of them spinning", charts.number), (None, "× Linux", None),
           ("el2_entries", "EL2 entries", charts.number), ("interrupts", "interrupts", charts.number),
           ("doorbells", "doorbells", charts.number), ("device_interrupts", "device’s", charts.number), ("p50", "p50", charts.duration), ("p99", "p99", charts.duration),
           ("p999", "p99.9", charts.duration), ("p9999", "p99.99", charts.duration), ("max", "max", charts.duration),
           ("mean", "mean", charts.duration), ("n", "n", charts.number))


def table(figures, unit):
    columns = [c for c in COLUMNS if c[0] is None or any(r.get(c[0]) is not None for r in figures.by.values())]
    head = "".join(f"<th>{escape(c[1])}</th>" for c in columns)
    body = []
    for test in figures.tests:
        for i, r in enumerate(figures.of(test)):
            cells = []
            for figure, _, show in columns:
                if figure:
                    cells.append(f"<td>{show(r.get(figure))}</td>")
                    continue
                ratio = figures.ratio(test, r["system"], unit)
                css = verdict(ratio) if r["system"] != "linux" else ""
                cells.append(f'<td class="{css}">{f"{ratio:.2f}" if ratio and r["system"] != "linux" else ""}</td>')
            body.append(f'<tr class="{"first" if i == 0 else ""}" data-test="{escape(test)}" data-system="{escape(r["system"])}">'
                        f'<td>{escape(test) if i == 0 else ""}</td><td class="left"><span class="swatch {css_of(r["system"])}"></span>'
                        f'{escape(name_of(r["system"]))}</td>{"".join(cells)}</tr>')
    return (f'<h2>All figures</h2><div class="wide"><table><thead><tr><th>test</th><th class="left">system</th>{head}</tr></thead>'
            f'<tbody>{"".join(body)}</tbody></table></div>')


def render(document, directory, runs=None):
    """The page's text. directory: where a waterfall.svg may be. runs: earlier runs, as history.load() gives them."""
    figures = Figures(document["results"])
    unit = "instructions" if any(r.get("instructions") for r in document["results"]) else "p50"
    with open(os.path.join(os.path.dirname(os.path.realpath(__file__)), "report.css")) as file:
        style = file.read()
    sections = (header(document), cards(figures, unit), side_by_side(figures, unit), waterfall(directory), entries(figures), histograms(figures),
                trends(figures, runs or [], unit), table(figures, unit))
    end = ("What the figures mean, and what an emulator cannot say, is in <code>docs/latency.md</code>. A time of fewer requests than it takes to tell a "
           "percentile from the largest is not given. Made by <code>scripts/bench</code>.")
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>'
            f"<title>Lichen: what a request costs</title><style>{style}</style></head><body>\n" + "\n".join(section for section in sections if section)
            + f"\n<footer>{end}</footer>\n</body></html>\n")


def write(document, path, runs=None):
    with open(path, "w") as file:
        file.write(render(document, os.path.dirname(path), runs))
