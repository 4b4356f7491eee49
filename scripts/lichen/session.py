# SPDX-License-Identifier: MIT
"""The conversation with the guest's init (images/init/init.c) over the machine's serial ports: standard streams or a
terminal, the exit status, the orderly end."""

import errno
import fcntl
import os
import select
import selectors
import signal
import socket
import struct
import sys
import termios
import time
import tty

STATUS_ROOT = 123  # the guest could not start the command: no root disk, say
STATUS_TIMEOUT = 124
STATUS_MACHINE = 125  # the machine ended, or could not be made, without a status
CHUNK = 65536
ESCAPE = b"\x1d"  # Ctrl-]
END_SECONDS = 10  # for the last output and for the power-off
PANIC_SECONDS = 2  # what a dying kernel may still print


def window_size(fd):
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))
    return rows, columns


class Stream:
    """Guest to host bytes, up to the token that marks the end."""

    def __init__(self, fd, token):
        self.fd = fd
        self.token = token
        self.held = b""
        self.ended = False

    def feed(self, data):
        if self.ended:
            return
        data = self.held + data
        end = data.find(self.token)
        if end >= 0:
            self.ended, self.held = True, b""
            data = data[:end]
        else:
            # What may be the token's beginning waits for its rest.
            keep = next((n for n in range(min(len(self.token) - 1, len(data)), 0, -1)
                         if data.endswith(self.token[:n])), 0)
            self.held = data[len(data) - keep:]
            data = data[:len(data) - keep]
        self.write(data)

    def flush(self):
        """The machine is gone: what was held back is no token."""
        self.write(self.held)
        self.held = b""

    def write(self, data):
        while data:
            try:
                data = data[os.write(self.fd, data):]
            except BlockingIOError:
                select.select([], [self.fd], [])


