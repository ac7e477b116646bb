"""The keys that records are kept under. LMDB compares keys as bytes, and takes at most 511 of them."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

HEAD_LENGTH: Final = 510
"""How much of a stream id fits a key; a stream id has up to 255 characters, which UTF-8 writes in 1,020 bytes."""


def name_key(name: str) -> bytes:
    """Return the key of a stream or a checkpoint: a digest, since a name may be longer than a key."""
    return blake2b(name.encode(), digest_size=32).digest()


def entry_key(name: str, key: str) -> bytes:
    """Return the key of an entry: those of one consumer stand together, in the order of their own keys."""
    return name_key(name) + key.encode()


def number_key(number: int) -> bytes:
    """Return the key of a position; big-endian, so that keys are in the order of the numbers."""
    return number.to_bytes(8, "big")


def number_of(key: bytes) -> int:
    """Return the position of a key."""
    return int.from_bytes(key, "big")


def version_key(stream: bytes, version: int) -> bytes:
    """Return the key of a version of the stream that has the key `stream`."""
    return stream + number_key(version)


def split_id(text: bytes) -> tuple[bytes, bytes]:
    """Return the key and the value that stand for a stream id (or a prefix of one) in the table of ids.

    Together they sort as the whole id does. The value begins with a zero byte because LMDB takes no empty ones there.
    """
    return text[:HEAD_LENGTH], b"\0" + text[HEAD_LENGTH:]


def joined_id(key: bytes, value: bytes) -> bytes:
    """Return the stream id that a key and a value stand for."""
    return key + value[1:]
