"""What the user's handler takes, and calling it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from eventstore.errors import InvalidArgument
from eventstore.events import RecordedEvent

if TYPE_CHECKING:
    from eventstore.store import StoreTransaction

Handler: TypeAlias = Callable[..., Awaitable[None]]
"""`async def handler(event)`, or `(events)` for a batch at a time; with `tx` beside it, exactly once."""

_FORMS: Final = "write async def handler(event), handler(events), handler(event, tx) or handler(events, tx)"


class HandlerError(Exception):
    """A handler has raised its `__cause__`. `event` is the one it was given, None if it was one of several."""

    def __init__(self, event: RecordedEvent | None) -> None:
        super().__init__()
        self.event = event


class Handling:
    """A handler, and what its parameters say that it takes."""

    def __init__(self, handler: Handler) -> None:
        """Raise `InvalidArgument` unless the parameters are `event` or `events`, and perhaps `tx`."""
        self._handler = handler
        names: list[str] = []
        with suppress(ValueError):
            names = list(inspect.signature(handler).parameters) if callable(handler) else []
        if names not in (["event"], ["events"], ["event", "tx"], ["events", "tx"]):
            raise InvalidArgument("handler", handler, f"its parameters say what it is given: {_FORMS}")
        self.takes_batches: Final = names[0] == "events"
        self.exactly_once: Final = "tx" in names

    async def __call__(
        self, events: Sequence[RecordedEvent], tx: StoreTransaction | None, done: Callable[[RecordedEvent], None]
    ) -> None:
        """Call the handler for all the events, in order, and `done` after each that is done by itself.

        Raises `HandlerError` from whatever it raises.
        """
        with_tx: tuple[Any, ...] = () if tx is None else (tx,)
        if self.takes_batches:
            await self._call(events[0] if len(events) == 1 else None, list(events), *with_tx)
            return
        for event in events:
            await self._call(event, event, *with_tx)
            done(event)

    async def _call(self, event: RecordedEvent | None, *arguments: Any) -> None:
        try:
            await self._handler(*arguments)
        except Exception as error:
            raise HandlerError(event) from error
