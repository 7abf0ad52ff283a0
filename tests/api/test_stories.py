"""The stories told in the description of the API: each call is made, each answer is as written."""

import json
import re
from typing import Any

import pytest

from app.api import description
from tests.api.conftest import Desk

STORY = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
CALL = re.compile(
    r"^```http\n(?P<at>\S+ \S+) (?P<who>\w+)\n(?P<method>[A-Z]+) (?P<path>\S+)\n(?P<body>\{.*?\})?\s*"
    r"(?P<status>\d{3})\n(?P<answer>.*?)\n```$",
    re.MULTILINE | re.DOTALL,
)
NAME = re.compile(r"\{(\w+)\}")
STORIES = dict(STORY.findall(description.STORIES))


def differs(expected: Any, found: Any, names: dict[str, str], where: str = "") -> list[str]:
    """Say where an answer isn't as written; what isn't written doesn't matter, a new name is taken down."""
    if isinstance(expected, dict) and isinstance(found, dict):
        parts = [differs(value, found.get(name), names, f"{where}/{name}") for name, value in expected.items()]
        return [each for part in parts for each in part]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [each for place, (one, other) in pairs for each in differs(one, other, names, f"{where}/{place}")]
    name = NAME.fullmatch(expected) if isinstance(expected, str) else None
    if name:
        expected = names.setdefault(name[1], found)
    return [] if expected == found else [f"{where}: {expected} is {found}"]


@pytest.mark.parametrize("title", STORIES)
async def test_a_story_happens_as_it_is_told(desk: Desk, title: str) -> None:
    names = {name: str(party.client_id) for name, party in desk.parties.items()}
    calls = list(CALL.finditer(STORIES[title]))
    assert len(calls) == STORIES[title].count("```http")
    for call in calls:
        await desk.at(f"{call['at']}:00")
        await desk.sweep()
        path = NAME.sub(lambda match: names[match[1]], call["path"])
        body = NAME.sub(lambda match: names[match[1]], call["body"] or "null")
        response = await desk.call(call["who"], call["method"], path, json.loads(body))
        assert response.status_code == int(call["status"]), response.text
        assert differs(json.loads(call["answer"]), response.json(), names) == []


def test_a_story_that_is_wrong_is_noticed() -> None:
    assert differs({"a": [1, {"b": "{x}"}]}, {"a": [1, {"b": "y", "c": 2}], "d": 3}, {}) == []
    assert differs({"a": [1]}, {"a": [1, 2]}, {}) == ["/a: [1] is [1, 2]"]
    assert differs({"a": "{x}"}, {"a": "z"}, {"x": "y"}) == ["/a: y is z"]
    assert differs({"a": None}, {"a": 1}, {}) == ["/a: None is 1"]


def test_the_stories_are_told_where_the_api_is_described() -> None:
    assert list(STORIES) == ["A call on a Saturday", "An outage over a weekend"]
    assert description.ABOUT["description"].endswith(description.STORIES)
