# SPDX-License-Identifier: MIT
"""Traces (virtio/include/lichen/trace.h): reads what /proc/lichen/trace held, puts requests together, and renders them.

    trace = read(bytes)          -> Trace: records of all rings by time, how many were overwritten
    requests = follow(trace)     -> [Request]: .marks = [(point, ticks, place)], from the system call to its return
    stage_table(requests, hz)    -> the text of the table
    perfetto(trace, requests)    -> Chrome's trace-event JSON, which Perfetto loads, as a dict
    perfetto_check(dict)         -> what is wrong with such a dict: a list of sentences
    waterfall_svg(requests, hz)  -> one picture: the median of each stage, in order, to scale

A request's stages are the times between its consecutive points, so their sum is its end-to-end time. A point that a
request did not pass (no notification when the other side polls) is left out, and its time belongs to the next one."""

import collections
import html
import struct

MAGIC, VERSION = 0x454341525448434C, 2
FILE, CHUNK, RECORD = struct.Struct("<QIIQ"), struct.Struct("<IIQQ"), struct.Struct("<QIIIIQ")
WRITERS = ("EL2", "linux", "lichen")
EL2, BACKEND, FRONTEND = range(3)
(SYSCALL, SUBMIT, NOTIFY, EL2_IN, EL2_OUT, DOORBELL, TAKE, BIO_SUBMIT, BIO_END, SIGNAL, EL2_SIGNAL, INTERRUPT,
 COMPLETE, RUN, RETURN) = range(1, 16)
NAMES = {SYSCALL: "syscall entry", SUBMIT: "submit", NOTIFY: "notify", EL2_IN: "EL2 in", EL2_OUT: "EL2 out",
         DOORBELL: "backend wake", TAKE: "backend take", BIO_SUBMIT: "bio submit", BIO_END: "bio end",
         SIGNAL: "signal", EL2_SIGNAL: "EL2 signal", INTERRUPT: "frontend interrupt", COMPLETE: "completion",
         RUN: "task wake", RETURN: "return to user"}
# What happens on the way to a point: the name of the stage that ends there.
STAGES = {SUBMIT: "file system", NOTIFY: "submit", EL2_IN: "notify: trap to EL2", EL2_OUT: "EL2",
          DOORBELL: "backend interrupt", TAKE: "backend wake", BIO_SUBMIT: "chain to bio",
          BIO_END: "block layer and device", SIGNAL: "completion", EL2_SIGNAL: "signal: trap to EL2",
          INTERRUPT: "frontend interrupt", COMPLETE: "take from the ring", RUN: "task wake", RETURN: "return to user"}
NO_HEAD, NO_KEY = 0xFFFF, 0xFFFFFFFF
LANE = 1000  # of Perfetto's thread numbers

Record = collections.namedtuple("Record", "time sequence stage key task value cpu writer")
Trace = collections.namedtuple("Trace", "records frequency overwritten rings")


class Error(Exception):
    """This is no trace."""


def read(data):
    if len(data) < FILE.size:
        raise Error("the trace is empty: were there rings?")
    magic, version, rings, frequency = FILE.unpack_from(data)
    if magic != MAGIC or version != VERSION or not frequency:
        raise Error("this is no trace, or one of another version")
    at, records, overwritten = FILE.size, [], 0
    for _ in range(rings):
        if at + CHUNK.size > len(data):
            raise Error("the trace is cut off")
        cpu, writer, written, count = CHUNK.unpack_from(data, at)
        at += CHUNK.size
        if writer >= len(WRITERS) or at + count * RECORD.size > len(data):
            raise Error("the trace is cut off, or damaged")
        overwritten += written - count
        for fields in RECORD.iter_unpack(data[at:at + count * RECORD.size]):
            if fields[2] not in NAMES:  # another domain may have written anything
                continue
            record = Record(*fields, cpu, writer)
            records.append(record)
            if record.stage == RETURN and record.value:
                # A call is recorded when it ends, if it made a request: what it is, and when it was entered.
                records.append(record._replace(time=record.value, stage=SYSCALL, key=NO_KEY, value=record.key))
        at += count * RECORD.size
    records.sort(key=lambda record: (record.time, record.stage))
    return Trace(records, frequency, overwritten, rings)


