# SPDX-License-Identifier: MIT
"""One machine under QEMU: what it is made of (kernels, archives, disk, serial ports), its process, and the logs of its
domains. Knows nothing of the terminal or of the user's streams."""

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile

from . import cpio

ROOT_START = 1048576  # where images/build puts the partition
PORTS = {"tty": 1, "stdin": 2, "stdout": 3, "stderr": 4, "control": 5}
PANIC = re.compile(rb"(^|[]:] )\W*(panic\b|kernel panic)", re.IGNORECASE)


class Error(Exception):
    """The machine cannot be made or started; the text is for the user."""


def need(path, what):
    if not os.path.exists(path):
        raise Error(f"{what} is missing ({path}): run make")
    return path


class Log:
    """The PL011's output. Under the hypervisor each line names its domain; alone, the one kernel owns it."""

    def __init__(self, names):
        self.alone = names[0] if len(names) == 1 else None
        self.lines = {name: [] for name in names}
        self.partial = self.console_partial = b""
        self.panicked = False
        self.listener = None

    def feed(self, data):
        *lines, self.partial = (self.partial + data).split(b"\n")
        for line in lines:
            self._line(line.rstrip(b"\r"))

    def console(self, data, name):
        """Output of a kernel that has its console elsewhere: lines of the domain `name`."""
        *lines, self.console_partial = (self.console_partial + data).split(b"\n")
        for line in lines:
            self._line(name.encode() + b": " + line.rstrip(b"\r"))

    def _line(self, line):
        name, separator, text = line.partition(b": ")
        name = name.decode(errors="replace")
        if self.alone:
            name, text = self.alone, line
        elif not separator or name not in self.lines:
            name, text = "hyp", line
        self.lines[name].append(text)
        if PANIC.search(text):
            self.panicked = True
        if self.listener:
            self.listener(name, text)

    def close(self):
        if self.partial:
            self._line(self.partial)
            self.partial = b""

    def save(self, directory):
        os.makedirs(directory, exist_ok=True)
        for name, lines in self.lines.items():
            with open(os.path.join(directory, name + ".log"), "wb") as file:
                file.write(b"".join(line + b"\n" for line in lines))

    def tail(self, count):
        text = b""
        for name, lines in self.lines.items():
            text += b"--- the last lines of %s (%d in all)\n" % (name.encode(), len(lines))
            text += b"".join(b"%s: %s\n" % (name.encode(), line) for line in lines[-count:])
        return text


