"""`python -m harness.tricks [NAME]`: the tricks there are, and the card of one."""

import argparse
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from harness import Problem, one_line, tricks
from harness.cli import answer, main

SOURCE = re.compile(r"\(([^()]*\d{4}[^()]*)\)")  # in the first paragraph of a trick's file
LABELS = ("Hurts", "Cost")  # paragraphs of a trick's docstring, or its file's, that begin with such a word


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="harness.tricks",
        description="List the tricks there are; of one print its card: source, slots, fields, when it hurts, cost.",
    )
    p.add_argument("name", nargs="?", help="a trick, as the list has it")
    p.set_defaults(shows=True)
    return p


def run(options: argparse.Namespace) -> None:
    cards = dict(found())
    if options.name is None:
        listed = ("name", "slots", "source", "about")
        answer([{key: card[key] for key in listed} for card in cards.values()])
        print("\n".join(row(card, max(map(len, cards))) for card in cards.values()))
        return
    if options.name not in cards:
        near = get_close_matches(options.name, cards, 1)
        told = f"did you mean {near[0]}?" if near else "python -m harness.tricks lists all"
        raise Problem(f"no trick {one_line(options.name)!r}; {told}")
    answer(cards[options.name])
    print(text(cards[options.name]))


def found() -> Iterator[tuple[str, dict[str, Any]]]:
    """The card of each function of this folder that declares its slots, by its name."""
    for name in sorted(each.name for each in pkgutil.iter_modules(tricks.__path__) if each.name != "__main__"):
        try:
            own = vars(importlib.import_module(f"{tricks.__name__}.{name}"))
        except Exception as error:  # of a user's own file
            print(f"harness.tricks: left out: {name}: {one_line(f'{type(error).__name__}: {error}')}", file=sys.stderr)
            continue
        made = [each for each in own.values() if getattr(each, "__module__", "") == f"{tricks.__name__}.{name}"]
        yield from ((each.__name__, card(each)) for each in made if getattr(each, "declared", ()))


def card(trick: Any) -> dict[str, Any]:
    """What docstrings and signatures say of a trick, JSON-ready."""
    own = inspect.getmodule(trick)
    title, _, rest = (inspect.getdoc(trick) or "").partition(":")
    about, *more = paragraphs(rest)
    head, *file = paragraphs(inspect.getdoc(own) or "")
    told = {name: text for name, _, text in (each.partition(": ") for each in (*file, *more)) if name in LABELS}
    source = SOURCE.search(head)
    return {
        "name": trick.__name__,
        "title": title,
        "about": about,
        "slots": list(trick.declared),
        "source": source[1] if source else "",
        "fields": [
            {"name": each.name, "default": brief(each.default)}
            for each in list(inspect.signature(trick).parameters.values())[1:]
        ],
        "parts": [
            {"kind": each.__name__, "about": paragraphs(inspect.getdoc(each) or "")[0]}
            for each in vars(own).values()
            if inspect.isclass(each) and each.__module__ == trick.__module__ and hasattr(each, "identity")
        ],
        "more": [each for each in more if each.partition(": ")[0] not in LABELS],
        "hurts": told.get("Hurts", ""),
        "cost": told.get("Cost", ""),
        "import": f"from {trick.__module__} import {trick.__name__}",
    }


def paragraphs(text: str) -> list[str]:
    """Those of a docstring, each as one line."""
    return [" ".join(each.split()) for each in text.split("\n\n")]


def brief(value: Any) -> str:
    """A default as a reader would write it: a function by its name, a number to four digits."""
    if isinstance(value, tuple):
        return f"({', '.join(map(brief, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value.__name__ if inspect.isfunction(value) else repr(value)


def row(card: dict[str, Any], wide: int) -> str:
    return f"{card['name']:{wide}}  {card['about']} Slot: {', '.join(card['slots'])}. {card['source']}."


def text(card: dict[str, Any]) -> str:
    fields = ", ".join(f"{each['name']}={each['default']}" for each in card["fields"])
    lines = [
        f"{card['title']}: {card['about']}",
        *card["more"],
        "",
        f"source  {card['source']}",
        f"slots   {', '.join(card['slots'])}",
        *(f"part    {each['kind']}: {each['about']}" for each in card["parts"]),
        f"fields  {fields or 'none'}",
        f"hurts   {card['hurts']}",
        f"cost    {card['cost']}",
        f"use     {card['import']}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main(parser(), run)