class Request:
    def __init__(self, key, task):
        self.key, self.task = key, task
        self.marks = []  # (point, ticks, (writer, cpu))
        self.complete = self.ordered = False

    def total(self):
        return self.marks[-1][1] - self.marks[0][1]

    def stages(self):
        return [(STAGES[b[0]], b[1] - a[1]) for a, b in zip(self.marks, self.marks[1:])]


def follow(trace):
    """The requests that went from a system call to its return while the trace was on."""
    open_calls, flying, notified, doorbells, interrupts, waiting = {}, {}, {}, {}, {}, {}
    el2_signal, done = None, []
    for record in trace.records:
        place = (record.writer, record.cpu)
        mark = (record.stage, record.time, place)
        stage, key = record.stage, record.key
        if stage == SYSCALL:
            open_calls[record.task] = mark
        elif stage == SUBMIT:
            request = Request(key, record.task)
            if record.task in open_calls:
                request.marks.append(open_calls[record.task])
            request.marks.append(mark)
            flying[key] = request
        elif stage in (NOTIFY, EL2_IN, EL2_OUT):
            # Of the queue, not of a request: all that were submitted and not taken yet.
            for request in flying.values():
                if request.key >> 16 == key >> 16 and request.marks[-1][0] < stage:
                    request.marks.append(mark)
        elif stage == DOORBELL:
            doorbells[record.cpu] = mark
        elif stage == INTERRUPT:
            interrupts[record.cpu] = mark
        elif stage == EL2_SIGNAL:
            el2_signal = (key >> 24, mark)
        elif stage in (TAKE, BIO_SUBMIT, BIO_END, SIGNAL):
            request = flying.get(key)
            if request:
                bell = doorbells.get(record.cpu)
                if stage == TAKE and bell and bell[1] >= request.marks[-1][1]:
                    request.marks.append(bell)
                request.marks.append(mark)
        elif stage == COMPLETE:
            request = flying.pop(key, None)
            if not request:
                continue
            if el2_signal and el2_signal[0] == key >> 24 and el2_signal[1][1] >= request.marks[-1][1]:
                request.marks.append(el2_signal[1])
            taken = interrupts.get(record.cpu)
            if taken and taken[1] >= request.marks[-1][1]:
                request.marks.append(taken)
            request.marks.append(mark)
            waiting.setdefault(record.task, []).append(request)
        elif stage == RUN:
            for request in waiting.get(record.task, ()):
                if request.marks[-1][0] == COMPLETE:
                    request.marks.append(mark)
        elif stage == RETURN:
            open_calls.pop(record.task, None)
            for request in waiting.pop(record.task, ()):
                request.marks.append(mark)
                done.append(request)
    whole = any(record.writer == EL2 for record in trace.records)
    needed = {SYSCALL, SUBMIT, COMPLETE, RETURN} | ({TAKE} if whole else set())
    for request in done:
        points = [mark[0] for mark in request.marks]
        request.complete = needed <= set(points) and (BIO_SUBMIT in points) == (BIO_END in points)
        request.ordered = points == sorted(points) and all(
            a[1] <= b[1] for a, b in zip(request.marks, request.marks[1:]))
    return done


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def gather(requests):
    """[(stage, [ticks])], in the order of the way; requests: complete ones."""
    times = {}
    for request in requests:
        for name, ticks in request.stages():
            times.setdefault(name, []).append(ticks)
    return [(name, times[name]) for name in STAGES.values() if name in times]


def usable(requests):
    return [request for request in requests if request.complete and request.ordered]