class Machine:
    """options: see scripts/run. description: the items of /lichen/run, without the root device."""

    def __init__(self, options, description):
        self.options = options
        self.bare = options.guest == "linux-bare"
        self.whole = not options.direct and not self.bare
        self.process = None
        self.sockets = {}
        self.frontend = "lichen" if options.guest == "lichen" else "guest"
        if self.whole:
            names = ["hyp", "linux", self.frontend]
        else:
            names = ["linux" if self.bare else "lichen"]
        self.log = Log(names)
        self.directory = tempfile.mkdtemp(prefix="lichen-", dir="/tmp")
        try:
            self._initrd(description)
            self._disk()
            if self.whole:
                self._payload()
            self.command = self._command()
        except BaseException:
            self.remove()
            raise

    def path(self, name):
        return os.path.join(self.directory, name)

    def built(self, name):
        return os.path.join(self.options.build, name)

    # ---- What it is made of

    def _initrd(self, description):
        root = "/dev/nvme0n1p1" if self.bare else "/dev/vda1"
        items = [f"root={root}"] + description
        archive = cpio.Archive(self.path("guest.initrd"))
        for directory in ("dev", "proc", "sys", "run", "tmp", "root-fs", "lichen/put"):
            archive.directory(directory)
        archive.character_device("dev/console", 5, 1)
        archive.add_file("init", need(self.built("images/init"), "the guest's init"), 0o755)
        for index, (source, target) in enumerate(self.options.put):
            try:
                archive.add_file(f"lichen/put/{index}", source)
                items.append(f"put={os.stat(source).st_mode & 0o7777:o}:{target}")
            except OSError as error:
                raise Error(f"--put: {source}: {error.strerror}") from None
        archive.add("lichen/run", b"".join(os.fsencode(item) + b"\0" for item in items))
        archive.close()

    def _disk(self):
        """The disk's file and form. A new --disk is a full copy, so that it outlives the cache."""
        base = need(self.built("images/disk.img"), "the disk image")
        given = self.options.disk
        if given is None:
            self.disk, self.disk_format = self.path("disk.qcow2"), "qcow2"
            self._qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", os.path.realpath(base), self.disk)
            return
        if not os.path.exists(given):
            # To a name of its own first: a copy that was cut short is never taken for a disk.
            self._qemu_img("convert", "-f", "raw", "-O", "raw", base, given + ".new")
            os.rename(given + ".new", given)
        with open(given, "rb") as file:
            self.disk_format = "qcow2" if file.read(4) == b"QFI\xfb" else "raw"
        self.disk = given

    def _qemu_img(self, *arguments):
        done = subprocess.run(("qemu-img",) + arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if done.returncode:
            raise Error(f"qemu-img: {done.stderr.decode(errors='replace').strip()}")

    def _patience(self):
        """Under -icount an idle machine's clock jumps: 30 s, the driver's patience, can pass while the host reads one block."""
        return ["nvme_core.io_timeout=1000000", "nvme_core.admin_timeout=1000000"] if self.options.icount else []

    def _driver_memory(self):
        """In MiB: what it needs, and a 64th of all: Linux keeps 64 bytes about each page that is shared with it."""
        size = re.fullmatch(r"(\d+)([kKmMgGtT]?)[bB]?", self.options.mem)
        if not size:
            return 192
        return 192 + (int(size[1]) << {"k": 0, "m": 10, "g": 20, "t": 30}[size[2].lower() or "m"]) // (64 << 10)

    def _domains(self):
        options = self.options
        if self.frontend == "lichen":
            # The I/O pool is all that both sides see.
            pool, memory = "pool 40%", "memory rest"
            how = f"signal {'spi' if options.gic == 2 else 'sgi'}"
            first = "lichen"
        else:
            # Linux as the frontend knows standard virtio-mmio only.
            pool, memory = "", "memory rest\n  share-memory"
            how = "signal spi"
            first = "rdinit=/init console=hvc0" if options.command else "rdinit=/init"
        if options.trace:
            pool += f"\ntrace {max(4, 1 << (256 // options.cpus).bit_length() - 1)}K"
        return f"""{pool}
domain linux
  role driver
  cpus 0
  memory {self._driver_memory()}M
  kernel linux.Image
  initrd linux.initrd
  cmdline {' '.join(['rdinit=/init', 'nvme.poll_queues=1'] + self._patience() + options.linux_append)}

domain {self.frontend}
  cpus 1-
  {memory}
  kernel guest.Image
  initrd guest.initrd
  cmdline {' '.join([first] + options.append)}
  {how}
  start when-ready
"""

    def _payload(self):
        options = self.options
        archive = cpio.Archive(self.path("payload"))
        if options.domains:
            archive.add_file("domains.conf", need(options.domains, "the domain configuration"))
        else:
            archive.add("domains.conf", self._domains().encode())
        archive.add_file("linux.Image", need(self.built("driver-domain/linux.Image"), "the driver domain's Linux"))
        with open(need(self.built("driver-domain/linux.initrd"), "the driver domain's initramfs"), "rb") as file:
            linux_initrd = file.read()
        config = self._device_config()
        if config is not None or options.linux_put:
            # A later archive's members replace an earlier one's.
            extra = cpio.Archive(self.path("extra"))
            if config is not None:
                extra.add("etc/lichen.conf", config)
            for source, target in options.linux_put:
                extra.add_file(target, need(source, "a file for the driver domain"), 0o755)
            extra.close()
            with open(self.path("extra"), "rb") as file:
                linux_initrd += bytes(-len(linux_initrd) % 4) + file.read()
        archive.add("linux.initrd", linux_initrd)
        if self.frontend == "lichen":
            archive.add_file("guest.Image", need(self.built("kernel/kernel.img"), "Lichen's kernel"))
        else:
            archive.add_file("guest.Image", self.built("driver-domain/linux.Image"))
        archive.add_file("guest.initrd", self.path("guest.initrd"))
        archive.close()

    def _device_config(self):
        """What replaces the driver domain's /etc/lichen.conf, or None for its own."""
        options = self.options
        if not options.devices and not options.no_disk and not options.trace:
            return None
        path = options.devices or os.path.join(options.source, "driver-domain/lichen.conf")
        with open(need(path, "the device configuration"), "rb") as file:
            lines = file.read().splitlines(keepends=True)
        if options.no_disk and not options.devices:
            lines = [line for line in lines if line.split()[:1] != [b"blk"]]
        if options.trace:
            lines = [line.replace(b"port5=", b"port6=/dev/vport0p6 port5=") for line in lines]
        return b"".join(lines)

    def _command(self):
        options = self.options
        machine = f"virt,gic-version={options.gic}"
        if self.whole:
            machine += ",virtualization=on"
        command = ["qemu-system-aarch64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
        command += ["-machine", machine, "-m", options.mem, "-smp", str(options.cpus)]
        command += ["-accel", options.accel, "-cpu", "host" if options.accel in ("kvm", "hvf") else "cortex-a72"]
        if options.icount:
            command += ["-icount", "shift=0,sleep=off"]
        if self.whole:
            command += ["-kernel", need(self.built("hyp/hyp.img"), "the hypervisor"), "-initrd", self.path("payload")]
        elif self.bare:
            command += ["-kernel", need(self.built("driver-domain/linux.Image"), "the driver domain's Linux")]
            command += ["-initrd", self.path("guest.initrd")]
            command += ["-append", " ".join(["rdinit=/init", "console=ttyAMA0"] + self._patience() + options.append)]
        else:
            command += ["-kernel", need(self.built("kernel/kernel.img"), "Lichen's kernel")]
            command += ["-initrd", self.path("guest.initrd"), "-append", " ".join(["lichen"] + options.append)]

        command += ["-chardev", f"socket,id=log,path={self.path('log')}", "-serial", "chardev:log"]
        command += ["-global", "virtio-mmio.force-legacy=false", "-device", "virtio-serial-device,max_ports=8"]
        for name, number in PORTS.items():
            command += ["-chardev", f"socket,id={name},path={self.path(name)}"]
            if name == "tty" and not self.whole:
                command += ["-device", "virtconsole,nr=0,chardev=tty"]
            else:
                command += ["-device", f"virtserialport,nr={number},chardev={name},name=lichen.{name}"]
        if options.trace:
            command += ["-chardev", f"file,id=trace,path={options.trace.replace(',', ',,')}"]
            command += ["-device", "virtserialport,nr=6,chardev=trace,name=lichen.trace"]
        if options.direct and not self.bare:
            command += ["-device", "virtio-rng-device"]
        if not (options.no_disk and not self.whole):
            drive = f"if=none,id=root,format={self.disk_format},file={self.disk.replace(',', ',,')},discard=unmap"
            command += ["-drive", drive]
            if options.direct and not self.bare:
                # The lowest address is found first: the root disk is vda whatever else there is.
                command += ["-device", "virtio-blk-device,drive=root,serial=lichen,bus=virtio-mmio-bus.0"]
            else:
                command += ["-device", "nvme,drive=root,serial=lichen"]
        if options.gdb:
            command += ["-s", "-S"]
        return command + options.qemu

    # ---- Its life

    def start(self):
        """Starts QEMU. self.sockets: the ports and the log, connected."""
        listeners = {}
        for name in list(PORTS) + ["log"]:
            listeners[name] = socket.socket(socket.AF_UNIX)
            listeners[name].bind(self.path(name))
            listeners[name].listen(1)
        libc = ctypes.CDLL(None)
        parent = os.getpid()

        def die_with_parent():
            libc.prctl(1, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            # Ctrl-C is for scripts/run, which then ends the machine in order.
            os.setpgid(0, 0)

        if not shutil.which(self.command[0]):
            raise Error(f"{self.command[0]} is missing: run scripts/deps")
        environment = dict(os.environ)
        if "LICHEN_QEMU_PRELOAD" in environment:  # scripts/bench: tests/bench/virtual-latency.c
            environment["LD_PRELOAD"] = environment["LICHEN_QEMU_PRELOAD"]
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=open(self.path("qemu"), "wb"), env=environment,
                                        preexec_fn=die_with_parent)
        for name, listener in listeners.items():
            listener.settimeout(0.2)
            while name not in self.sockets:
                try:
                    self.sockets[name] = listener.accept()[0]
                except socket.timeout:
                    if self.process.poll() is not None:
                        raise Error(f"QEMU did not start\n{self.complaint()}") from None
            listener.close()
            self.sockets[name].setblocking(False)

    def complaint(self):
        """What QEMU itself wrote to its standard error."""
        try:
            with open(self.path("qemu"), "rb") as file:
                return file.read().decode(errors="replace").strip()
        except OSError:
            return ""

    def stop(self, patience=0.0):
        """Waits until QEMU has ended, at most `patience` seconds; then kills it. True if it ended by itself."""
        if not self.process:
            return True
        try:
            self.process.wait(max(patience, 0.001))
            return True
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return False

    def fsck(self):
        """The real e2fsck on the root file system, changing nothing. None if clean, else its report."""
        image = self.disk
        if self.disk_format != "raw":
            image = self.path("fsck.img")
            self._qemu_img("convert", "-O", "raw", self.disk, image)
        environment = dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        done = subprocess.run(["e2fsck", "-fn", f"{image}?offset={ROOT_START}"], env=environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.stdout.decode(errors="replace") if done.returncode else None

    def remove(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
