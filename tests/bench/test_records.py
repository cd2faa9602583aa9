from harness.bench.records import records


def test_the_store_and_its_report_are_measured():
    measured = list(records(20))
    assert [row[0] for row in measured] == [20]
    assert all(seconds > 0 for seconds in measured[0][1:])