def stage_table(requests, frequency):
    good = usable(requests)
    text = f"requests {len(requests)}, complete and in order {len(good)}\n"
    if not good:
        return text
    us = 1e6 / frequency
    total = sum(request.total() for request in good)
    text += f"{'stage':<26}{'count':>8}{'p50 us':>10}{'p99 us':>10}{'max us':>10}{'share':>8}\n"
    added = 0
    for name, ticks in gather(good):
        added += sum(ticks)
        text += (f"{name:<26}{len(ticks):>8}{percentile(ticks, .5) * us:>10.2f}{percentile(ticks, .99) * us:>10.2f}"
                 f"{max(ticks) * us:>10.2f}{sum(ticks) / max(total, 1):>8.1%}\n")
    ends = [request.total() for request in good]
    text += (f"{'end to end':<26}{len(ends):>8}{percentile(ends, .5) * us:>10.2f}{percentile(ends, .99) * us:>10.2f}"
             f"{max(ends) * us:>10.2f}{1:>8.1%}\n")
    return text + f"sum of the stages / end to end: {added / max(total, 1):.4f}\n"


def perfetto(trace, requests):
    """Domains are processes, CPUs are threads; each stage is a slice where it ended, arrows join those of a request."""
    us = 1e6 / trace.frequency
    base = trace.records[0].time if trace.records else 0
    events = []

    def time_of(ticks):
        return round((ticks - base) * us, 3)  # Perfetto's own clock has nanoseconds

    for writer, cpu in sorted({(record.writer, record.cpu) for record in trace.records}):
        events.append({"ph": "M", "name": "process_name", "pid": writer + 1, "tid": 0, "args": {"name": WRITERS[writer]}})
        events.append({"ph": "M", "name": "thread_name", "pid": writer + 1, "tid": cpu + 1, "args": {"name": f"CPU {cpu}"}})
    for record in trace.records:
        events.append({"ph": "i", "s": "t", "name": NAMES[record.stage], "cat": "point", "pid": record.writer + 1,
                       "tid": record.cpu + 1, "ts": time_of(record.time),
                       "args": {"key": f"{record.key:#010x}", "task": record.task, "value": record.value}})
    steps = sorted((begin[1], end[1], number, end) for number, request in enumerate(requests, 1)
                   for begin, end in zip(request.marks, request.marks[1:]))
    lanes, flows = {}, {}
    for begin, end, number, (point, _, (writer, cpu)) in steps:
        # Perfetto drops a slice that overlaps its neighbour: those of requests at the same time lie in lanes, one below the other.
        ends = lanes.setdefault((writer, cpu), [])
        lane = next((index for index, until in enumerate(ends) if until <= begin), len(ends))
        ends[lane:lane + 1] = [end]
        where = {"pid": writer + 1, "tid": cpu + 1 + LANE * lane, "ts": time_of(begin)}
        events.append({"ph": "X", "name": STAGES.get(point, NAMES[point]), "cat": "request",
                       "dur": round(time_of(end) - time_of(begin), 3), "args": {"request": number}, **where})
        if end > begin:  # an arrow needs a slice to begin or end in
            flows.setdefault(number, []).append(where)
    for (writer, cpu), ends in lanes.items():
        events += [{"ph": "M", "name": "thread_name", "pid": writer + 1, "tid": cpu + 1 + LANE * lane,
                    "args": {"name": f"CPU {cpu}, at the same time"}} for lane in range(1, len(ends))]
    for number, places in flows.items():
        for index, where in enumerate(places if len(places) > 1 else ()):
            phase = "f" if index == len(places) - 1 else "t" if index else "s"
            events.append({"ph": phase, "name": "request", "cat": "request", "id": number, **where,
                           **({"bp": "e"} if phase == "f" else {})})
    return {"traceEvents": events, "displayTimeUnit": "ns"}


