import re

from harness.bench.evidence import show_evidence
from harness.bench.loop import specification
from tests.faults.commands import FORKS


def test_what_evidence_costs_is_measured_with_and_without_it(capsys, monkeypatch):
    monkeypatch.setattr("harness.bench.evidence.multiprocessing.get_context", lambda method: FORKS)
    show_evidence(specification("small", "digits", 32, 128), "cpu", 8, 1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "8 steps of 128 images, 2 epochs; a step of each in turn"
    assert lines[2].split()[-1] == "8", "all steps of so few are audited"
    with_it, without = (float(word) for word in re.findall(r"([0-9.]+) s", lines[2]))
    assert with_it > without, "where all steps are done twice"
    assert re.fullmatch(r"median cost of evidence: [0-9.]+% of training and evaluation", lines[-1])
