"""`harness COMMAND …`, or `python -m harness COMMAND …`: `python -m harness.COMMAND …`; alone, what there is."""

import ast
import runpy
import sys
from difflib import get_close_matches
from pathlib import Path

from harness import __version__, one_line
from harness.cli import open_displays


def commands() -> dict[str, str]:
    """The commands by name, with what each is for; none is imported."""
    here = Path(__file__).parent
    files = {path.stem: path for path in here.glob("[!_]*.py")} | {p.parent.name: p for p in here.glob("*/__main__.py")}
    texts = {name: path.read_text() for name, path in files.items()}
    return {
        name: (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0].rpartition("`: ")[2]
        for name, text in sorted(texts.items())
        if '__name__ == "__main__"' in text
    }


def main() -> None:
    """Exits with 2 where there is no such command."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    known = commands()
    if name in known:
        del sys.argv[1]
        runpy.run_module(f"harness.{name}", run_name="__main__", alter_sys=True)
        return
    open_displays()
    if name in ("-V", "--version"):
        print(f"harness {__version__}")
    elif name in ("-h", "--help"):
        print("harness COMMAND [OPTION …]: an ablation study, from its file to its table. The commands:\n")
        for command, about in known.items():
            print(f"  {command:10} {about}")
        print("\nharness COMMAND --help tells the options of one. Begin with harness new, or harness ablate --list.")
        print(f"For a program that calls them: {Path(__file__).parent / 'SKILL.md'}; from code: API.md beside it.")
    else:
        near = get_close_matches(name, known, 1)
        told = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        print(f"harness: no command {one_line(name)!r}; {told}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
