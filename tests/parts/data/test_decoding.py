"""What decoding processes cannot do, and that nobody waits for it."""

import gc
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness import Problem, engine
from harness.engine import worker
from harness.parts.augment import PAPER, OnPixels
from harness.parts.data import ImageFolder, decoding
from harness.parts.data import photos as data_photos
from harness.parts.data.reading import opened
from harness.rng import streams
from harness.store import Store
from harness.train import PLAIN
from tests.kit.tiny import BASELINE

CPU = torch.device("cpu")
TREE = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def one_decoder(monkeypatch):
    """Processes that a test leaves are ended within the interval that torch waits, here 0.2 s and not 5."""
    monkeypatch.setattr(decoding, "_alone", False)
    monkeypatch.setenv("HARNESS_DECODERS", "1")
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.2)
    yield
    gc.collect()


@pytest.fixture
def photos(tmp_path):
    for part, count in (("train", 8), ("val", 1)):
        for name in ("cat", "dog"):
            (tmp_path / "pets" / part / name).mkdir(parents=True)
            for i in range(count):
                noise = np.random.default_rng([count, i, len(name)]).integers(0, 256, (80, 90, 3), dtype=np.uint8)
                Image.fromarray(noise).save(tmp_path / "pets" / part / name / f"{i}.png")
    return ImageFolder(root=tmp_path / "pets", size=72).load()


def epoch(photos, augment=PAPER):
    return list(photos.train(1, 3, augment, streams(0), CPU))


def same(served, others):
    return all(torch.equal(x, z) and torch.equal(y, w) for (x, y), (z, w) in zip(served, others, strict=True))


@pytest.fixture
def unlike(monkeypatch):
    """Batches are sent, as those whose images are of many sizes."""
    monkeypatch.setattr(data_photos._Batches, "like", None)


def no_room(after):
    """As a /dev/shm that is full after so many tensors: torch's own words."""
    true, shared = torch.UntypedStorage._share_fd_cpu_, []

    def share(storage, *args, **options):
        shared.append(storage)
        if len(shared) > after:
            raise RuntimeError(
                "unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)"
            )
        return true(storage, *args, **options)

    return share


@pytest.mark.parametrize("decoders", ["1", "2"])
@pytest.mark.parametrize("batches", [0, 1, 2])
def test_a_batch_that_cannot_be_sent_is_decoded_here_and_all_that_follow(
    photos, batches, decoders, unlike, monkeypatch, capfd
):
    monkeypatch.setenv("HARNESS_DECODERS", "0")
    expected = epoch(photos)
    monkeypatch.setenv("HARNESS_DECODERS", decoders)
    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", no_room(2 * batches))  # images and labels
    assert len(expected) == 5
    assert same(epoch(photos), expected)
    assert decoding.decoders() == 0
    assert same(epoch(photos), expected)
    assert len(list(photos.test(1, CPU))) == 2
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1
    assert "photos are decoded in the training process, which is slower" in said[0]
    assert "No space left on device" in said[0]
    assert "docker run --shm-size=8g" in said[0]


class Odd(OnPixels):
    """Not the uint8 that is asked for."""

    def on_pixels(self, images, rng):
        return images * 0.5 - 20


def test_what_fits_into_no_slot_is_sent_and_without_memory_all_is(photos, monkeypatch):
    monkeypatch.setenv("HARNESS_DECODERS", "0")
    due, odd = [[(x.clone(), y) for x, y in epoch(photos, parts)] for parts in ((), (Odd(),))]
    monkeypatch.setenv("HARNESS_DECODERS", "1")
    assert same(epoch(photos, (Odd(),)), odd)
    monkeypatch.setattr(decoding, "mmap", lambda *args: (_ for _ in ()).throw(OSError(12, "Cannot allocate memory")))
    assert same(epoch(photos, ()), due)
    assert not same(odd, due)


@pytest.mark.parametrize("decoders", ["1", "2"])
def test_a_ring_has_every_batch_and_no_slot_is_written_while_it_is_read(photos, decoders, monkeypatch, capfd):
    """Of 12 epochs of five batches. Labels are kept as they are, and images are not."""
    monkeypatch.setenv("HARNESS_DECODERS", "0")
    few = partial(photos.train, 0, 3, PAPER, streams(0), CPU)
    due = [(x.clone(), y) for x, y in few(0, 12)]
    monkeypatch.setenv("HARNESS_DECODERS", decoders)
    turns, read = [], decoding.Ring.read

    def look(ring, slot):
        turns.append((ring.turns, slot.place))
        x, y = read(ring, slot)
        before = x.clone()
        time.sleep(0.005)  # the decoding processes are ahead, as far as they may
        assert torch.equal(x, before)
        return x, y

    monkeypatch.setattr(decoding.Ring, "read", look)
    served = []
    for x, y in few(0, 12):
        served.append((x.clone(), y))
    assert same(served, due)
    assert {turn for turn, _ in turns} == {2 * int(decoders) + 2}
    assert [slot for _, slot in turns[:9]] == [place % turns[0][0] for place in range(9)]
    assert [len(y) for _, y in photos.test(3, CPU)] == [2]
    assert turns[-1] == (1, 0), "of one batch there is one slot"
    assert capfd.readouterr().err == ""