class Session:
    def __init__(self, machine, interactive, token, timeout):
        self.machine = machine
        self.interactive = interactive
        self.deadline = time.monotonic() + timeout if timeout else None
        self.selector = selectors.DefaultSelector()
        token = token.encode()
        if interactive:
            self.streams = {"tty": Stream(1, token)}
        else:
            self.streams = {"stdout": Stream(1, token), "stderr": Stream(2, token)}
        self.input_port = "tty" if interactive else "stdin"
        self.input = b"" if interactive else b"\n"  # the greeting: see init.c
        self.input_ended = False
        self.input_polled = True
        self.escaped = False
        self.control = b""
        self.ready = False
        self.status = None
        self.failure = None
        self.terminal = None
        self.panic_at = None

    # ---- Terminal

    def raw(self):
        self.terminal = termios.tcgetattr(0)
        tty.setraw(0, termios.TCSANOW)

    def cooked(self):
        if self.terminal:
            termios.tcsetattr(0, termios.TCSADRAIN, self.terminal)
            self.terminal = None

    def resized(self, *_):
        try:
            self.send_control("winsize %d %d" % window_size(0))
        except (OSError, KeyError):
            pass

    # ---- Ports

    def send_control(self, line):
        try:
            self.machine.sockets["control"].send(line.encode() + b"\n")
        except OSError:
            pass

    def control_lines(self, data):
        *lines, self.control = (self.control + data).split(b"\n")
        for line in lines:
            verb, _, text = line.decode(errors="replace").strip("\r").partition(" ")
            if verb == "ready":
                self.ready = True
                if self.interactive:
                    self.raw()
                    signal.signal(signal.SIGWINCH, self.resized)
                    self.watch_input()
            elif verb == "status":
                self.status = int(text)
            elif verb == "fail":
                self.failure, self.status = text, STATUS_ROOT

    def watch_input(self):
        """Asks for more input, when there can be any and what was read has been sent."""
        if self.input_ended:
            return
        try:
            self.selector.register(0, selectors.EVENT_READ, "input")
        except KeyError:
            pass
        except (PermissionError, OSError):
            self.input_polled = False  # a regular file, which epoll does not take: always readable

    def read_input(self):
        try:
            data = os.read(0, CHUNK)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EINTR):
                return
            data = b""
        if not data:
            self.input_ended = True
        self.input += self.escape(data) if self.interactive else data
        self.unwatch(0)
        self.watch_output()

    def escape(self, data):
        """Ctrl-] q ends the machine; Ctrl-] twice is one."""
        out = b""
        for byte in (data[i:i + 1] for i in range(len(data))):
            if self.escaped:
                self.escaped = False
                if byte in b"qQ":
                    raise KeyboardInterrupt
                out += ESCAPE if byte == ESCAPE else ESCAPE + byte
            elif byte == ESCAPE:
                self.escaped = True
            else:
                out += byte
        return out

    def unwatch(self, fileobj):
        try:
            self.selector.unregister(fileobj)
        except KeyError:
            pass

    def watch_output(self):
        """Sends what is there; asks for more, or ends the stream, once it is gone."""
        sock = self.machine.sockets[self.input_port]
        try:
            while self.input:
                self.input = self.input[sock.send(self.input[:CHUNK]):]
        except BlockingIOError:
            pass
        except OSError:
            self.input, self.input_ended = b"", True
        self.listen(sock, self.input_port, bool(self.input))
        if self.input:
            return
        if not self.input_ended:
            self.watch_input()
        elif not self.interactive:
            try:
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def listen(self, sock, name, writing):
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
        try:
            self.selector.modify(sock, events, name)
        except KeyError:
            pass  # closed by the machine

    def port_ready(self, name, mask):
        sock = self.machine.sockets[name]
        if mask & selectors.EVENT_WRITE:
            self.watch_output()
        if not mask & selectors.EVENT_READ:
            return
        try:
            data = sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.unwatch(sock)
        elif name == "log":
            self.machine.log.feed(data)
        elif name == "control":
            self.control_lines(data)
        elif name in self.streams:
            self.streams[name].feed(data)
        elif name == "tty" and self.machine.frontend == "guest" and self.machine.whole:
            # Linux as the frontend has its console there.
            self.machine.log.console(data, "guest")

    # ---- The whole of it

    def over(self):
        """Everything that the guest had to say has been heard."""
        return self.status is not None and (self.failure or all(s.ended for s in self.streams.values()))

    def alive(self):
        return any(key.data in ("control", "log") for key in self.selector.get_map().values())

    def pump(self, timeout):
        reading = not self.input_polled and not self.input and not self.input_ended
        if reading:
            self.read_input()
        for key, mask in self.selector.select(0 if reading else timeout):
            if key.data == "input":
                self.read_input()
            else:
                self.port_ready(key.data, mask)
        if self.machine.log.panicked and self.panic_at is None:
            self.panic_at = time.monotonic() + PANIC_SECONDS

    def run(self):
        """Returns (exit status, text of the trouble or None)."""
        for name, sock in self.machine.sockets.items():
            self.selector.register(sock, selectors.EVENT_READ, name)
        if not self.interactive:
            self.watch_output()
        told = None
        while not self.over() and self.alive():
            self.pump(0.5)
            now = time.monotonic()
            if self.status is not None:
                told = told or now
                if now > told + END_SECONDS:
                    return STATUS_MACHINE, "the guest's output did not end"
            if self.deadline and now > self.deadline:
                return STATUS_TIMEOUT, "the machine took longer than --timeout allows"
            if self.panic_at and now > self.panic_at and self.status is None:
                return STATUS_MACHINE, "a kernel panicked"
        for stream in self.streams.values():
            stream.flush()
        if self.status is None:
            return STATUS_MACHINE, "the machine ended without an exit status"
        self.cooked()
        self.send_control("ok")
        end = time.monotonic() + END_SECONDS
        while self.alive() and time.monotonic() < end:
            self.pump(0.1)
        if not self.machine.stop(max(end - time.monotonic(), 0.1)):
            return STATUS_MACHINE, f"the command ended with status {self.status}, but the machine did not power off"
        if self.failure:
            return self.status, self.failure
        return self.status, None

    def close(self):
        self.cooked()
        self.selector.close()
        sys.stdout.flush()
