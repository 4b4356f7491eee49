# SPDX-License-Identifier: MIT
"""Where the instructions of a request are executed: QEMU's log of each one, over a second or a few of a benchmark that runs, attributed
to programs and functions. Hundreds of times slower than the run itself, which under -icount does not notice."""

import bisect
import collections
import os
import re
import socket
import subprocess
import threading
import time

from . import benchmark

RECORD = re.compile(r"Trace (\d+): \S+ \[[0-9a-f]+/([0-9a-f]+)/")
HYPERVISOR = re.compile(rb"image at ([0-9a-f]+)")
MODULES, LINUX, LICHEN = 0xffffffc078000000, 0xffffffc080000000, 0xffff800000000000
# What is executed once a request, in the driver domain's module.
REQUEST = {"echo-hot": "echo_serve"}
MONITOR_SECONDS = 10


def constant(file, name):
    """What a C header or source of ours calls `name`."""
    with open(os.path.join(benchmark.SOURCE, file)) as text:
        return int(re.search(rf"#define {name}\s+(\d+)", text.read())[1])


class Program:
    """Functions and instructions of one program, at the addresses that it runs at (`base` is added)."""

    def __init__(self, path, base=0, section=None):
        listing = subprocess.run(["aarch64-linux-gnu-objdump", "-d"] + (["-j", section] if section else []) + [path],
                                 check=True, stdout=subprocess.PIPE, text=True).stdout
        self.path, self.base = path, base
        self.code, self.functions = {}, []
        for line in listing.splitlines():
            head = re.match(r"([0-9a-f]+) <(.+)>:", line)
            if head:
                self.functions.append((int(head[1], 16), head[2]))
                continue
            item = re.match(r"\s*([0-9a-f]+):\s+[0-9a-f]{8}\s+(\S+)", line)
            if item:
                self.code[int(item[1], 16)] = item[2]
        self.functions.sort()
        self.starts = [start for start, _ in self.functions]

    def function(self, pc):
        at = bisect.bisect_right(self.starts, pc - self.base) - 1
        return self.functions[at][1] if at >= 0 else "?"

    def entry(self, name):
        return next((start + self.base for start, function in self.functions if function == name), None)

    def instruction(self, pc):
        return self.code.get(pc - self.base)

    def find(self, pcs):
        """A module's base, by what was executed of it: all of it is code there, and what jumps is a branch."""
        jumps = {(a, b) for a, b in zip(pcs, pcs[1:]) if b != a + 4}
        seen, best = set(pcs), (0, None)
        highest = min(seen) & ~0xfff
        for base in range(highest - (max(self.code) & ~0xfff), highest + 0x1000, 0x1000):
            if any(pc - base not in self.code for pc in seen):
                continue
            score = sum(bool(re.match(r"b|cb|tb|ret|eret|hvc|wf", self.code[a - base])) for a, _ in jumps)
            best = max(best, (score, base))
        if best[1] is None or best[0] < 0.5 * len(jumps):
            raise benchmark.Error(f"{self.path}: where it was loaded is not to be found out")
        self.base = best[1]


class Symbols:
    """Linux's, from System.map."""

    def __init__(self, path):
        with open(path) as file:
            items = sorted((int(a, 16), name) for a, kind, name in map(str.split, file) if kind in "tTwW" and name[0] != "$")
        self.starts, self.names = [a for a, _ in items], [name for _, name in items]

    def function(self, pc):
        at = bisect.bisect_right(self.starts, pc) - 1
        return self.names[at] if at >= 0 else "?"


class Monitor:
    """QEMU's human monitor."""

    def __init__(self, path):
        deadline = time.monotonic() + MONITOR_SECONDS
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(path)
                break
            except OSError:
                self.socket.close()
                if time.monotonic() > deadline:
                    raise benchmark.Error("QEMU's monitor does not answer") from None
                time.sleep(0.05)
        self.socket.settimeout(MONITOR_SECONDS)
        self._answer()

    def _answer(self):
        text = b""
        while not text.endswith(b"(qemu) "):
            try:
                more = self.socket.recv(65536)
            except OSError:
                raise benchmark.Error("QEMU's monitor is silent") from None
            if not more:
                raise benchmark.Error("QEMU has ended")
            text += more
        return text.decode(errors="replace")

    def command(self, line):
        self.socket.sendall(line.encode() + b"\n")
        return self._answer()


