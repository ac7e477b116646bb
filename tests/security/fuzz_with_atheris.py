"""Coverage-guided fuzzing of the URL parsers, the check of payloads and imports, for as long as one likes.

It is no part of the test run, and atheris is no dependency: `pip install atheris` where it can be had, and then

    python -m tests.security.fuzz_with_atheris urls -max_total_time=60
    python -m tests.security.fuzz_with_atheris payloads -max_total_time=60
    python -m tests.security.fuzz_with_atheris imports -max_total_time=60

The rest of the arguments are those of libFuzzer. It ends with what it found, or with the number of runs.
"""

from __future__ import annotations

import ast
import asyncio
import io
import json
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

# It is not installed where types are checked.
atheris: Any = import_module("atheris")

with atheris.instrument_imports(include=["eventstore", "eventstore_sqlite", "eventstore_postgres"]):
    import eventstore_memory
    import eventstore_postgres
    import eventstore_sqlite
    from eventstore import EventStore
    from eventstore.errors import EventStoreError, InvalidEvent, InvalidExport
    from eventstore.events import encode_json_object
    from tests.moving.contents import export_of, fill_with_everything, to_be_changed

SCHEMES: dict[str, Callable[[str], object]] = {
    "memory": eventstore_memory.open_backend,
    "sqlite": eventstore_sqlite.open_backend,
    "postgresql": eventstore_postgres.settings_of,
}


def urls(data: bytes) -> None:
    """Any URL is read, or refused with an `EventStoreError`."""
    provider = atheris.FuzzedDataProvider(data)
    scheme = provider.PickValueInList(sorted(SCHEMES))
    text = provider.ConsumeUnicode(sys.maxsize)
    try:
        SCHEMES[scheme](f"{scheme}://{text}")
    except EventStoreError as error:
        assert str(error)


def payloads(data: bytes) -> None:
    """Any value is refused with a path, or is what another parser reads back."""
    value = value_from(atheris.FuzzedDataProvider(data), 5)
    try:
        text, copy = encode_json_object(value, 10_000)
    except InvalidEvent as refusal:
        assert refusal.path.startswith("$")
        return
    assert copy == value
    assert json.dumps(copy) == json.dumps(json.loads(text))
    assert encode_json_object(copy, 10_000) == (text, copy)


def imports(data: bytes) -> None:
    """An export that was changed is refused, or imported into a store that is sound then."""
    provider = atheris.FuzzedDataProvider(data)
    lines = list(_sound_export())
    for _ in range(provider.ConsumeIntInRange(1, 3)):
        number = provider.ConsumeIntInRange(0, len(lines) - 1)
        lines[number] = changed_line(provider, lines[number])
    asyncio.run(imported(b"".join(lines)))


def changed_line(provider: Any, line: bytes) -> bytes:
    match provider.ConsumeIntInRange(0, 2):
        case 0:
            return bytes(provider.ConsumeBytes(60))
        case 1:
            at, length = provider.ConsumeIntInRange(0, len(line)), provider.ConsumeIntInRange(0, 9)
            return line[:at] + bytes(provider.ConsumeBytes(9)) + line[at + length :]
    value = value_from(provider, 3)
    try:
        fields = json.loads(line)
        fields[provider.PickValueInList(sorted(fields))] = value
        return json.dumps(fields).encode() + b"\n"
    except (AttributeError, TypeError, ValueError):
        # It was changed already, or cannot be written as JSON.
        return line


async def imported(text: bytes) -> None:
    async with EventStore(eventstore_memory.MemoryBackend()) as store:
        try:
            await store.import_from(io.BytesIO(text))
        except InvalidExport as refusal:
            assert str(refusal)
            assert await store.head() == 0
        else:
            assert (await store.verify()).is_sound


@cache
def _sound_export() -> tuple[bytes, ...]:
    async def lines() -> list[bytes]:
        async with EventStore(eventstore_memory.MemoryBackend()) as store:
            await fill_with_everything(store)
            return to_be_changed(await export_of(store))

    return tuple(asyncio.run(lines()))


def value_from(provider: Any, depth: int) -> object:
    """Make a value of JSON's types, and of others."""
    match provider.ConsumeIntInRange(0, 12 if depth else 9):
        case 0:
            return None
        case 1:
            return provider.ConsumeBool()
        case 2:
            return provider.ConsumeInt(10)
        case 3:
            return provider.ConsumeFloat()
        case 4 | 5:
            return provider.ConsumeUnicode(20)
        case 6:
            return provider.ConsumeBytes(5)
        case 7:
            return provider.PickValueInList([-0.0, 2**63, -(2**63), "\0", "\ud800", float("nan"), 1e22, ()])
        case 8:
            return str(provider.ConsumeInt(9))
        case 9:
            return literal(provider.ConsumeUnicode(20))
        case 10:
            return [value_from(provider, depth - 1) for _ in range(provider.ConsumeIntInRange(0, 4))]
        case 11:
            return tuple(value_from(provider, depth - 1) for _ in range(provider.ConsumeIntInRange(0, 2)))
    size = provider.ConsumeIntInRange(0, 4)
    return {key_from(provider): value_from(provider, depth - 1) for _ in range(size)}


def key_from(provider: Any) -> object:
    return provider.ConsumeUnicode(10) if provider.ConsumeIntInRange(0, 9) else provider.ConsumeInt(4)


def literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


TARGETS: dict[str, Callable[[bytes], None]] = {"urls": urls, "payloads": payloads, "imports": imports}

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
