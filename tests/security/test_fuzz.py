"""Whatever is passed in, what comes out is the result or an `EventStoreError`; and it shows no password."""

from __future__ import annotations

import asyncio
import json
import math
import traceback
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from fractions import Fraction
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eventstore import ANY, EventStoreError, Filter, InvalidEvent, NewEvent, open_store
from eventstore.events import MAX_DEPTH, encode_json_object
from eventstore.urls import path_of, scheme_of, split_query, url_beside

many = settings(max_examples=300, deadline=None)
few = settings(max_examples=80, deadline=None)

# --- URLs ------------------------------------------------------------------------------------------------------------

SECRET = "hunter2hunter2"
URLS = [
    "memory://",
    "sqlite://",
    "sqlite:///app.db?synchronous=full&readers=2&migrate=true&busy_timeout=1.5",
    "sqlite:////var/lib/app.db?immutable=true",
    "postgresql://app@host:5432/db?schema=shop&pool_max=3&listen=false&sslmode=require",
    "postgres://one,two:5433/db?target_session_attrs=any&connect_timeout=3&options=-c%20a%3Db",
    "postgresql://app@[::1]:5432/db?settle_timeout=0.5&prepare=false&pool_timeout=1",
]
WITH_SECRETS = [
    f"postgresql://app:{SECRET}@host:5432/db?schema=shop",
    f"postgresql://app:a%40{SECRET}@one,two/db?pool_max=3",
    f"postgresql://app@host/db?password={SECRET}&schema=shop",
]
SPECIAL = [*"@:/?&=%#[]()\\'\"; ,+\0\n\ud800\xff", "://", "%00", "%zz", "%ff", "&&", "?a=b", "@@", "user=", "port=x"]
ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=60)
EDITS = st.lists(
    st.tuples(st.integers(0, 80), st.integers(0, 4), st.sampled_from(SPECIAL) | ANY_TEXT), min_size=1, max_size=4
)


def edited(url: str, edits: list[tuple[int, int, str]], *, keeping: str = "\0\0") -> str:
    """Replace parts of a URL, but not what is to be kept in it."""
    for at, length, text in edits:
        changed = url[:at] + text + url[at + length :]
        url = changed if keeping in changed or keeping == "\0\0" else url
    return url


def check_opens_or_says_why(url: str, **options: Any) -> EventStoreError | None:
    try:
        open_store(url, **options)
    except EventStoreError as error:
        assert str(error)
        return error
    return None


@few
@given(ANY_TEXT)
def test_any_text_is_a_url_or_is_refused(text: str) -> None:
    for url in (text, f"sqlite:///{text}", f"postgresql://{text}", f"memory://{text}", f"postgresql://h/d?{text}"):
        check_opens_or_says_why(url)


@many
@given(st.sampled_from(URLS), EDITS)
@example("postgresql://app@host/db", [(13, 0, "\0")])
@example("postgresql://app@host/db", [(13, 0, "\ud800")])
def test_a_url_with_a_slip_of_the_pen_is_one_or_is_refused(url: str, edits: list[tuple[int, int, str]]) -> None:
    check_opens_or_says_why(edited(url, edits))


@many
@given(st.sampled_from(WITH_SECRETS), EDITS)
@example(WITH_SECRETS[0], [(10, 3, "/"), (0, 0, "x")])
@example(WITH_SECRETS[0], [(29, 0, "://")])
@example(WITH_SECRETS[0], [(17, 0, "?")])
@example(WITH_SECRETS[0], [(17, 0, "/")])
@example(WITH_SECRETS[0], [(17, 0, "1/")])
@example(WITH_SECRETS[0], [(17, 0, "?a=b&")])
@example(WITH_SECRETS[0], [(17, 0, "?"), (32, 0, "=")])
def test_a_slip_of_the_pen_shows_no_password(url: str, edits: list[tuple[int, int, str]]) -> None:
    error: BaseException | None = check_opens_or_says_why(edited(url, edits, keeping=SECRET))
    while error is not None:
        assert SECRET not in "".join(traceback.format_exception_only(error)) + repr(vars(error))
        error = error.__cause__ or error.__context__


@many
@given(ANY_TEXT | st.sampled_from(URLS))
def test_the_parts_of_a_url_are_found_or_it_is_refused(url: str) -> None:
    for read in (scheme_of, split_query, path_of, lambda url: url_beside(url, "x")):
        try:
            read(url)
        except EventStoreError:
            continue


# --- Options ---------------------------------------------------------------------------------------------------------

SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400), 2**63, 2**31])
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=20)
    | st.binary(max_size=10)
    | st.decimals()
    | st.datetimes()
    | st.uuids()
    | st.sampled_from([object(), int, print, ..., Fraction(1, 3), 1j, date(2020, 1, 1), timedelta(1), b"", bytearray()])
)
LIKE_OPTIONS = st.sampled_from(
    ["true", "1", "1.5", "1e400", "nan", "-1", "inf", "9" * 5000, "full", " 1", "1_0", "\u0661"]
)
OPTIONS = {
    "sqlite:///app.db": ["synchronous", "busy_timeout", "readers", "migrate", "immutable"],
    "postgresql://h/d": [
        "schema",
        "migrate",
        "prepare",
        "pool_min",
        "pool_max",
        "pool_timeout",
        "settle_timeout",
        "listen",
        "poll_interval",
        "password",
        "port",
        "host",
        "sslmode",
        "connect_timeout",
    ],
    "memory://": ["clock", "nothing"],
}
CORE = ["max_event_size", "page_size", "retry_timeout"]


@few
@given(st.sampled_from(sorted(OPTIONS)), st.data())
def test_an_option_of_any_value_is_taken_or_refused(url: str, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(OPTIONS[url] + CORE), unique=True, min_size=1, max_size=3))
    value = SCALARS | LIKE_OPTIONS | st.lists(SCALARS, max_size=2)
    check_opens_or_says_why(url, **{name: data.draw(value) for name in names})


@few
@given(st.sampled_from(sorted(OPTIONS)), st.data())
def test_an_option_in_a_url_of_any_text_is_taken_or_refused(url: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(OPTIONS[url] + CORE))
    text = data.draw(LIKE_OPTIONS | st.text(max_size=20))
    check_opens_or_says_why(f"{url}?{name}={quote(text)}")


# --- Payloads --------------------------------------------------------------------------------------------------------


class Colour(IntEnum):
    RED = 1


class Name(StrEnum):
    RED = "red"


class Number(float):
    """A number of somebody's own."""


class Text(str):
    __slots__ = ()


class Pair(NamedTuple):
    one: int
    two: int


@dataclass
class Record:
    one: int = 1


class Struct(msgspec.Struct):
    one: int = 1


ODDITIES: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(
            Colour.RED,
            Name.RED,
            Number(1.5),
            Number("nan"),
            Text("text"),
            Text("\ud800"),
            Pair(1, 2),
            Record(),
            Struct(),
        ),
        *(-0.0, 0.0, 1e22, 1e23, 5e-324, 1.7976931348623157e308, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64),
        *(10**30, "\\u0000", "\0", "-0.0", "0" * 30, msgspec.Raw(b"{}"), msgspec.Raw(b"nonsense"), msgspec.UNSET),
        *(deque([1]), OrderedDict(a=1), defaultdict(int), memoryview(b"x"), Decimal("NaN"), UUID(int=1), datetime.min),
    ]
)
KEYS: st.SearchStrategy[Any] = st.text(st.characters(exclude_categories=[]), max_size=5) | st.sampled_from(
    [1, 1.5, None, True, b"k", Text("k"), Name.RED, Colour.RED, (), "\0", "\ud800", "a.b", "'", UUID(int=1)]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS | ODDITIES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.tuples(inner)
        | st.frozensets(st.integers(), max_size=2)
    ),
    max_leaves=10,
)


@many
@given(st.dictionaries(KEYS, VALUES, max_size=4) | VALUES, st.integers(2, 300))
def test_a_payload_is_refused_with_a_path_or_is_what_is_read_back(value: object, limit: int) -> None:
    try:
        text, copy = encode_json_object(value, limit)
    except InvalidEvent as refusal:
        assert refusal.path.startswith("$")
        assert str(refusal)
        return
    assert len(text) <= limit
    assert is_plain(copy)
    assert copy == value
    assert json.dumps(copy) == json.dumps(json.loads(text)), "another parser reads the same"
    assert encode_json_object(copy, limit) == (text, copy)