def record(name, options, directory, seconds):
    """Runs a test, logs `seconds` of the host's time in the middle of it, and ends the machine. (Path of the log, the hypervisor's base)"""
    image = benchmark.files_disk(directory)
    options.percent = 100000
    command = benchmark.command_of(name, options, directory, image)
    where, log = os.path.join(directory, "monitor"), os.path.join(directory, "instructions")
    command[1:1] = ["--verbose", "--qemu=-monitor", f"--qemu=unix:{where},server,nowait"]
    environment = dict(os.environ, LICHEN_QEMU_PRELOAD=os.path.join(benchmark.BUILD, "tests/bench/virtual-latency.so"))
    said = []
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        reader = threading.Thread(target=lambda: said.extend(process.stderr), daemon=True)
        reader.start()
        try:
            for line in process.stdout:
                if line.startswith(b'{"machine"'):
                    break
            else:
                raise benchmark.Error(f"{name}: the benchmark did not start\n" + b"".join(said[-20:]).decode(errors="replace"))
            monitor = Monitor(where)
            time.sleep(1)  # until polling is as it stays
            if "unknown command" in monitor.command("one-insn-per-tb on"):  # QEMU 8.1
                monitor.command("singlestep on")
            monitor.command(f"logfile {log}")
            monitor.command("log exec,nochain")
            time.sleep(seconds)
            monitor.command("log none")
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
            reader.join(5)
    base = next((int(found[1], 16) for found in map(HYPERVISOR.search, said) if found), None)
    return log, base


def records(path):
    """(CPU, address) of each instruction, in order."""
    with open(path, errors="replace") as file:
        for line in file:
            found = RECORD.match(line)
            if found:
                yield int(found[1]), int(found[2], 16)


class Profile:
    """places: how often each function's instructions were executed, by place. turns: of waiting loops. looks: instructions of each round of
    the channel thread's loop that asked the disk in vain and did nothing else, without turns. waiting: what the module and the kernel
    count as spent waiting."""

    def __init__(self, path, hypervisor, test):
        self.turn = constant("virtio/include/lichen/spin.h", "LICHEN_SPIN_INSTRUCTIONS")
        self.end = constant("driver-domain/module/watch.c", "WAIT_INSTRUCTIONS")
        self.ask = constant("driver-domain/module/watch.c", "REAP_INSTRUCTIONS")
        self.linux = Symbols(os.path.join(benchmark.BUILD, "driver-domain/linux/build/System.map"))
        self.lichen = Program(os.path.join(benchmark.BUILD, "kernel/kernel.elf"))
        self.hyp = Program(os.path.join(benchmark.BUILD, "hyp/hyp.elf"), hypervisor or 0)
        self.module = Program(os.path.join(benchmark.BUILD, "driver-domain/lichen.ko"), section=".text")
        executed = collections.Counter()
        driver = []
        for cpu, pc in records(path):
            executed[cpu != 0, pc] += 1
            if cpu == 0:
                driver.append(pc)
        self.module.find([pc for pc in driver if MODULES <= pc < LINUX])
        self.requests = executed[False, self.module.entry(REQUEST.get(test, "request_end"))]
        if not self.requests:
            raise benchmark.Error(f"{test}: no request ended while instructions were logged")
        self.places = collections.defaultdict(collections.Counter)
        self.turns = 0
        for (frontend, pc), times in executed.items():
            place, program = self.place(frontend, pc)
            self.places[place][program.function(pc) if program else "program"] += times
            if isinstance(program, Program) and program is not self.hyp and program.instruction(pc) == "wfe":
                self.turns += times
        self.waiting = self.turn * self.turns
        self.looks = []
        self._rounds(driver)

    def place(self, frontend, pc):
        domain = "frontend" if frontend else "driver domain"
        if pc < 1 << 39:
            memory = self.hyp.instruction(pc)
            return (f"hypervisor, on the {domain}'s CPU", self.hyp) if memory else (f"{domain}: programs", None)
        if pc >= LINUX:
            return f"{domain}: Linux", self.linux
        if pc >= MODULES:
            return f"{domain}: lichen.ko", self.module
        return f"{domain}: Lichen", self.lichen

    def _rounds(self, driver):
        """The rounds of poller_poll: each ends with a wait for the ring."""
        inside = [(pc + self.module.base, op) for pc, op in self.module.code.items()
                  if self.module.function(pc + self.module.base) == "poller_poll"]
        waits = {pc for pc, op in inside if op == "wfe"}
        ends = {pc for pc, op in inside if op == "clrex"}
        names = {self.module.entry(name): name for name in ("block_reap", "block_serve", "echo_serve", "request_end")}
        last, turns, did = None, 0, set()
        for at, pc in enumerate(driver):
            if pc in waits:
                turns += 1
            elif pc in names:
                did.add(names[pc])
            elif pc in ends:
                if last is not None:
                    vain = "block_reap" in did and "request_end" not in did
                    quiet = not did & {"block_serve", "echo_serve"}
                    self.waiting += self.ask * vain + self.end * quiet
                    if vain and quiet:
                        self.looks.append(at - last - self.turn * turns)
                last, turns, did = at, 0, set()
