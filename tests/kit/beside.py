"""A plugin of pytest's, for a tree in which a user's own lie beside what is shipped: `-p tests.kit.beside`.

Of the cases of a test the first is tried, those of mixup, and those that a user's own file brought: the others are
what they are without it.
"""

OWN = ("boxmix", "loss.py", "torn")


def pytest_collection_modifyitems(items):
    met = set()
    for item in list(items):
        first, case = item.nodeid.partition("[")[0], item.nodeid.partition("[")[2]
        if first in met and not any(word in case for word in ("mixup", *OWN)):
            items.remove(item)
        met.add(first)