def test_a_temporary_folder_of_a_long_name_is_no_wait(photos, unlike, tmp_path, monkeypatch, capfd):
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.delitem(multiprocessing.current_process()._config, "tempdir", raising=False)
    assert len(epoch(photos)) == 5
    (said,) = capfd.readouterr().err.splitlines()
    assert "AF_UNIX path too long" in said
    assert "TMPDIR a short path" in said


SMALL = """
import sys, torch
from harness.parts.data import ImageFolder, photos
from harness.rng import streams
if sys.argv[2] == "sent":
    photos._Batches.like = None
images = ImageFolder(root=sys.argv[1], size=600).load()
print(sum(len(y) for _, y in images.train(0, 4, (), streams(0), torch.device("cpu"))))
"""


@pytest.mark.parametrize("how", ["sent", "by the ring"])
def test_a_shared_memory_as_small_as_a_containers_is_no_wait(how, photos):
    """In truth: 4 MB for batches of 4.3 MB. The ring needs none of it."""
    inside = 'mount --bind "$1" /mnt && mount -t tmpfs -o size=4m tmpfs /dev/shm && echo mounted && '
    inside += f'exec "{sys.executable}" -c "$0" /mnt "$2"'  # where the photos were may be hidden now
    try:
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", inside, SMALL, photos.root, how],
            capture_output=True,
            text=True,
            cwd=TREE,
            env={**os.environ, "PYTHONPATH": str(TREE), "TMPDIR": "/tmp"},
            timeout=120,
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    if not done.stdout.startswith("mounted"):
        pytest.skip("a file system may not be mounted here")
    assert done.stdout.split() == ["mounted", "16"]
    if how == "by the ring":
        assert done.stderr == ""
        return
    (said,) = done.stderr.splitlines()
    assert "/dev/shm more room" in said


