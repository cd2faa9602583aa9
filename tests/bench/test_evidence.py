import re

from harness import train as loop
from harness.bench.evidence import show_evidence
from harness.bench.loop import specification


def test_what_evidence_costs_is_measured_with_and_without_it(capsys, monkeypatch):
    watched = []
    watch = loop.watch
    monkeypatch.setattr(loop, "watch", lambda spec, trace: (watched.append(spec), watch(spec, trace)))
    show_evidence(specification("small", "digits", 32, 128), "cpu", 8, 2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "8 steps of 128 images, 2 epochs; a step of each in turn"
    assert [line.split()[-1] for line in lines[2:4]] == ["8", "8"], "all steps of so few are audited"
    assert len(watched) == 2, "one of each pair"
    assert re.fullmatch(r"median cost of evidence: -?[0-9.]+% of training and evaluation", lines[-1])
