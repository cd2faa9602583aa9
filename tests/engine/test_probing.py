import pytest

from harness.engine.probe import probe
from harness.engine.probing import probed
from harness.store import Store
from tests.engine.test_posted import Cluster


class Answering(Cluster):
    """Its workers answer at once, as `told` changes it; a node that is named in `dumb` has none."""

    told, dumb = staticmethod(lambda event: event), ()

    def begin(self, count, node=""):
        if node not in self.dumb:
            number, _ = self.box.take(node)
            self.box.say(node, number, self.told(probe(self.box.folder) | {"node": node}))
        return {node}


@pytest.fixture
def cluster(tmp_path):
    return Answering(Store(tmp_path / "store"), 2)


def failed(cluster, seconds=20.0):
    return [check.what for check in probed(cluster, seconds) if not check.ok]


def test_nodes_that_are_as_they_should_be(cluster):
    checks = list(probed(cluster))
    assert [check for check in checks if not check.ok] == []
    assert {check.what.partition(":")[0] for check in checks} >= {"a", "b"}
    assert any("a: exclusive creation" in check.what for check in checks)
    assert not (cluster.store.root.parent / "mail").exists()


@pytest.mark.parametrize(
    ("change", "due"),
    [
        ({"word": ""}, ["a: the folder of runs", "b: the folder of runs"]),
        ({"first": True}, ["nodes that made one and the same file"]),
        ({"folder": [["links", False, "two make one"]]}, ["a: links", "b: links"]),
        ({"locked": False}, []),
        ({"kind": "unfit", "why": "torch 1"}, ["a node's versions"] * 2 + ["nodes that made one and the same file"]),
    ],
)
def test_what_is_amiss_is_told(cluster, change, due):
    def told(event):
        return event | change if event["kind"] != "unfit" else event

    cluster.told = (lambda event: change) if "why" in change else told
    assert failed(cluster) == due


def test_a_node_that_does_not_answer_is_missed(cluster):
    cluster.dumb = ("b",)
    assert "nodes that answered" in failed(cluster, seconds=0.5)
