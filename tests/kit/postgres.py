"""A PostgreSQL server of one's own, on this machine: `python -m tests.kit.postgres` runs one until Ctrl-C.

For a search that several processes share, and for MLflow's records. It needs Debian's packages and no root: started by
root it runs as `postgres`, or `nobody`, since PostgreSQL refuses to be root. It listens on 127.0.0.1 alone and asks for
a password, which its folder keeps with the data. As a context, for tests:

    with server() as pg:
        pg.url("optuna"); pg.kill(); pg.start()
"""

import argparse
import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from harness import Problem, one_line
from harness.cli import main

NEEDED = "there is no PostgreSQL: apt-get install postgresql"
DATABASES = ("optuna", "mlflow")
PORT = 55432  # not PostgreSQL's own 5432, where Debian's service listens once the package is there
WAIT = 60.0  # seconds for a start, which reads the log of what was killed
SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def binaries() -> Path | None:
    """The folder of PostgreSQL's programs, Debian's newest or the one on PATH; None where there is none."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    found = versions[-1] if versions else shutil.which("postgres")
    return Path(found).resolve().parent if found else None


class Server:
    """A server on the data in `folder`, made where there is none; its databases and what reaches them."""

    def __init__(self, folder: Path, port: int) -> None:
        found = binaries()
        if found is None:
            raise Problem(NEEDED)
        self.binaries, self.folder, self.port = found, folder.absolute(), port
        self.process: subprocess.Popen | None = None

    @property
    def password(self) -> str:
        return (self.folder / "password").read_text()

    def url(self, database: str) -> str:
        """As SQLAlchemy takes it, and so Optuna and MLflow."""
        return f"postgresql+psycopg2://harness:{self.password}@127.0.0.1:{self.port}/{database}"

    def ask(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """The rows that a query finds; none of a statement that asks for nothing."""
        import psycopg2

        where = {"host": "127.0.0.1", "port": self.port, "user": "harness", "password": self.password}
        with closing(psycopg2.connect(dbname=database, connect_timeout=5, **where)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Returns when it answers. Raises Problem with the server's own words where it ends instead."""
        self._make()
        since, log = time.monotonic(), self.folder / "server.log"
        while True:
            begin = log.stat().st_size if log.exists() else 0
            self._launch()
            while self.process and self.process.poll() is None and time.monotonic() < since + WAIT:
                with suppress(Exception):  # psycopg2's: it starts, or recovers
                    if self._is_ours():
                        self._make_databases()
                        return
                time.sleep(0.05)
            with log.open(errors="replace") as file:
                file.seek(begin)
                why = file.read()
            # Those who served a killed one's connections still end, for some tenths of a second.
            if "pre-existing shared memory block" not in why or time.monotonic() > since + WAIT:
                self.stop()
                raise Problem(f"PostgreSQL in {self.folder} did not start: {one_line(why, 600)}")
            time.sleep(0.2)

    def kill(self) -> None:
        """kill -9 of the server itself; those who serve its connections see it, and end."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """As a machine that shuts down does: connections are closed, data is written."""
        self._signal(signal.SIGINT)

    def _signal(self, number: signal.Signals) -> None:
        if self.process:
            self.process.send_signal(number)
            self.process.wait()
            self.process = None

    def _run(self, program: str, *words: str, **how: Any) -> subprocess.Popen:
        """Not as root; it ends with this process, however that ends."""
        if os.getuid() == 0:
            user = _servant()
            how |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        line = [str(self.binaries / program), *words]
        return subprocess.Popen(line, cwd=self.folder, start_new_session=True, preexec_fn=_die_with_parent, **how)

    def _launch(self) -> None:
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "log_line_prefix": ""}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "server.log").open("ab") as log:
            self.process = self._run(
                "postgres", "-D", str(self.folder / "data"), "-p", str(self.port), *words, stdout=log, stderr=log
            )

    def _is_ours(self) -> bool:
        """Whether the data is this server's to serve, and not that of another that was there before."""
        assert self.process
        return (self.folder / "data" / "postmaster.pid").read_text().split()[0] == str(self.process.pid)

    def _make(self) -> None:
        """The data's folder, whole or not at all."""
        if (self.folder / "data").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        new, password = self.folder / "data.new", self.folder / "password"
        shutil.rmtree(new, ignore_errors=True)  # of a start that was killed
        new.mkdir(0o700)
        password.touch(0o600)
        password.write_text(secrets.token_hex(16))
        if os.getuid() == 0:
            for path in (new, password):
                shutil.chown(path, _servant().pw_name)
        words = ["-D", str(new), "-U", "harness", "-A", "scram-sha-256", f"--pwfile={password}"]
        made = self._run(
            "initdb", *words, "--no-locale", "-E", "UTF8", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        said = made.communicate()[0]
        if made.returncode:
            who = f"; the user {_servant().pw_name} must reach that folder" if os.getuid() == 0 else ""
            raise Problem(f"initdb in {self.folder} failed: {one_line(said.splitlines()[-1], 300)}{who}")
        new.rename(self.folder / "data")

    def _make_databases(self) -> None:
        there = {name for (name,) in self.ask("postgres", "select datname from pg_database")}
        for name in DATABASES:
            if name not in there:
                self.ask("postgres", f"create database {name}")


def _servant() -> pwd.struct_passwd:
    """Whom root lets run the server."""
    try:
        return pwd.getpwnam("postgres")  # Debian's package makes it
    except KeyError:
        return pwd.getpwnam("nobody")


def _die_with_parent() -> None:  # the kernel means the thread that started it
    ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGINT)


@contextmanager
def server(folder: Path | None = None, port: int | None = None) -> Iterator[Server]:
    """A server that runs, on a port that is free; without `folder` on data that is removed at the end."""
    if port is None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="harness-postgres-") as own:
        Path(own).chmod(0o755)  # for whoever runs the server
        pg = Server(folder or Path(own), port)
        try:
            pg.start()
            yield pg
        finally:
            pg.stop()


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="tests.kit.postgres", description="Run a PostgreSQL server until Ctrl-C.")
    p.add_argument("--port", type=int, default=PORT, help="on 127.0.0.1 (default: %(default)s)")
    p.add_argument("--folder", type=Path, help="where its data is kept (default: postgres/ in the folder of runs)")
    return p


def run(options: argparse.Namespace) -> int:
    from harness.paths import runs

    with server(options.folder or runs() / "postgres", options.port) as pg:
        assert pg.process
        print(f"PostgreSQL keeps its data in {pg.folder}; Ctrl-C stops it, and the same command starts it again.")
        print(f"  a search:     python -m harness.search STUDY --storage {pg.url('optuna')}")
        print(f"  its tracking: export MLFLOW_TRACKING_URI={pg.url('mlflow')}", flush=True)
        try:
            pg.process.wait()
        except KeyboardInterrupt:
            return 0
    raise Problem(f"PostgreSQL was stopped from outside, see {pg.folder}/server.log; the same command starts it again")


if __name__ == "__main__":
    main(parser(), run)
