# SPDX-License-Identifier: MIT
"""A program in a pseudo-terminal, driven by a test: send keys, wait for what must appear, within a deadline."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[()][0-9A-B]|[=>78cDEHM])")


class Mismatch(Exception):
    pass


class Terminal:
    def __init__(self, command, rows=30, columns=100, environment=None, patience=60):
        self.patience = patience
        self.pending = self.raw_pending = ""
        self.transcript = ""
        self.status = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, dict(os.environ, TERM="xterm", **(environment or {})))
        self.resize(rows, columns)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, keys):
        data = keys.encode()
        while data:
            data = data[os.write(self.fd, data):]

    def _read(self, timeout):
        if not select.select([self.fd], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        if not data:
            raise EOFError
        text = data.decode(errors="replace")
        self.transcript += text
        # An escape sequence may come in two reads: what is matched is always cleaned as a whole.
        self.raw_pending += text
        self.pending = ESCAPES.sub("", self.raw_pending).replace("\r", "")
        return True

    def expect(self, pattern, patience=None):
        """Waits until the output since the last match, free of escape sequences and carriage
        returns, matches; returns the match."""
        end = time.monotonic() + (patience or self.patience)
        while True:
            match = re.search(pattern, self.pending, re.MULTILINE | re.DOTALL)
            if match:
                self.pending = self.pending[match.end():]
                self.raw_pending = self.pending
                return match
            left = end - time.monotonic()
            try:
                if left <= 0 or not self._read(left):
                    if time.monotonic() >= end:
                        raise Mismatch(f"no {pattern!r}; instead: {self.pending[-2000:]!r}")
            except EOFError:
                raise Mismatch(f"the program ended before {pattern!r}; instead: {self.pending[-2000:]!r}") from None

    def quiet(self, seconds):
        """Throws away what comes within some time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._read(max(end - time.monotonic(), 0))
        self.pending = self.raw_pending = ""

    def wait(self, patience=30):
        """The exit status, as a shell would say it."""
        end = time.monotonic() + patience
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                return self.status
            if time.monotonic() > end:
                raise Mismatch("the program does not end")
            try:
                self._read(0.1)
            except EOFError:
                time.sleep(0.02)

    def end(self):
        """Ends the program if it still runs."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                if self.status is None:
                    os.kill(self.pid, number)
                    self.wait()
            except Mismatch:
                pass

    def dump(self):
        sys.stdout.write("---- transcript\n" + self.transcript.replace("\r", "") + "\n----\n")
