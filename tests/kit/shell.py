"""A shell in a user's folder, with a package that is installed; and transcripts, of which each command is given to it.

A transcript is text: `$ ` begins a command, and what follows, up to an empty line and the next, is what it prints. In
that … is anything in a line, and a line of nothing else any lines. Lines that begin with `# ` are for the reader.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

COMMANDS = """
import atexit, gc, json, os, runpy, sys, traceback
from functools import partial
import mlflow, mlflow.store.tracking.sqlalchemy_store, seaborn, tabulate, jinja2, pandas.io.formats.style, rich.live
extras = ["onnx", "onnxscript", "onnxruntime", "tensorboard", "wandb"]
sys.modules |= dict.fromkeys(extras)  # which a plain installation has not
import harness.engine, harness.study, harness.report, harness.tracking, harness.parts.data, harness.outcomes.networks
import torch._dynamo  # seconds, that the first optimizer of a process would take

harness.engine.Engine = partial(harness.engine.Engine, method="fork")  # workers need not import it all once more
gc.freeze()
print("ready", flush=True)
while line := sys.stdin.readline():
    file, words = json.loads(line)
    pid = os.fork()
    if not pid:
        out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(out, number)
        sys.argv = words[words[0] == "python" :]
        code = 0
        try:
            if words[0] == "harness":
                from harness.__main__ import main
                main()
            else:
                runpy.run_path(words[1], run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
            code = 1
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)  # Python would take apart, object by object, what the process that it is a copy of has
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""  # a process that has imported what commands do, and forks for each: of seconds that each takes most are for that


@dataclass
class Shell:
    """`harness` and `python` are those of the package; anything else is the system's."""

    folder: Path
    environment: dict[str, str]
    code: int = 0  # how the last command ended

    def __enter__(self) -> Self:
        line = [sys.executable, "-u", "-W", "ignore::DeprecationWarning", "-c", COMMANDS]
        self.process = subprocess.Popen(
            line, cwd=self.folder, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def __call__(self, line: str) -> str:
        """What a line prints, on both streams."""
        words = line.split()
        if line == "echo $?":
            return f"{self.code}\n"
        if words[0] not in ("harness", "python"):
            done = subprocess.run(line, shell=True, cwd=self.folder, capture_output=True, text=True)
            self.code = done.returncode
            return done.stdout + done.stderr
        said = self.folder.parent / "said.txt"
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([str(said), words]) + "\n")
        self.process.stdin.flush()
        self.code = int(self.process.stdout.readline())
        return said.read_text()


def commands(transcript: str) -> Iterator[tuple[str, str]]:
    """Each command of a transcript, with a file that it is given up to END, and what it should print."""
    for block in re.split(r"^\$ ", transcript, flags=re.M)[1:]:
        block = re.split(r"\n\n# ", block)[0]
        if file := re.match(r"(?s).*?<< 'END'\n.*?^END\n", block, flags=re.M):
            yield file.group(), block[file.end() :].strip("\n")
        else:
            line, _, due = block.partition("\n")
            yield line, due.strip("\n")


def like(due: str) -> str:
    """A regular expression of what may be printed."""
    lines = due.splitlines()
    return "\n*" + "".join(ANY if line == "…" else re.escape(line).replace("…", ".*") + "\n" for line in lines) + "\n*"


ANY = r"(?:.*\n)*?"
