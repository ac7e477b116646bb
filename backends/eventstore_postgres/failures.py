"""What a failure of the driver means to the caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from eventstore.errors import (
    StorageError,
    StoreReadOnly,
    StoreUnavailable,
    TransactionConflict,
)

# SQLSTATE codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
_LOST: Final = ("08", "25P03", "25P04", "40003", "57P01", "57P02", "57P03", "57P05")
_TRY_AGAIN: Final = ("40001", "40P01", "53300", "53400", "55P03", "57014")
_READ_ONLY: Final = ("25006", "42501")
_NEVER_SENT: Final = (PoolTimeout, PoolClosed, TooManyRequests)


@contextmanager
def translated_failures(*, in_transaction: bool = False, commits: bool = False) -> Iterator[None]:
    """Raise the driver's errors as ours, chained.

    `in_transaction`: the caller's transaction goes on or is lost as a whole, so a conflict with another asks for it to
    be run again. `commits`: a lost connection leaves open whether the call took effect.
    """
    try:
        yield
    except (psycopg.Error, *_NEVER_SENT) as error:
        raise translated(error, in_transaction=in_transaction, commits=commits) from error


def translated(error: Exception, *, in_transaction: bool = False, commits: bool = False) -> Exception:
    """Return what `translated_failures` raises; an error that is not the driver's is returned as it is."""
    if isinstance(error, _NEVER_SENT):
        return StoreUnavailable(f"no connection to Postgres could be had: {error}.")
    if not isinstance(error, psycopg.Error):
        return error
    state = error.sqlstate or ""
    text = (error.diag.message_primary or str(error)).strip()
    if state.startswith(("40001", "40P01")) and in_transaction:
        return TransactionConflict(f"Postgres cannot place this transaction ({text}): run it again from the start")
    if state.startswith(_TRY_AGAIN):
        return StoreUnavailable(f"Postgres could not finish the call ({text}); try again")
    if state.startswith(_READ_ONLY):
        return StoreReadOnly(f"Postgres refuses the call ({text}): use the primary server, or a role with the right")
    if state.startswith(_LOST) or (not state and isinstance(error, psycopg.OperationalError)):
        return StoreUnavailable(f"the connection to Postgres was lost ({text}).", outcome_unknown=commits)
    return StorageError(f"Postgres failed the call: {text} (SQLSTATE {state or 'none'})")
