"""What the virtual machine starts from: Debian's kernel, a first file system that mounts the disk, and the disk.

Root only, as mmdebstrap is. The disk holds Debian alone; the package, the repository and the rig's Python reach the
machine over shares, so that a disk made once serves until this file or Debian's release changes.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import debian_root

HERE = Path(__file__).resolve().parent
PACKAGES = ("systemd-sysv", "udev", "iproute2", "kmod", "busybox-static")
DRIVERS = ("virtio_pci", "virtio_blk", "ext4")
"""What the kernel needs to see its disk, in this order."""
MODULES = (
    "kernel/net/can", "kernel/drivers/net/can/vcan.ko", "kernel/drivers/net/can/dev", "kernel/net/9p", "kernel/fs/9p",
    "kernel/fs/netfs", "kernel/fs/fscache", "kernel/fs/ext4", "kernel/fs/jbd2", "kernel/fs/mbcache.ko", "kernel/fs/autofs", "kernel/fs/binfmt_misc.ko",
    "kernel/drivers/virtio", "kernel/drivers/block/virtio_blk.ko", "kernel/lib", "kernel/crypto", "kernel/arch/x86/crypto",
)  # fmt: skip
NOT_STARTED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "getty@tty1.service",
    "serial-getty@ttyS0.service", "systemd-networkd-wait-online.service", "e2scrub_reap.service",
)  # fmt: skip
"""What a machine of a quarter of an hour has no use for."""
SIZE_MB = 1600
"""Of the disk, sparse."""
SHARES = {"repo": "ro,cache=loose", "site": "ro,cache=loose", "out": "rw"}
"""9p shares, under /srv: the checkout, the rig's Python packages, and where results go."""
INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
while read -r module; do $b insmod "$module"; done < /order
until [ -b /dev/vda ]; do $b sleep 0.1; done
$b mount -t ext4 /dev/vda /root
$b umount /proc
$b mount -o move /dev /root/dev
exec $b switch_root /root /sbin/init
"""
UNIT = """[Unit]
Description=the checks of this machine
After=multi-user.target
RequiresMountsFor=/srv/repo /srv/site /srv/out
[Service]
Type=simple
Environment=PYTHONPATH=/srv/repo:/usr/lib/edgebms PYTHONDONTWRITEBYTECODE=1
ExecStart=/usr/bin/python3 /srv/repo/tests/vm/guest.py /srv/out
ExecStopPost=/bin/systemctl poweroff --force
StandardOutput=journal+console
StandardError=journal+console
TimeoutStopSec=20
[Install]
WantedBy=multi-user.target
"""
NETWORK = {
    "80-vcan0.netdev": "[NetDev]\nName=vcan0\nKind=vcan\nMTUBytes=72\n",
    "80-vcan0.network": "[Match]\nName=vcan0\n[Link]\nRequiredForOnline=no\n",
}
"""As docs/test-engineer.md has it: a virtual bus that takes classic and FD frames."""


@dataclass(frozen=True)
class Image:
    """kernel_version: Debian's package and its version."""

    kernel: Path
    initrd: Path
    disk: Path
    kernel_version: str


def image(cache: Path, package: Future[Path], installed: bool) -> Image:
    """Made from Debian's archive, or from what ``cache`` holds of it. installed: ``package`` is on the disk already; else
    ``package`` is not waited for. Raises pytest's skip or failure where a tool or the archive is missing."""
    key = hashlib.sha256(Path(__file__).read_bytes() + debian_root.RELEASE.encode()).hexdigest()[:12]
    folder = cache / key
    disk = cache / "disk" if installed else folder / "disk"
    if not (folder / "version").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="edgebms-vm-") as name:
        root = Path(name) / "root"
        if not (folder / "version").exists():
            make(root, folder)
        elif installed or not disk.exists():
            root.mkdir()
            subprocess.run(["tar", "-xf", folder / "root.tar", "-C", root], check=True, timeout=120)
        if installed:
            install(root, package.result())
        if installed or not disk.exists():
            fill(disk, root)
    return Image(folder / "vmlinuz", folder / "initrd", disk, (folder / "version").read_text())


def make(root: Path, folder: Path) -> None:
    debian_root.need("mke2fs", "e2fsprogs")
    process = debian_root.debootstrap(root, *PACKAGES)
    try:
        debian_root.bootstrapped(process)
    except BaseException:  # it unmounts what it mounted
        process.terminate()
        process.wait()
        raise
    version = kernel(root, folder / "vmlinuz")
    initrd(root, folder / "initrd")
    configure(root)
    subprocess.run(["tar", "-cf", folder / "root.tar", "-C", root, "."], check=True, timeout=120)
    (folder / "version").write_text(version)


