"""What LMDB's errors mean for a store."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import lmdb

from eventstore.errors import StorageError, StoreReadOnly, StoreUnavailable
from eventstore_lmdb.environments import SharedEnvironment

_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextmanager
def failures_of(shared: SharedEnvironment) -> Iterator[None]:
    """Raise what LMDB and the file system raise inside as an error of `eventstore.errors`, chained to it."""
    folder, map_size = shared.folder, shared.options.map_size
    try:
        yield
    except (lmdb.MapFullError, lmdb.MapResizedError) as error:
        raise StorageError(
            f"the store in {folder} does not fit map_size={map_size:,} bytes: "
            "open it with a larger map_size, the same in every process"
        ) from error
    except lmdb.ReadonlyError as error:
        raise StoreReadOnly(f"the store in {folder} is open with read_only=true: it takes no writes") from error
    except lmdb.ReadersFullError as error:
        raise StoreUnavailable(f"too many readers are on the store in {folder}: try again") from error
    except (lmdb.Error, OSError) as error:
        if _error_number(error) in _REFUSED:
            raise StoreReadOnly(
                f"the store in {folder} cannot be written: {error}. Get the right to, or open it with read_only=true"
            ) from error
        raise StorageError(f"the store in {folder} failed: {error}") from error


def _error_number(error: lmdb.Error | OSError) -> int | None:
    return error.errno if isinstance(error, OSError) else error.code
