"""One house for all faults of a run, and one table of what they did."""

import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.faults.figures import SEED, WHOLE, Figure, table
from tests.faults.load import Writers
from tests.faults.processes import Api, House
from tests.faults.processes import house as make_house


@pytest.fixture(scope="session")
def figures() -> Iterator[list[Figure]]:
    found: list[Figure] = []
    began = time.monotonic()
    yield found
    if WHOLE:
        print(f"\n\nFAULTS={SEED}, {time.monotonic() - began:.0f} s\n\n{table(found)}\n")  # noqa: T201  # the result


@pytest.fixture(scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with make_house(tmp_path_factory.mktemp("faults")) as found:
        yield found


@pytest.fixture(scope="session")
async def api(house: House) -> AsyncIterator[Api]:
    async with house.api() as found:
        yield found


@pytest.fixture
def writers(house: House, api: Api) -> Writers:
    return Writers(api, house.desk.request())