def fill(disk: Path, root: Path) -> None:
    """An ext4 file system with what is in ``root``."""
    part = disk.with_suffix(".part")
    with part.open("wb") as file:
        file.truncate(SIZE_MB << 20)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", root, part], check=True, timeout=120)
    part.rename(disk)


def install(root: Path, package: Path) -> None:
    """By dpkg, before the machine starts."""
    shutil.copyfile(package, root / "tmp/edgebms.deb")
    subprocess.run(["chroot", root, "dpkg", "-i", "/tmp/edgebms.deb"], check=True, timeout=120, capture_output=True)
    (root / "tmp/edgebms.deb").unlink()


def kernel(root: Path, to: Path) -> str:
    """Debian's kernel of this release into ``to``, the modules wanted into ``root``; the package's version."""
    fetch = (
        "apt-get -qq update && name=$(apt-cache depends linux-image-amd64 | sed -n 's/ *Depends: //p' | head -1)"
        " && cd /root && apt-get -qq download $name"
    )
    subprocess.run(["chroot", root, "sh", "-c", fetch], check=True, timeout=120, capture_output=True)
    (package,) = (root / "root").glob("linux-image-*.deb")
    wanted = ["./boot/vmlinuz-*", "./lib/modules/*/modules.*", *(f"./lib/modules/*/{name}*" for name in MODULES)]
    out = root / "root/kernel"
    out.mkdir()
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as archive:
        subprocess.run(["tar", "-x", "-C", out, "--wildcards", *wanted], stdin=archive.stdout, check=True, timeout=120)
    (found,) = (out / "boot").glob("vmlinuz-*")
    shutil.copyfile(found, to)
    release = found.name.removeprefix("vmlinuz-")
    (root / "usr/lib/modules").mkdir(exist_ok=True)
    (out / "lib/modules" / release).rename(root / "usr/lib/modules" / release)
    subprocess.run(["chroot", root, "depmod", release], check=True, timeout=60)
    version = subprocess.run(["dpkg-deb", "-f", package, "Package", "Version"], capture_output=True, text=True, check=True).stdout
    shutil.rmtree(out)
    package.unlink()
    return " ".join(line.partition(": ")[2] for line in version.splitlines())


def initrd(root: Path, to: Path) -> None:
    """busybox, the drivers of the disk, and a script."""
    (release,) = (path.name for path in (root / "usr/lib/modules").iterdir())
    needed: list[str] = []
    for driver in DRIVERS:
        command = ["chroot", root, "modprobe", "-S", release, "--show-depends", driver]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        needed += [line.split()[1] for line in said.splitlines() if line.startswith("insmod")]
    with tempfile.TemporaryDirectory() as name:
        first = Path(name)
        for folder in ("bin", "dev", "proc", "root"):
            (first / folder).mkdir()
        busybox = next(path for path in (root / "bin/busybox", root / "usr/bin/busybox") if path.exists())
        shutil.copy2(busybox, first / "bin/busybox")
        order = list(dict.fromkeys(needed))
        for module in order:
            shutil.copy2(root / module.lstrip("/"), first / Path(module).name)
        (first / "order").write_text("".join(f"/{Path(module).name}\n" for module in order))
        (first / "init").write_text(INIT)
        (first / "init").chmod(0o755)
        shutil.copytree(first, root / "first", dirs_exist_ok=True)
    with to.open("wb") as out:
        subprocess.run(
            ["chroot", root, "sh", "-c", "cd /first && find . | /bin/busybox cpio -o -H newc"],
            stdout=out, stderr=subprocess.DEVNULL, check=True, timeout=60,
        )  # fmt: skip
    shutil.rmtree(root / "first")


def configure(root: Path) -> None:
    (root / "etc/hostname").write_text("gateway\n")
    lines = [f"{name} /srv/{name} 9p trans=virtio,version=9p2000.L,msize=262144,{how} 0 0" for name, how in SHARES.items()]
    (root / "etc/fstab").write_text("\n".join(lines) + "\n")
    for name in SHARES:
        (root / "srv" / name).mkdir()
    for name, text in NETWORK.items():
        (root / "etc/systemd/network" / name).write_text(text)
    (root / "etc/systemd/system/vm-checks.service").write_text(UNIT)
    (root / "etc/modules-load.d/can.conf").write_text("can-raw\nvcan\n")
    # SIGABRT's cores of a hung daemon are not looked at; the buffer is the one of docs/integrator.md
    (root / "etc/sysctl.d/edgebms.conf").write_text("net.core.rmem_max = 4194304\nkernel.core_pattern = |/bin/false\n")
    subprocess.run(
        ["chroot", root, "systemctl", "-q", "enable", "vm-checks.service", "systemd-networkd.service"],
        check=True, timeout=60, capture_output=True,
    )  # fmt: skip
    for name in NOT_STARTED:
        away = root / "etc/systemd/system" / name
        away.unlink(missing_ok=True)
        away.symlink_to("/dev/null")
