"""`examples/fastapi_orders.py`, served by uvicorn and asked over HTTP."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


class Answer(NamedTuple):
    status: int
    body: str
    etag: str | None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Ask: TypeAlias = Callable[..., Answer]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("orders")
    environment = os.environ | {"STORE": f"sqlite:///{folder}/orders.db"}
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", "0", "fastapi_orders:app"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        told = ""
        for line in server.stderr:
            told += line
            if running := re.search(r"running on (http://\S+)", line):
                yield running[1]
                break
        else:
            pytest.fail(told)
        server.terminate()
        server.stderr.read()


@pytest.fixture
def ask(url: str) -> Ask:
    def call(path: str, body: object = None, **headers: str) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        request = Request(url + path, data, {"Content-Type": "application/json"} | headers)
        try:
            with urlopen(request, timeout=30) as response:
                return Answer(response.status, response.read().decode(), response.headers["ETag"])
        except HTTPError as error:
            return Answer(error.code, error.read().decode(), None)

    return call


def test_an_order_is_placed_filled_and_shown(ask: Ask) -> None:
    assert ask("/orders/1", {"customer": "Ada"}).json["version"] == 1
    ask("/orders/1/items", {"sku": "tea", "quantity": 2})
    ask("/orders/1/items", {"sku": "tea"})
    shown = ask("/orders/1")
    assert shown.json == {"customer": "Ada", "items": {"tea": 3}}
    assert shown.etag == "3"
    assert ask("/orders/999").status == 404


def test_of_two_who_have_seen_the_same_version_one_is_told_to_look_again(ask: Ask) -> None:
    ask("/orders/2", {"customer": "Ada"})
    assert ask("/orders/2/items", {"sku": "tea"}, **{"If-Match": "1"}).status == 201
    refused = ask("/orders/2/items", {"sku": "milk"}, **{"If-Match": "1"})
    assert (refused.status, refused.json["version"]) == (409, 2)
    assert ask("/orders/2", {"customer": "Bob"}).status == 409
    assert ask("/orders/999/items", {"sku": "tea"}).status == 409


def test_bad_input_is_refused(ask: Ask) -> None:
    assert ask("/orders/one", {"customer": "Ada"}).status == 422
    assert ask("/orders/3", {}).status == 422
    ask("/orders/3", {"customer": "Ada"})
    assert ask("/orders/3/items", {"sku": "tea", "quantity": 0}).status == 422


def test_events_are_sent_as_lines(ask: Ask) -> None:
    before = ask("/orders/4", {"customer": "Ada"}).json["position"] - 1
    ask("/orders/4/items", {"sku": "tea"})
    events = [json.loads(line) for line in ask(f"/events?after={before}&limit=2").body.splitlines()]
    assert [event["event_type"] for event in events] == ["OrderPlaced", "ItemAdded"]
    assert events[1]["data"] == {"sku": "tea", "quantity": 1}
