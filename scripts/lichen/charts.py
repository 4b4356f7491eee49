# SPDX-License-Identifier: MIT
"""The report's drawings, as SVG text: bars, stacked bars, histograms and lines. Colours are classes of the page's style sheet
(c-SYSTEM, k-N for the N-th cause), so that they follow its light and dark form. Numbers in, markup out; no knowledge of the benchmark."""

import math
from html import escape


def number(value):
    """Three or more figures, grouped: 0.004, 1.25, 135, 7,484, 1.75 M."""
    if value is None:
        return "–"
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:,.2f} M"
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}" if size >= 0.1 else f"{value:.4f}"


def duration(ns):
    """A time as people say it: 350 ns, 16.4 µs, 2.10 ms."""
    if ns is None:
        return "–"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"


def text(x, y, content, css="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}">{escape(content)}</text>'


def svg(width, height, parts, label):
    return (f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label, quote=True)}">' + "".join(parts) + "</svg>")


def bars(rows, label, width=520):
    """rows: (name, class, value, what is written behind the bar, and a second column with its class). The longest bar is the largest value; a missing
    value has none."""
    left, right, step, thick = 112, 138, 26, 14
    largest = max([row[2] for row in rows if row[2]] or [1])
    parts = []
    for i, (name, css, value, caption, second, second_css) in enumerate(rows):
        y = i * step + 4
        length = (width - left - right) * (value or 0) / largest
        parts.append(text(left - 10, y + 11.5, name, "t-name", "end"))
        parts.append(f'<rect x="{left}" y="{y}" width="{width - left - right}" height="{thick}" rx="3" class="track"/>')
        if value:
            parts.append(f'<rect x="{left}" y="{y}" width="{max(length, 2):.1f}" height="{thick}" rx="3" class="{css}"/>')
        parts.append(text(width - 58, y + 11.5, caption, "t-value", "end"))
        parts.append(text(width, y + 11.5, second, "t-value " + second_css, "end"))
    return svg(width, len(rows) * step + 2, parts, label)


def stacked(rows, label, width=1080):
    """rows: (name, [(class, title, value)], caption): one bar a row, of the parts' lengths."""
    left, right, step, thick = 210, 90, 28, 16
    largest = max([sum(part[2] for part in row[1]) for row in rows] or [1]) or 1
    parts = []
    for i, (name, pieces, caption) in enumerate(rows):
        y, x = i * step + 4, float(left)
        parts.append(text(left - 12, y + 12.5, name, "t-name", "end"))
        for css, title, value in pieces:
            length = (width - left - right) * value / largest
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{max(length, 0.5):.1f}" height="{thick}" class="{css}">'
                         f"<title>{escape(title)}</title></rect>")
            x += length
        parts.append(text(x + 10, y + 12.5, caption, "t-value"))
    return svg(width, len(rows) * step + 2, parts, label)


def ticks_125(low, high):
    """1, 2 and 5 times powers of ten between low and high."""
    found = []
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        found += [base * 10.0**power for base in (1, 2, 5) if low <= base * 10.0**power <= high]
    return found


def histogram(buckets, low, high, marks, css, label, width=340, height=120):
    """buckets: (from, below, count). A logarithmic axis of time from low to high (ns), shared by those that are compared; heights are densities of that
    axis, so that wider buckets are not taller. marks: (name, ns), thin lines."""
    top, bottom = 16, height - 20
    scale = (width - 2) / (math.log(high) - math.log(low))

    def place(ns):
        return 1 + (math.log(min(max(ns, low), high)) - math.log(low)) * scale

    shapes = [(place(a), max(place(b) - place(a), 1.0), n) for a, b, n in buckets]
    tallest = max([n / w for _, w, n in shapes] or [1])
    parts = [f'<line x1="0" y1="{bottom}" x2="{width}" y2="{bottom}" class="axis"/>']
    ticks = ticks_125(low, high)
    last = -1e9
    for tick in ticks:
        x = place(tick)
        parts.append(f'<line x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 4}" class="axis"/>')
        if x - last > 52 and 16 < x < width - 16:
            parts.append(text(x, height - 4, duration(tick), "t-tick", "middle"))
            last = x
    for x, w, n in shapes:
        # A single request among thousands is still to be seen.
        tall = max((bottom - top) * (n / w) / tallest, 1.5)
        parts.append(f'<rect x="{x:.1f}" y="{bottom - tall:.1f}" width="{max(w - 0.4, 0.8):.1f}" height="{tall:.1f}" class="{css}"/>')
    last = -1e9
    for name, ns in marks:
        if ns is None:
            continue
        x = place(ns)
        parts.append(f'<line x1="{x:.1f}" y1="{top - 4}" x2="{x:.1f}" y2="{bottom}" class="mark"/>')
        if x - last > (64 if x > width - 34 else 30):
            end = x > width - 34
            parts.append(text(x - 3 if end else x + 3, top - 5, name, "t-tick", "end" if end else "start"))
            last = x
    return svg(width, height, parts, label)


def lines(series, labels, label, width=340, height=110):
    """series: (class, [value or None]), all as long as `labels` (what a point is, for its tooltip). The axis begins a little below the smallest value
    and says its limits, so that a change of a percent is seen."""
    values = [v for _, points in series for v in points if v is not None]
    if not values:
        return ""
    low, high = min(values), max(values)
    margin = max((high - low) * 0.12, high * 0.02, 1e-9)
    low, high = max(low - margin, 0), high + margin
    left, right, top, bottom = 52, width - 8, 8, height - 10
    count = len(labels)

    def x(i):
        return (left + right) / 2 if count == 1 else left + (right - left) * i / (count - 1)

    def y(value):
        return bottom - (bottom - top) * (value - low) / (high - low)

    parts = []
    for value in (min(values), max(values)) if min(values) != max(values) else (max(values),):
        parts.append(f'<line x1="{left}" y1="{y(value):.1f}" x2="{right}" y2="{y(value):.1f}" class="grid"/>')
        parts.append(text(left - 8, y(value) + 3.5, number(value), "t-tick", "end"))
    for css, points in series:
        placed = [(x(i), y(v), labels[i], v) for i, v in enumerate(points) if v is not None]
        path = " ".join(f"{'L' if i else 'M'}{px:.1f} {py:.1f}" for i, (px, py, _, _) in enumerate(placed))
        parts.append(f'<path d="{path}" class="line {css}"/>')
        for px, py, what, v in placed if count <= 40 else placed[-1:]:
            parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="2.6" class="dot {css}"><title>{escape(what)}: {number(v)}</title></circle>')
    return svg(width, height, parts, label)
