# SPDX-License-Identifier: MIT
"""Async backtraces in gdb, for Lichen's kernel.

    gdb-multiarch build/kernel/kernel.elf -ex 'source scripts/gdb/lichen.py' -ex 'target remote :1234'

    lichen-tasks [PATTERN]   every task whose name has PATTERN: state, CPU, where it waits
    lichen-bt TASK           the async backtrace of a task: an address, an expression, a name or a thread's tid
    lichen-frame TASK N      the variables of its n-th frame (0 = innermost)
    lichen-cpus              what each CPU runs
    lichen-log [LINES]       the end of the kernel's log
"""

import gdb

STATES = ["queued", "running", "notified", "blocked", "dead"]
TASK_THREAD = 1


def type_of(name):
    return gdb.lookup_type("struct " + name)


def number(value):
    """An _Atomic or plain integer."""
    try:
        return int(value)
    except gdb.error:
        return int(value.cast(gdb.lookup_type("unsigned long")))


def tasks():
    head = gdb.parse_and_eval("&all_tasks")
    offset = [f for f in type_of("task").fields() if f.name == "all_node"][0].bitpos // 8
    node = head["next"]
    while node != head:
        yield gdb.Value(int(node) - offset).cast(type_of("task").pointer())
        node = node["next"]


def thread_of(task):
    if number(task["flags"]) & TASK_THREAD:
        return task.cast(type_of("thread").pointer())
    return None


def name_of(task):
    thread = thread_of(task)
    if thread is not None:
        return "%s[%d]" % (thread["name"].string(), int(thread["tid"]))
    return task["name"].string() if task["name"] else "?"


def frames(task):
    frame = task["async"]["top"]
    for _ in range(64):
        if not frame:
            return
        yield frame
        frame = frame["caller"]


def frame_text(frame):
    fn = frame["fn"]
    return "%s (%s:%d)" % (fn["name"].string(), fn["file"].string(), int(frame["resume"]) & 0x7fffffff)


def find(text):
    for task in tasks():
        thread = thread_of(task)
        if text == name_of(task).split("[")[0] or (thread is not None and text == str(int(thread["tid"]))):
            return task
    return gdb.parse_and_eval(text).cast(type_of("task").pointer())


def state_text(task):
    state = number(task["state"])
    return STATES[state] if state < len(STATES) else str(state)


class Tasks(gdb.Command):
    def __init__(self):
        super().__init__("lichen-tasks", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        for task in tasks():
            if argument not in name_of(task):
                continue
            top = next(frames(task), None)
            print("%#x %-20s %-8s CPU %d  %s" % (int(task), name_of(task), state_text(task), int(task["cpu"]),
                  frame_text(top) if top is not None else "in user mode"))


class Backtrace(gdb.Command):
    def __init__(self):
        super().__init__("lichen-bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        task = find(argument)
        print("%s, %s, CPU %d" % (name_of(task), state_text(task), int(task["cpu"])))
        for i, frame in enumerate(frames(task)):
            print("#%-2d %#x in %s" % (i, int(frame), frame_text(frame)))


class Frame(gdb.Command):
    def __init__(self):
        super().__init__("lichen-frame", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        frame = list(frames(find(words[0])))[int(words[1])]
        print(frame_text(frame))
        kind = type_of(frame["fn"]["name"].string() + "_frame")
        print(frame.cast(kind.pointer()).dereference().format_string(max_depth=2))


class Cpus(gdb.Command):
    def __init__(self):
        super().__init__("lichen-cpus", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        for i in range(int(gdb.parse_and_eval("cpus_found"))):
            cpu = gdb.parse_and_eval("&cpus[%d]" % i)
            current = number(cpu["current"])
            task = gdb.Value(current).cast(type_of("task").pointer())
            print("CPU %d: %s, %d waiting, %d switches" % (i, name_of(task) if current else "idle",
                  number(cpu["queue"]["count"]), int(cpu["switches"])))


class Log(gdb.Command):
    def __init__(self):
        super().__init__("lichen-log", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        ring = gdb.parse_and_eval("ring")
        size, end = ring.type.sizeof, int(gdb.parse_and_eval("ring_end"))
        data = bytes(gdb.selected_inferior().read_memory(int(ring.address), size))
        text = data[:end] if end <= size else data[end % size:] + data[:end % size]
        lines = text.decode(errors="replace").splitlines()
        print("\n".join(lines[-int(argument):] if argument else lines))


for command in (Tasks, Backtrace, Frame, Cpus, Log):
    command()