def test_where_there_can_be_no_queue_the_training_process_decodes(photos, monkeypatch, capsys):
    expected = epoch(photos)

    def refuse(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", refuse)
    assert same(epoch(photos), expected)
    assert "No space left on device" in capsys.readouterr().err


ENDS = {
    "hangs": (lambda: time.sleep(60), "in 1 s: free memory"),
    "dies": (lambda: os.kill(os.getpid(), signal.SIGKILL), "DataLoader worker .pid"),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_process_that_gives_no_batch_is_not_waited_for(photos, how, monkeypatch):
    ends, says = ENDS[how]
    monkeypatch.setattr(decoding, "PATIENCE", 1)
    monkeypatch.setattr("harness.parts.data.photos.opened", lambda path: ends())
    begun = time.monotonic()
    with pytest.raises(Problem, match="the processes that decode photos are gone, or gave no batch in 1 s") as caught:
        epoch(photos)
    assert time.monotonic() - begun < 20
    said = str(caught.value)
    assert re.search(says, said)
    assert "HARNESS_DECODERS=0" in said
    assert "\n" not in said
    del caught
    gc.collect()
    assert not multiprocessing.active_children(), "it ends when the training process says so"


def test_what_is_sent_to_all_ends_no_decoding_process(photos, monkeypatch):
    """As `timeout` and systemd do: the study is stopped, and its run is kept; without its decoders it would fail."""
    monkeypatch.setenv("HARNESS_DECODERS", "0")
    expected, ours = epoch(photos), os.getpid()
    monkeypatch.setenv("HARNESS_DECODERS", "2")

    def told(path):
        assert os.getpid() != ours
        subprocess.run(["kill", "-TERM", str(os.getpid())], check=True)
        return opened(path)

    monkeypatch.setattr("harness.parts.data.photos.opened", told)
    assert same(epoch(photos), expected)


class Slow(OnPixels):
    """Its first batch takes for ever."""

    def on_pixels(self, images, rng):
        time.sleep(60)
        return images

    def proof(self, spec, trace):
        return ()


def test_a_run_is_left_while_a_batch_takes_for_ever(photos, tmp_path, monkeypatch):
    """On Ctrl-C or SIGTERM: there is no next batch to stop at."""
    monkeypatch.setattr(decoding, "BEAT", 0.5)
    data = ImageFolder(root=tmp_path / "pets", size=72)
    spec, store = BASELINE.but(data=data, batch_size=4, augment=(Slow(),)), Store(tmp_path / "store")
    asked, begun = iter((False, False, True)), time.monotonic()
    with pytest.raises(engine.Interrupted):
        engine.execute(spec, 0, store, CPU, stop=lambda: next(asked))
    assert time.monotonic() - begun < 30
    assert next(asked, None) is None, "it was waited for until then"
    assert [event["event"] for event in store.events(spec.id, 0)] == ["started", "interrupted"]
    decoding.waiting()  # it is nobody's any more


def test_a_batch_that_takes_long_is_waited_for(photos, monkeypatch):
    monkeypatch.setenv("HARNESS_DECODERS", "0")
    expected = epoch(photos)
    monkeypatch.setenv("HARNESS_DECODERS", "1")
    monkeypatch.setattr(decoding, "BEAT", 0.2)
    beats = []
    monkeypatch.setattr(decoding, "waiting", lambda: beats.append(1))
    monkeypatch.setattr("harness.parts.data.photos.opened", lambda path: (time.sleep(0.3), opened(path))[1])
    assert same(epoch(photos), expected)
    assert len(beats) > 3


def test_a_decoding_process_ends_with_the_training_process(photos):
    environment = {**os.environ, "PYTHONPATH": str(TREE)}
    held, ours = os.pipe()
    with subprocess.Popen([sys.executable, "-c", HELD, photos.root], cwd=TREE, env=environment, pass_fds=[ours]):
        os.close(ours)
        begun = time.monotonic()
        assert os.read(held, 1) == b"", "until the last that has it is gone"
    os.close(held)
    assert time.monotonic() - begun < 60


HELD = """
import os, sys, threading, time
import torch
from harness.rng import streams
images = data.ImageFolder(root=sys.argv[1], size=72).load()
data.opened = lambda path: time.sleep(300)
threading.Timer(2, os.kill, (os.getpid(), 9)).start()
next(images.train(0, 4, (), streams(0), torch.device("cpu")))
"""


def test_the_next_epoch_is_begun_while_this_one_ends(photos, tmp_path):
    """An epoch is one batch of 16: what is opened beyond it is of the next."""

    class Noted(type(photos)):
        def picture(self, name):
            with (tmp_path / "opened").open("a") as file:
                file.write(f"{name}\n")
            return super().picture(name)

    noted = Noted(**{each.name: getattr(photos, each.name) for each in fields(photos)})
    files = [name for name, _ in noted.files["train"]]
    served = noted.train(0, 16, (), streams(0), CPU, until=2)
    next(served)
    due = time.monotonic() + 60
    while len(told := (tmp_path / "opened").read_text().split()) < 32 and time.monotonic() < due:
        time.sleep(0.05)
    served.close()
    orders = [noted.order(epoch, 16, streams(0))[0].tolist() for epoch in (0, 1)]
    assert told == [files[place] for order in orders for place in order]
    assert orders[0] != orders[1]


class Wrong(OnPixels):
    def on_pixels(self, images, rng):
        raise RuntimeError("a user's mistake")


def test_what_a_users_part_raises_keeps_its_traceback(photos):
    with pytest.raises(RuntimeError, match=r"Caught RuntimeError in DataLoader worker(.|\n)*in on_pixels"):
        epoch(photos, (Wrong(),))
    assert decoding.decoders() == 1


@pytest.mark.parametrize("text", ["", "two", "-1", "1.5"])
def test_a_number_of_decoders_that_is_none_is_said(text, monkeypatch):
    monkeypatch.setenv("HARNESS_DECODERS", text)
    with pytest.raises(Problem, match=f"HARNESS_DECODERS={text}: a whole number is needed"):
        decoding.decoders()


class Over:
    """What a training process is told: nothing more."""

    def recv(self):
        return None

    def poll(self):
        return True

    def send(self, event):
        pass


@pytest.mark.parametrize("user", ["7", None])
def test_a_number_of_decoders_that_a_user_set_stays(user, monkeypatch):
    monkeypatch.setattr(worker, "begin_as_worker", lambda: None)
    monkeypatch.setattr(worker, "settle", lambda place: CPU)
    if user is None:
        monkeypatch.delenv("HARNESS_DECODERS")
    else:
        monkeypatch.setenv("HARNESS_DECODERS", user)
    worker.work(Over(), None, "cpu", 3, 1.0, PLAIN)
    assert os.environ["HARNESS_DECODERS"] == (user or "3")