def perfetto_check(document):
    """Against the trace-event format: the fields that each phase must have, slices of a thread that do not overlap, and flows that
    begin, go on and end, each time in a slice."""
    wrong, flows, slices = [], {}, {}
    needed = {"M": ("name", "pid", "tid", "args"), "i": ("name", "pid", "tid", "ts", "s"),
              "X": ("name", "pid", "tid", "ts", "dur"), "s": ("name", "cat", "id", "pid", "tid", "ts"),
              "t": ("name", "cat", "id", "pid", "tid", "ts"), "f": ("name", "cat", "id", "pid", "tid", "ts", "bp")}
    if not isinstance(document.get("traceEvents"), list):
        return ["traceEvents is no list"]
    for event in document["traceEvents"]:
        phase = event.get("ph")
        if phase not in needed:
            wrong.append(f"phase {phase} is not known")
            continue
        wrong += [f"{phase} without {field}" for field in needed[phase] if field not in event]
        for field in ("ts", "dur"):
            if field in event and (not isinstance(event[field], (int, float)) or event[field] < 0):
                wrong.append(f"{phase}: {field} is {event[field]}")
        if phase == "X":
            slices.setdefault((event.get("pid"), event.get("tid")), []).append((event.get("ts", 0), event.get("dur", 0)))
        if phase in "stf":
            flows.setdefault(event.get("id"), []).append((event.get("ts", 0), phase))
    for place, times in slices.items():
        times.sort()
        wrong += [f"slices of {place} overlap at {b[0]}" for a, b in zip(times, times[1:]) if a[0] + a[1] > b[0] + 1e-4]
    begins = {(place, begin) for place, times in slices.items() for begin, length in times if length > 0}
    wrong += [f"{event['ph']} of flow {event.get('id')} is in no slice" for event in document["traceEvents"]
              if event.get("ph") in ("s", "t", "f") and ((event.get("pid"), event.get("tid")), event.get("ts")) not in begins]
    for number, steps in flows.items():
        phases = "".join(phase for _, phase in steps)
        if phases[0] != "s" or phases[-1] != "f" or set(phases[1:-1]) - {"t"} or [t for t, _ in steps] != sorted(t for t, _ in steps):
            wrong.append(f"flow {number} is {phases}, or not in order")
    return wrong


COLOURS = {EL2: "#b5484b", BACKEND: "#3f6fa3", FRONTEND: "#4f8a55"}


def waterfall_svg(requests, frequency, title="A request, stage by stage"):
    """The medians of the stages, one below the other, each beginning where the one above ends. A whole SVG element."""
    good = usable(requests)
    rows = [(name, percentile(ticks, .5) * 1e6 / frequency) for name, ticks in gather(good)]
    places = {STAGES[point]: place[0] for request in good for point, _, place in request.marks[1:]}
    whole = sum(length for _, length in rows) or 1
    height, left, width = 24, 190, 560
    size = (left + width + 90, 70 + height * len(rows))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}" '
           f'height="{size[1]}" font-family="sans-serif" font-size="12" fill="currentColor">',
           f'<title>{html.escape(title)}</title><text x="8" y="20" font-size="14">{html.escape(title)}: medians of '
           f'{len(good)} requests, {whole:.2f} us</text>']
    for index, (writer, colour) in enumerate(COLOURS.items()):
        out.append(f'<rect x="{left + index * 90}" y="30" width="10" height="10" fill="{colour}"/>'
                   f'<text x="{left + 15 + index * 90}" y="39">{WRITERS[writer]}</text>')
    at = 0
    for index, (name, length) in enumerate(rows):
        y, x, w = 52 + index * height, left + at / whole * width, max(length / whole * width, 1)
        out.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{html.escape(name)}</text>'
                   f'<rect x="{x:.1f}" y="{y + 2}" width="{w:.1f}" height="{height - 6}" rx="2" '
                   f'fill="{COLOURS[places[name]]}"/><text x="{x + w + 5:.1f}" y="{y + 14}">{length:.2f}</text>')
        at += length
    return "\n".join(out + ["</svg>"]) + "\n"
