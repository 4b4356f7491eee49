# SPDX-License-Identifier: MIT
"""One boot of a system with the benchmark's program in it, and what it printed. SYSTEMS is the table to extend; the tests are
the table in tests/bench/latency.c."""

import json
import os
import subprocess

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BUILD = os.path.join(SOURCE, "build")
TIMEOUT = 900

# name -> options of scripts/run, QEMU's device for the benchmark's two disks, how the guest calls them
SYSTEMS = {
    "linux": (["--guest", "linux-bare", "--cpus", "1"], "nvme", ("/dev/nvme1n1", "/dev/nvme2n1")),
    "lichen-direct": (["--direct", "--cpus", "1"], "virtio-blk-device,bus=virtio-mmio-bus.{}", ("/dev/vdb", "/dev/vdc")),
    "lichen": (["--cpus", "2"], "nvme", ("/dev/vdb", "/dev/vdc")),
    "linux-frontend": (["--guest", "linux", "--cpus", "2"], "nvme", ("/dev/vdb", "/dev/vdc")),
}
DEFAULT = ("linux", "linux-frontend", "lichen-direct", "lichen")

# The second disk, for buffered I/O: an ext4 file system with the features of the root's (images/build).
FILES_MIB = 640
FILES_FEATURES = ("none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,"
                  "huge_file,dir_nlink,extra_isize,metadata_csum")

# How a figure of several boots becomes one. The others (names, units) are the same in all.
MEANS = ("p50", "p99", "p999", "p9999", "mean", "total", "instructions", "cycles", "el2_entries",
         "spin", "interrupts", "doorbells", "device_interrupts")

# What Linux is compared by where it has no such test.
LIKE = {"read4k-hot": "read4k-qd1", "read4k-cold": "read4k-qd1"}


def path_of(result, figure="instructions"):
    """What a request costs on its own path: instructions without those spent waiting in a loop for the other side."""
    value = result.get(figure)
    return value - (result.get("spin") or 0) if value is not None and figure == "instructions" else value


def ratio_to_linux(result, by_name, figure="instructions"):
    """by_name: {(system, test): result}. None if either was not measured."""
    linux = by_name.get(("linux", result["test"])) or by_name.get(("linux", LIKE.get(result["test"])))
    ours, theirs = path_of(result, figure), linux and linux.get(figure)
    return ours / theirs if ours and theirs else None


class Error(Exception):
    """The text is for the user."""


def devices_file(directory, disks=2, poll=None):
    """The driver domain's own configuration, with the benchmark's disks as further block devices like its first, or polled as said."""
    with open(os.path.join(SOURCE, "driver-domain/lichen.conf")) as file:
        lines = file.read().splitlines()
    index = max(i for i, line in enumerate(lines) if line.split()[:1] == ["blk"])
    like = lines[index] + (f" poll={poll}" if poll else "")
    lines[index + 1:index + 1] = [like.replace("/dev/nvme0n1", f"/dev/nvme{i}n1") for i in range(1, disks + 1)]
    path = os.path.join(directory, "lichen.conf")
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")
    return path


def tools():
    """mke2fs and e2fsck live where a user's PATH does not look."""
    return dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin", E2FSPROGS_FAKE_TIME="1767225600")


def files_disk(directory):
    """An empty ext4 file system for one boot, always the same."""
    path = os.path.join(directory, "files.img")
    with open(path, "wb") as file:
        file.truncate(FILES_MIB << 20)
    uuid = "6c696368-656e-4000-8000-000000000003"
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-O", FILES_FEATURES, "-U", uuid,
                    "-E", f"lazy_itable_init=0,lazy_journal_init=0,hash_seed={uuid}", path], check=True, env=tools())
    return path


def check_files(name, path):
    """The real e2fsck has nothing to say after the run."""
    done = subprocess.run(["e2fsck", "-fn", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=tools(), text=True)
    if done.returncode:
        raise Error(f"{name}: the file system is damaged after the run\n{done.stdout}")


def command_of(name, options, directory, image):
    run, device, (raw, files) = SYSTEMS[name]
    command = [os.path.join(SOURCE, "scripts/run"), "--gic", options.gic, "--timeout", str(TIMEOUT), "--accel", options.accel]
    command += ["--icount"] if options.icount else []
    for argument in ("-drive", "if=none,id=bench,driver=null-co,size=1G,read-zeroes=on",
                     "-device", f"{device.format(1)},drive=bench,serial=bench",
                     "-drive", f"if=none,id=files,format=raw,cache=unsafe,file={image.replace(',', ',,')}",
                     "-device", f"{device.format(2)},drive=files,serial=files"):
        command += ["--qemu=" + argument]
    command += run
    command += ["--build", options.build] if getattr(options, "build", None) else []
    command += ["--trace", options.trace] if getattr(options, "trace", None) else []
    if device == "nvme" and "linux-bare" not in run:
        command += ["--devices", devices_file(directory, poll=getattr(options, "poll", None))]
    command += ["--put", os.path.join(BUILD, "tests/bench/latency") + ":/root/latency"]
    if name.startswith("linux"):
        for module in ("pmu.ko", "frontend.ko"):
            command += ["--put", f"{os.path.join(BUILD, 'driver-domain', module)}:/root/{module}"]
    command += ["--", "/root/latency", "-n", str(options.percent), "-d", raw, "-f", files]
    # Without -icount each CPU counts for itself.
    command += [] if options.icount else ["-a"]
    return command + options.tests


def measure(name, options, directory):
    """One boot: (what the system says of its machine, the program's results as dictionaries)."""
    image = files_disk(directory)
    command = command_of(name, options, directory, image)
    environment = dict(os.environ)
    if options.icount:
        environment["LICHEN_QEMU_PRELOAD"] = os.path.join(BUILD, "tests/bench/virtual-latency.so")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment, text=True)
    if done.returncode:
        raise Error(f"{name}: the run ended with status {done.returncode}\n{done.stdout}")
    check_files(name, image)
    return parse(done.stdout)


def parse(text):
    machine, results = {}, []
    for line in text.splitlines():
        if line.startswith("{"):
            item = json.loads(line)
            if "machine" in item:
                machine = item["machine"]
            else:
                results.append(item)
    return machine, results


def mean_of(values):
    values = [value for value in values if value is not None]
    return sum(values) / len(values) if values else None


def sum_histograms(histograms):
    buckets = {}
    for low, high, count in (bucket for histogram in histograms for bucket in histogram):
        buckets[low, high] = buckets.get((low, high), 0) + count
    return [[low, high, count] for (low, high), count in sorted(buckets.items())]


def combine(name, runs):
    """Results of several boots of one system as one list: means, the largest maximum, all samples' histogram."""
    results = []
    for index, first in enumerate(runs[0]):
        same = [run[index] for run in runs]
        result = {"system": name, "test": first["test"], "unit": first["unit"]}
        for figure in MEANS:
            result[figure] = mean_of([r.get(figure) for r in same])
        result["max"] = max([r["max"] for r in same if r.get("max") is not None], default=None)
        causes = {cause for r in same for cause in r.get("el2") or {}}
        result["el2"] = {cause: mean_of([(r.get("el2") or {}).get(cause, 0) for r in same]) for cause in sorted(causes)}
        result["n"] = sum(r["n"] for r in same)
        result["histogram"] = sum_histograms([r.get("histogram") or [] for r in same])
        results.append(result)
    return results
