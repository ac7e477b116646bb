"""A file system of a few megabytes, to be filled."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from tests.postgres.driving import connected

_BALLAST: Final = "ballast"

# Shows the mount to nobody else, but keeps it reachable below /proc/<its process id>/root until its input ends.
_HOLD: Final = 'mount -t tmpfs -o "$1" none "$2" && echo mounted && read -r line'

_NEEDED: Final = (
    "Tests of full disks mount a small file system: run them as root with the right to mount (in a container, "
    "--cap-add=SYS_ADMIN), or as a user who may make user namespaces (sysctl kernel.unprivileged_userns_clone=1)."
)


class SmallDisk:
    """A mounted file system, and what takes its room."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Leave no room at all."""
        with (self.path / _BALLAST).open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def make_room(self) -> None:
        """Give the room back."""
        (self.path / _BALLAST).unlink()


@contextmanager
def small_disk(megabytes: int, owner: os.stat_result) -> Iterator[SmallDisk]:
    """Mount a file system in memory for the block, owned by whom `owner` is owned by.

    It takes root, or else a user namespace of one's own. RuntimeError where there is neither.
    """
    with tempfile.TemporaryDirectory(prefix="eventstore-disk-") as folder:
        size = f"size={megabytes}m"
        if os.geteuid() == 0:
            # Everybody must get as far as this.
            Path(folder).chmod(0o755)
            options = f"{size},uid={owner.st_uid},gid={owner.st_gid},mode=0700"
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], stderr=subprocess.PIPE)
            if done.returncode != 0:
                raise RuntimeError(f"{_NEEDED} {done.stderr.decode()}")
            try:
                yield SmallDisk(Path(folder))
            finally:
                # What the server has open goes with the server.
                subprocess.run(["umount", "--lazy", folder], check=True)
            return
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _HOLD, "hold", size, folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stderr is not None
            if holder.stdout.readline() != b"mounted\n":
                raise RuntimeError(f"{_NEEDED} {holder.stderr.read().decode()}")
            yield SmallDisk(Path(f"/proc/{holder.pid}/root{folder}"))


@asynccontextmanager
async def tables_on(disk: SmallDisk, url: str) -> AsyncIterator[str]:
    """Have the tables of a new store on a disk, and none of them when the block is left."""
    name, schema = disk.path.name, url.rpartition("=")[2]
    async with connected(url) as connection:
        await connection.execute(f"""CREATE TABLESPACE "{name}" LOCATION '{disk.path}'""".encode())
        yield f"{url}&options=-c%20default_tablespace={name}"
        await connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())
        await connection.execute(f'DROP TABLESPACE "{name}"'.encode())
        # So that no recovery of the server's looks for them.
        await connection.execute("CHECKPOINT")
