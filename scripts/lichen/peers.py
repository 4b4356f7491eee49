# SPDX-License-Identifier: MIT
"""What the peers of `make bench-peers` are made of: a Linux, Debian's packages, and initramfs archives of both. Everything lies
under the build directory; what is downloaded, in apt's cache (scripts/debian-source)."""

import glob
import lzma
import os
import shutil
import stat
import subprocess

from . import cpio

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
PROGRAMS = os.path.join(SOURCE, "tests/bench/peers")
# What a Linux with modules needs for any of the four places.
MODULES = ("nvme", "virtio_blk", "xen-blkfront", "xen-blkback", "xen-gntdev", "xen-gntalloc", "xen-evtchn", "xen-privcmd", "xenfs")
KVM_PACKAGES = ("dash", "qemu-system-arm")
XEN_PACKAGES = ("bash", "coreutils", "dash", "gawk", "grep", "mount", "perl-base", "sed", "util-linux", "xen-hypervisor-4.20-arm64",
                "xen-utils-4.20", "xenstore-utils")
# Never used there, and large.
LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/qemu", "usr/share/perl5",
            "usr/share/bug", "usr/share/lintian", "usr/share/zoneinfo", "usr/share/icons", "usr/lib/systemd", "usr/lib/udev",
            "usr/bin/qemu-system-arm", "usr/lib/modules", "usr/share/bash-completion", "usr/lib/aarch64-linux-gnu/perl-base",
            "boot")
MERGED = ("bin", "lib", "sbin")


def closure(packages):
    """The .deb files of arm64 packages and of all that they depend on."""
    done = subprocess.run([os.path.join(SOURCE, "scripts/debian-source"), "closure", "arm64", *packages], check=True,
                          stdout=subprocess.PIPE, text=True)
    return done.stdout.split()


def unpack(debs, directory):
    """Once for each list of files. Maintainer scripts do not run: nothing that is used here needs theirs."""
    stamp = os.path.join(directory, ".debs")
    if os.path.exists(stamp) and open(stamp).read().split() == debs:
        return directory
    shutil.rmtree(directory, ignore_errors=True)
    for name in MERGED:
        os.makedirs(os.path.join(directory, "usr", name))
        os.symlink("usr/" + name, os.path.join(directory, name))
    for deb in debs:
        tar = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
        # Links of a package never replace the merged directories; a file under /lib goes through the link.
        subprocess.run(["tar", "-C", directory, "--keep-directory-symlink", "-x"], stdin=tar.stdout, check=True)
        if tar.wait():
            raise SystemExit(f"peers: {deb} cannot be unpacked")
    with open(stamp, "w") as file:
        file.write("\n".join(debs))
    return directory


class Linux:
    """An arm64 Linux: its Image, and the modules that must be loaded, in order."""

    def __init__(self, name, image, modules):
        self.name, self.image, self.modules = name, image, modules


def stripped_linux():
    """Ours, with what makes it a KVM host and a Xen domain: driver-domain/linux-peers. Built once, some minutes."""
    done = subprocess.run([os.path.join(SOURCE, "driver-domain/linux-peers/build")], check=True, stdout=subprocess.PIPE, text=True)
    return Linux("stripped-peers", os.path.join(done.stdout.strip(), "build/arch/arm64/boot/Image"), [])


def debian_linux(directory):
    """Debian's own kernel package, as it is."""
    debs = [deb for deb in closure(["linux-image-arm64"]) if os.path.basename(deb).startswith("linux-image-6")]
    root = unpack(debs, os.path.join(directory, "linux-debian"))
    base = glob.glob(os.path.join(root, "usr/lib/modules/*/kernel"))[0][:-len("/kernel")]
    subprocess.run(["/sbin/depmod", "-b", root, os.path.basename(base)], check=True)
    depends = {}
    with open(os.path.join(base, "modules.dep")) as file:
        for line in file:
            path, _, needs = line.partition(":")
            depends[os.path.basename(path).partition(".ko")[0].replace("-", "_")] = (path, needs.split())
    order = []
    for name in MODULES:
        path, needs = depends[name.replace("-", "_")]
        # The last of the needed is needed by the others.
        order += [item for item in reversed(needs) if item not in order] + ([path] if path not in order else [])
    return Linux("debian", glob.glob(os.path.join(root, "boot/vmlinuz-*"))[0], [os.path.join(base, item) for item in order])


def add_tree(archive, root):
    """All of a directory but LEFT_OUT."""
    left_out = {os.path.join(root, name) for name in LEFT_OUT}
    for directory, names, files in os.walk(root):
        for name in sorted(names + files):
            path = os.path.join(directory, name)
            inside = os.path.relpath(path, root)
            mode = os.lstat(path).st_mode
            if path in left_out:
                continue
            if stat.S_ISLNK(mode):
                archive.symlink(inside, os.readlink(path))
            elif stat.S_ISREG(mode):
                archive.add_file(inside, path, mode & 0o777)
            elif stat.S_ISDIR(mode):
                archive.directory(inside)
        names[:] = [name for name in names if os.path.join(directory, name) not in left_out]


def initramfs(path, linux, build, trees=(), files=()):
    """An archive that starts tests/bench/peers/init.c and holds the benchmark, the modules of `linux`, and what is given:
    directory trees, and pairs of a name and a host file."""
    archive = cpio.Archive(path)
    archive.directory("dev")
    archive.character_device("dev/console", 5, 1)
    for tree in trees:
        add_tree(archive, tree)
    archive.add_file("init", os.path.join(build, "tests/bench/peers-init"), 0o755)
    archive.add_file("latency", os.path.join(build, "tests/bench/latency"), 0o755)
    for index, module in enumerate(linux.modules):
        with open(module, "rb") as file:
            data = file.read()
        name = os.path.basename(module)
        if name.endswith(".xz"):
            data, name = lzma.decompress(data), name[:-len(".xz")]
        archive.add(f"modules/{index:02}-{name}", data)
    for name, source in files:
        archive.add_file(name, source, 0o755)
    archive.close()
    return path
