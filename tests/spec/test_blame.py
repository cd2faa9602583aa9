from tests.kit.commands import harness, known_to_mlflow
from tests.kit.own import OWN


def test_a_crash_of_the_users_is_told_by_their_line_and_kept_whole(tmp_path):
    known_to_mlflow(tmp_path)
    (tmp_path / "experiments").mkdir()
    text = OWN.replace("return x * GAIN", "return x @ x.new_ones(3, 3)")
    (tmp_path / "experiments" / "own.py").write_text(text)
    line = text.splitlines().index("    return x @ x.new_ones(3, 3)") + 1
    done = harness(tmp_path, "own", "--jobs", "1", "--only", "dim")
    assert done.returncode == 1 or done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "RuntimeError: " in done.stderr
    assert f"(own.py:{line})" in done.stderr
    (crash,) = (tmp_path / "runs" / "store").glob("*/0/traceback.txt")
    told = crash.read_text()
    assert "own.py" in told
    assert "train.py" in told
    shown = harness(tmp_path, "show", f"{crash.parent.parent.name}/0", module="harness.store")
    assert "return x @ x.new_ones(3, 3)" in shown.stdout
    assert "WRONG" not in shown.stdout
