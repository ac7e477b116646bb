"""Store URLs and their options."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventstore import InvalidUrl, UnknownOption
from eventstore.urls import (
    boolean,
    choice,
    count,
    parse_options,
    path_of,
    scheme_of,
    seconds,
    split_query,
    url_beside,
)


@pytest.mark.parametrize(
    ("url", "scheme"),
    [("memory://", "memory"), ("SQLite:///a.db", "sqlite"), ("postgresql://u:p@h/d?x=a://b", "postgresql")],
)
def test_the_scheme_is_what_stands_before_the_slashes(url: str, scheme: str) -> None:
    assert scheme_of(url) == scheme


@pytest.mark.parametrize("url", ["", "memory", "memory:", "://host", "/path/to.db", None, 5, b"memory://"])
def test_a_url_without_a_scheme_is_refused(url: Any) -> None:
    with pytest.raises(InvalidUrl):
        scheme_of(url)


@pytest.mark.parametrize(
    ("url", "base", "options"),
    [
        ("memory://", "memory://", {}),
        ("memory://?", "memory://", {}),
        ("x://h/p?a=1&b=two", "x://h/p", {"a": "1", "b": "two"}),
        ("x://h?a=", "x://h", {"a": ""}),
        ("x://h?schema=my+shop%26co", "x://h", {"schema": "my shop&co"}),
    ],
)
def test_the_query_is_split_off(url: str, base: str, options: dict[str, str]) -> None:
    assert split_query(url) == (base, options)


def test_an_option_may_be_a_keyword_and_none_is_not_given() -> None:
    assert split_query("x://h?a=1", {"b": 2, "c": None}) == ("x://h", {"a": "1", "b": 2})


def test_an_option_given_in_the_url_and_as_a_keyword_is_refused() -> None:
    with pytest.raises(InvalidUrl, match="twice"):
        split_query("x://h?a=1", {"a": "1"})


@pytest.mark.parametrize("query", ["a", "a&b=1", "a=1&&b=2", "a=1&a=2", "a=1&b=2&a=1"])
def test_a_malformed_query_is_refused(query: str) -> None:
    with pytest.raises(InvalidUrl):
        split_query(f"x://secret@host?{query}")


def test_a_malformed_query_is_refused_without_showing_the_url() -> None:
    with pytest.raises(InvalidUrl) as refusal:
        split_query("x://user:secret@host?secret")
    assert "secret" not in str(refusal.value)
    assert refusal.value.__context__ is None, "what it is chained to would show it"


@pytest.mark.parametrize(
    ("url", "keywords"),
    [
        ("x://host\0/p", {}),
        ("x://host\ud800/p", {}),
        ("x://h?a=b%00c", {}),
        ("x://h?a=%ff", {}),
        ("x://h?%00=b", {}),
        ("x://h", {"a": "b\0"}),
        ("x://h", {"a": "\udfff"}),
    ],
)
def test_what_is_no_text_is_refused(url: str, keywords: dict[str, object]) -> None:
    with pytest.raises(InvalidUrl):
        split_query(url, keywords)


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("x:///relative.db", "relative.db"),
        ("x:///folder/of/it", "folder/of/it"),
        ("X:////absolute/path.db", "/absolute/path.db"),
        ("x:///a%20b%3Fc%2Fd", "a b?c/d"),
        ("x:///köln#+&.db", "köln#+&.db"),
    ],
)
def test_three_slashes_are_relative_and_four_are_absolute(base: str, path: str) -> None:
    assert path_of(base) == Path(path)


@pytest.mark.parametrize("name", ["x://", "x:///", "x:////", "x://a.db", "x://host/a.db", "x:///a%00", "x:///%ff"])
def test_a_url_without_a_path_or_with_a_host_is_refused(name: str) -> None:
    for read in (path_of, lambda url: url_beside(url, "test")):
        with pytest.raises(InvalidUrl):
            read(name)


@pytest.mark.parametrize(
    ("url", "beside"),
    [
        ("x:///app.db", "x:///app-test.db"),
        ("x:////var/lib.d/app.v1.db?a=b/c", "x:////var/lib.d/app-test.v1.db?a=b/c"),
        ("x:///folder", "x:///folder-test"),
        ("x:///folder/", "x:///folder-test"),
    ],
)
def test_a_url_beside_another_keeps_folder_ending_and_options(url: str, beside: str) -> None:
    assert url_beside(url, "test") == beside


def test_options_are_read_by_their_parsers() -> None:
    known: dict[str, Callable[[object], Any]] = {"wait": seconds, "size": count, "sync": choice("full", "normal")}
    assert parse_options({"wait": "1.5", "sync": "FULL"}, known) == {"wait": 1.5, "sync": "full"}


def test_an_unknown_option_names_the_known_ones() -> None:
    with pytest.raises(UnknownOption, match="size, wait") as refusal:
        parse_options({"wiat": "1"}, {"wait": seconds, "size": count})
    assert (refusal.value.option, refusal.value.known) == ("wiat", ("size", "wait"))


def test_a_bad_value_names_its_option() -> None:
    with pytest.raises(InvalidUrl, match=r"'soon' for option 'wait'"):
        parse_options({"wait": "soon"}, {"wait": seconds})


@pytest.mark.parametrize(
    ("parser", "value", "result"),
    [
        (boolean, "true", True),
        (boolean, "false", False),
        (boolean, False, False),
        (seconds, "0", 0.0),
        (seconds, "2.5", 2.5),
        (seconds, 3, 3.0),
        (count, "7", 7),
        (count, 1, 1),
        (choice("wal", "delete"), "Wal", "wal"),
    ],
)
def test_a_parser_reads_strings_and_values(parser: Callable[[object], Any], value: object, result: object) -> None:
    assert parser(value) == result


@pytest.mark.parametrize(
    ("parser", "values"),
    [
        (boolean, ["", "yes", "True", "1", 1, None]),
        (seconds, ["", "soon", "-1", "inf", "nan", -0.5, None, [], True]),
        (count, ["", "0", "-1", "1.5", 0, 1.0, None, True]),
        (choice("wal", "delete"), ["", "wall", None, 1]),
    ],
)
def test_a_parser_refuses_the_rest(parser: Callable[[object], Any], values: list[object]) -> None:
    for value in values:
        with pytest.raises(InvalidUrl):
            parse_options({"option": value}, {"option": parser})
