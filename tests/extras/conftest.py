"""A Ray cluster for all tests of a file."""

from collections.abc import Generator

import pytest

from .ray_nodes import Nodes, opened_nodes


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Nodes]:
    with opened_nodes(str(tmp_path_factory.mktemp("cluster"))) as nodes:
        yield nodes


@pytest.fixture
def nodes(cluster: Nodes) -> Nodes:
    """The cluster with all of its nodes."""
    cluster.complete()
    return cluster
