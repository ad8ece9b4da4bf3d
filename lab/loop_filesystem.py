"""A small real filesystem in a file, on a loop device: it can be filled to the last byte or inode. Needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.folders import temporary_folder


class LoopFilesystem:
    """Made and mounted on entering, unmounted and removed on leaving.

    Args:
        size: bytes of the image.
        inodes: how many files it can hold; None: the default of mkfs.
    """

    def __init__(self, size: int = 32 * 1024 * 1024, inodes: int | None = None) -> None:
        self.folder = temporary_folder("nightshift-filesystem-")
        self.mount = self.folder / "mounted"
        self._size, self._inodes = size, inodes

    def __enter__(self) -> Self:
        image = self.folder / "image"
        with image.open("wb") as file:
            file.truncate(self._size)
        inodes = ["-N", str(self._inodes)] if self._inodes else []
        # -m 0: no bytes are kept for root, so that full means full also for tests that run as root.
        # -e remount-ro: after an error it closes itself, as distributions set it up.
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-e", "remount-ro", *inodes, image], check=True)
        self.mount.mkdir()
        subprocess.run(["mount", "-o", "loop", image, self.mount], check=True)
        shutil.rmtree(self.mount / "lost+found")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run(["umount", self.mount], check=True)
        shutil.rmtree(self.folder)

    @property
    def device(self) -> int:
        """Its ``st_dev``."""
        return self.mount.stat().st_dev

    def used(self) -> int:
        """Bytes in use."""
        numbers = os.statvfs(self.mount)
        return (numbers.f_blocks - numbers.f_bfree) * numbers.f_frsize

    def available(self) -> int:
        """Bytes that can still be written."""
        numbers = os.statvfs(self.mount)
        return numbers.f_bavail * numbers.f_frsize

    def fill(self, name: str = "ballast") -> Path:
        """A file that takes every byte that is left."""
        ballast = self.mount / name
        with ballast.open("wb", buffering=0) as file:
            for size in (1024 * 1024, 4096, 1):
                try:
                    while file.write(b"x" * size):
                        pass
                except OSError:
                    continue
        return ballast

    def remount(self, option: str) -> None:
        """Mount it anew with an option, such as ``ro``."""
        subprocess.run(["mount", "-o", f"remount,{option}", self.mount], check=True)

    def damage(self) -> None:
        """Let the kernel find an error, upon which nobody can write any more; there is no way back."""
        source = ["findmnt", "-n", "-o", "SOURCE", "--mountpoint", str(self.mount)]
        device = Path(subprocess.run(source, check=True, capture_output=True, text=True).stdout.strip())
        Path(f"/sys/fs/ext4/{device.name}/trigger_fs_error").write_text("made on purpose by a test")
