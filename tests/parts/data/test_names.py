import pytest

from harness import Problem
from harness.parts.data import ImageFolder
from harness.parts.data.names import named
from tests.kit.own_data import as_folder, photos


def of(tmp_path, text, classes=("n02", "n10")):
    (tmp_path / "names.txt").write_text(text)
    return named(classes, tmp_path / "names.txt")


@pytest.mark.parametrize(
    ("text", "classes", "due"),
    [
        ("red fox\ngrey wolf\n", ("n02", "n10"), ("red fox", "grey wolf")),
        ("n10 grey wolf\nn02 red fox\nn99 seal\n", ("n02", "n10"), ("red fox", "grey wolf")),
        ("n02\tred fox\n\nn10\tgrey wolf", ("n02", "n10"), ("red fox", "grey wolf")),
        ('label,name\nn02,"red, or not"\nn10,wolf', ("n02", "n10"), ("red, or not", "wolf")),
        ("zero\none\ntwo\nthree", ("1", "3"), ("one", "three")),
        ("\ufeffa\nb", ("0", "1"), ("a", "b")),
    ],
)
def test_names_are_by_order_or_by_class(tmp_path, text, classes, due):
    assert of(tmp_path, text, classes) == due


def test_without_a_file_classes_are_called_as_they_are():
    assert named(("a", "b"), None) == ("a", "b")


@pytest.mark.parametrize(
    ("text", "classes", "says"),
    [
        ("red fox\n", ("n02", "n10"), "1 names for 2 classes"),
        ("n02 fox\nn10 fox", ("n02", "n10"), "two classes are called fox"),
        ("a\nb", ("1", "2"), "no name for 2: add a line"),
        ("n1 a\nn2 b\nn3 c", ("n1", "n2", "n4"), "no name for n4"),
    ],
)
def test_a_file_that_will_not_do_is_one_line(tmp_path, text, classes, says):
    with pytest.raises(Problem, match=says) as caught:
        of(tmp_path, text, classes)
    assert "\n" not in str(caught.value)
    with pytest.raises(Problem, match="data.names=.* cannot be read"):
        named(classes, tmp_path)


def test_names_are_no_part_of_the_data(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_RUNS", str(tmp_path / "runs"))
    plain = ImageFolder(root=as_folder(tmp_path / "pets", photos()), size=16)
    (tmp_path / "names.txt").write_text("cat tabby\ndog beagle\n")
    called = plain.but(names=tmp_path / "names.txt")
    assert called.load().classes == ("tabby", "beagle")
    assert called.load().digest == plain.load().digest
    assert called.identity() == plain.identity()
