"""A disk of its own for each node: an ext4 file system in a file, which can be full and whose power can be cut."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from tests.fixtures.waiting import until
from tests.namespaces.network import run

MIB = 1 << 20
EXT4_IOC_SHUTDOWN = 0x8004587D
NOTHING_MORE = 2
"""Not even the journal: what was not synced is lost."""
BALLAST = "ballast"


def why_not() -> str | None:
    """Why there can be no such disk here; None if there can."""
    missing = [name for name in ("mkfs.ext4", "mount", "umount") if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} (packages e2fsprogs, mount) are needed"
    folder = Path(tempfile.mkdtemp())
    try:
        disk = Disk(folder / "image", folder / "place", 8)
        try:
            disk.cut_power()
            disk.restore_power()
        finally:
            disk.close()
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip()
        return f"file systems on loop devices, or their shutdown, are not permitted here: {said}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return None


class Disk:
    """Mounted at ``place``, which is made; empty."""

    def __init__(self, image: Path, place: Path, size_mib: int = 768) -> None:
        self._image, self.place = image, place
        with open(image, "wb") as file:
            file.truncate(size_mib * MIB)
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0", str(image))
        place.mkdir()
        self._mount()
        (place / "lost+found").rmdir()

    def _mount(self) -> None:
        # What is synced is on the disk: nobody writes behind the file system's back later on.
        run("mount", "-o", "loop,commit=600", str(self._image), str(self.place))

    def _unmount(self) -> None:
        """As soon as nobody has a file open there."""
        until(lambda: not subprocess.run(["umount", str(self.place)], capture_output=True, check=False).returncode)

    def cut_power(self) -> None:
        """From now on nothing is written and nothing that was not synced before will be there; whoever tries gets
        an error."""
        place = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(place, EXT4_IOC_SHUTDOWN, struct.pack("I", NOTHING_MORE))
        finally:
            os.close(place)

    def restore_power(self) -> None:
        """Nobody has a file open there any more. What was synced is there."""
        self._unmount()
        self._mount()

    def fill(self, leave_bytes: int = 0) -> None:
        """To the last byte, or but for so many."""
        found = os.statvfs(self.place)
        room = found.f_bavail * found.f_frsize - leave_bytes
        with open(self.place / BALLAST, "wb", buffering=0) as file:
            for piece in (MIB, 4096, 1):
                while room >= piece:
                    try:
                        os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), piece)
                    except OSError:
                        break
                    room -= piece

    def free(self) -> None:
        (self.place / BALLAST).unlink(missing_ok=True)

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.place)], capture_output=True, timeout=60, check=False)
        self._image.unlink(missing_ok=True)
