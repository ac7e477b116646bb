"""What may stand in a URL, and what a URL means."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventstore import ANY, InvalidUrl, UnknownOption, open_store
from tests.sqlite.making import event, file_names, versions

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("sqlite://app.db", "no host"),
        ("sqlite://host/app.db", "no host"),
        ("sqlite:///", "names no path"),
        ("sqlite:///a%00b", "names no path"),
        ("sqlite:///a%ff", "UTF-8"),
        ("sqlite:///:memory:", "write sqlite://"),
        ("sqlite:///a.db?synchronous=maybe", "full, normal, off"),
        ("sqlite:///a.db?busy_timeout=-1", "seconds"),
        ("sqlite:///a.db?readers=0", "at least 1"),
        ("sqlite:///a.db?migrate=yes", "true or false"),
        ("sqlite:///a.db?readers=1&readers=2", "twice"),
    ],
)
async def test_a_url_that_is_not_understood_is_refused_with_a_hint(url: str, hint: str) -> None:
    with pytest.raises(InvalidUrl, match=hint):
        open_store(url)


async def test_an_unknown_option_is_refused_by_name() -> None:
    with pytest.raises(UnknownOption, match=r"journal.*synchronous"):
        open_store("sqlite:///a.db?journal=delete")


async def test_options_may_be_keywords(url: str) -> None:
    async with open_store(url, readers=1, synchronous="normal", busy_timeout=0.5, migrate=True) as store:
        await store.append("order-1", [event()], expected_version=ANY)
        assert await versions(store, "order-1") == [1]


async def test_three_slashes_are_relative_and_four_are_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_store("sqlite:///relative.db"), open_store(f"sqlite:////{tmp_path}/absolute.db"):
        assert {"relative.db", "absolute.db"} <= set(file_names(tmp_path))


@pytest.mark.parametrize(
    ("name", "in_url"),
    [
        ("a b?c.db", "a%20b%3Fc.db"),
        ("100% #1.db", "100%25%20%231.db"),
        ("köln.db", "k%C3%B6ln.db"),
        ("köln.db", "köln.db"),
        ("a#b&mode=memory.db", "a#b&mode=memory.db"),
        ("+.db", "+.db"),
    ],
)
async def test_percent_signs_in_the_path_are_decoded(tmp_path: Path, name: str, in_url: str) -> None:
    async with open_store(f"sqlite:///{tmp_path}/{in_url}"):
        assert name in file_names(tmp_path)


async def test_making_a_store_touches_nothing(tmp_path: Path, url: str) -> None:
    open_store(url)
    assert file_names(tmp_path) == []
