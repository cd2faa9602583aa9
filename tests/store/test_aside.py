from harness.store.aside import bring_back, everything, free, today
from harness.store.command import removed
from tests.kit.stores import KEY, add
from tests.kit.tiny import BASELINE


def test_set_aside_and_brought_back_is_the_same_to_the_byte(store):
    before = {path.name: path.read_bytes() for path in store.folder(*KEY).iterdir()}
    store.set_aside(*KEY)
    assert list(store) == []
    assert list(store.root.iterdir()) == []
    (one,) = everything(store)
    assert one.key == KEY
    assert bring_back(store, one)
    assert {path.name: path.read_bytes() for path in store.folder(*KEY).iterdir()} == before
    assert list(everything(store)) == []
    assert not (store.root.parent / "aside").exists()


def test_nothing_is_brought_back_over_what_is_there(store):
    store.set_aside(*KEY)
    add(store, BASELINE, 0)
    there = store.read(*KEY)
    (one,) = everything(store)
    assert not bring_back(store, one)
    assert store.read(*KEY) == there
    store.set_aside(*KEY)
    one, two = everything(store)
    assert (one.path.name, two.path.name) == ("0", "0.2")
    free(one, store)
    assert [each.path for each in everything(store)] == [two.path]


def test_what_was_set_aside_before_there_were_days_has_the_day_it_was_moved(store):
    old = store.root.parent / "aside" / BASELINE.id / "0.1"
    old.parent.mkdir(parents=True)
    store.folder(*KEY).rename(old)
    (store.root.parent / "aside" / "mlflow.db").touch()
    run, file = sorted(everything(store), key=lambda one: one.key is None)
    assert (run.key, file.key) == (KEY, None)
    assert bring_back(store, run)
    assert not bring_back(store, file)
    free(file, store)
    assert KEY in store


def test_of_many_records_of_one_run_the_newest_comes_back(store):
    for number in range(11):
        if number:
            add(store, BASELINE, 0)
        last = store.read(*KEY)["record"]
        store.set_aside(*KEY)
    names = [one.path.name for one in everything(store)]
    assert names == ["0", *(f"0.{n}" for n in range(2, 12))]
    assert bring_back(store, [*everything(store)][-1])
    assert store.read(*KEY)["record"] == last


def test_a_day_on_which_no_run_was_set_aside_has_no_way_back(store, capsys):
    day = store.root.parent / "aside" / today()
    day.mkdir(parents=True)
    (day / "mlflow.db").write_bytes(b"x" * 1_000_000)
    removed._show_aside(list(everything(store)))
    told = capsys.readouterr().out
    assert f"aside since {today()}: 0 runs, mlflow.db, 1.0 MB\n" in told
    assert "restore" not in told
    store.set_aside(*KEY)
    removed._show_aside(list(everything(store)))
    assert f"1 run, mlflow.db, 1.0 MB; python -m harness.store restore {today()}" in capsys.readouterr().out


def test_a_move_that_was_ended_before_it_began_left_nothing(store):
    (store.root.parent / "aside" / today() / "0123456789abcdef").mkdir(parents=True)
    assert not list(everything(store))