def is_plain(value: object) -> bool:
    """Tell whether a value is of the types of JSON, and no kind of them, and holds only what every engine stores."""
    if isinstance(value, dict):
        return type(value) is dict and all(is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return type(value) is list and all(map(is_plain, value))
    if isinstance(value, str):
        return type(value) is str and "\0" not in value and value == value.encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return type(value) is float and math.isfinite(value) and str(value) != "-0.0"
    return value is None or type(value) is bool or (type(value) is int and -(2**63) <= value < 2**63)


@few
@given(st.integers(1, 3000), st.booleans())
@example(MAX_DEPTH, True)
@example(MAX_DEPTH + 1, True)
@example(100_000, False)
def test_a_payload_of_any_depth_is_stored_or_refused(depth: int, lists: bool) -> None:
    value: Any = {}
    for _ in range(depth - 1):
        value = {"x": [value] if lists and not isinstance(value, list) else value}
    try:
        text, _ = encode_json_object(value, 10**7)
    except InvalidEvent as refusal:
        assert refusal.path.startswith("$")
        return
    assert text.count(b"{") + text.count(b"[") <= MAX_DEPTH


# --- Calls -----------------------------------------------------------------------------------------------------------


@few
@given(st.data())
def test_a_call_with_any_arguments_is_carried_out_or_refused(data: st.DataObject) -> None:
    any_value: st.SearchStrategy[Any] = SCALARS | ODDITIES | st.lists(SCALARS, max_size=2)
    name: st.SearchStrategy[Any] = any_value | st.just("order-1")
    number: st.SearchStrategy[Any] = any_value | st.integers(0, 2) | st.just(ANY)

    async def call() -> None:
        async with open_store("memory://") as store:
            event: Any = NewEvent(data.draw(name), data.draw(VALUES | st.just({})), data.draw(VALUES | st.just({})))
            stream_id, version, other = data.draw(name), data.draw(number), data.draw(number)
            calls: list[Callable[[], Any]] = [
                lambda: store.append(stream_id, [event], expected_version=version),
                lambda: store.append(stream_id, data.draw(any_value), expected_version=ANY),
                lambda: store.append(
                    "order-1", [NewEvent("Happened", {}, {}, data.draw(any_value))], expected_version=ANY
                ),
                lambda: anext(store.read_stream(stream_id, from_version=version, to_version=other), None),
                lambda: anext(store.read_all(after=other, limit=version, filter=data.draw(any_value)), None),
                lambda: anext(store.list_streams(prefix=stream_id, after=stream_id, limit=other), None),
                lambda: store.truncate_stream(stream_id, other),
                lambda: store.save_snapshot(stream_id, other, data.draw(VALUES)),
                lambda: store.save_checkpoint(stream_id, version, expected=other),
                lambda: store.delete_stream(stream_id, expected_version=version),
            ]
            for write in calls:
                try:
                    await write()
                except EventStoreError as error:
                    assert str(error)

    asyncio.run(call())


@many
@given(st.data())
def test_a_filter_of_anything_is_one_or_is_refused(data: st.DataObject) -> None:
    value = SCALARS | ODDITIES | st.lists(SCALARS, max_size=2) | st.frozensets(st.text(max_size=3), max_size=2)
    fields = ["stream_types", "stream_id_prefix", "event_types", "created_from", "created_to"]
    try:
        conditions: dict[str, Any] = {field: data.draw(st.none() | value) for field in fields}
        chosen = Filter(**conditions)
    except EventStoreError:
        return
    assert hash(chosen) == hash(chosen)


class Unspeakable:
    """What cannot even be shown."""

    def __repr__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize("value", [10**5000, Unspeakable()], ids=["thousands of digits", "no repr"])
def test_what_cannot_be_shown_is_refused_all_the_same(value: Any) -> None:
    """Hypothesis itself would stumble over these."""
    for refused in (
        lambda: open_store("sqlite://", busy_timeout=value),
        lambda: open_store("memory://", page_size=-value if isinstance(value, int) else value),
        lambda: open_store("postgresql://host/db", schema=value),
        lambda: open_store("postgresql://host/db", password=value),
        lambda: open_store("memory://").read_stream(value),
        lambda: open_store("memory://").read_all(after=-value if isinstance(value, int) else value),
        lambda: Filter(event_types=[value]),
        lambda: encode_json_object({"a": value}, 100),
        lambda: encode_json_object({value: 1}, 100),
    ):
        with pytest.raises(EventStoreError):
            refused()


def test_the_fuzzer_of_urls_has_urls_that_are_good() -> None:
    for url in (*URLS, *WITH_SECRETS):
        open_store(url)


def test_a_payload_that_is_good_is_taken() -> None:
    value = {"a": [1, 1.5, "x", None, True, {"b": {}}]}
    assert encode_json_object(value, 100)[1] == value
    with pytest.raises(InvalidEvent):
        encode_json_object(value, 10)
