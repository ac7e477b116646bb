"""Coverage-guided fuzzing of the URL parsers and of the check of payloads, for as long as one likes.

It is no part of the test run, and atheris is no dependency: `pip install atheris` where it can be had, and then

    python -m tests.security.fuzz_with_atheris urls -max_total_time=60
    python -m tests.security.fuzz_with_atheris payloads -max_total_time=60

The rest of the arguments are those of libFuzzer. It ends with what it found, or with the number of runs.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

# It is not installed where types are checked.
atheris: Any = import_module("atheris")

with atheris.instrument_imports(include=["eventstore", "eventstore_sqlite", "eventstore_postgres"]):
    import eventstore_memory
    import eventstore_postgres
    import eventstore_sqlite
    from eventstore.errors import EventStoreError, InvalidEvent
    from eventstore.events import encode_json_object

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


TARGETS: dict[str, Callable[[bytes], None]] = {"urls": urls, "payloads": payloads}

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
