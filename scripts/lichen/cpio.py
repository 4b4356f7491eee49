# SPDX-License-Identifier: MIT
"""Writes cpio archives of the "newc" form (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst):
initramfs archives and the hypervisor's payload. Owner root, fixed times: equal members, equal bytes. No privilege
is needed, device nodes included."""

import stat


class Archive:
    def __init__(self, path):
        self.file = open(path, "wb")
        self.inode = 0
        self.directories = set()

    def _member(self, name, mode, data=b"", device=(0, 0)):
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, device[0], device[1], len(encoded), 0)
        self._write(b"070701" + b"".join(b"%08X" % field for field in fields) + encoded)
        self._write(data)

    def _write(self, data):
        self.file.write(data)
        self.file.write(bytes(-self.file.tell() % 4))

    def directory(self, name, mode=0o755):
        """A directory and, before it, those above it. What exists is not repeated."""
        name = name.strip("/")
        if not name or name in self.directories:
            return
        self.directory(name.rpartition("/")[0])
        self.directories.add(name)
        self._member(name, stat.S_IFDIR | mode)

    def add(self, name, data, mode=0o644):
        name = name.strip("/")
        self.directory(name.rpartition("/")[0])
        self._member(name, stat.S_IFREG | mode, data)

    def add_file(self, name, path, mode=0o644):
        with open(path, "rb") as file:
            self.add(name, file.read(), mode)

    def symlink(self, name, target):
        self.directory(name.strip("/").rpartition("/")[0])
        self._member(name.strip("/"), stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name, major, minor, mode=0o600):
        self.directory(name.rpartition("/")[0])
        self._member(name.strip("/"), stat.S_IFCHR | mode, device=(major, minor))

    def close(self):
        self._member("TRAILER!!!", 0)
        self._write(bytes(-self.file.tell() % 512))
        self.file.close()
