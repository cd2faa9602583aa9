"""An address where files are put, created and read: a folder, or a place in an object store, by fsspec."""

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import Problem, one_line, without_password
from harness.paths import expanded, sync_folder, write_all

FORMAT = 1
MARK = "harness.json"  # says that runs are here, and that what is here is not overwritten: see `ready`
WAITS = (0.1, 0.4, 1.6, 6.4)  # seconds before one asks again who was first
UNKNOWN = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "RefreshError")  # who asks
NO_NAME = ("ParamValidationError", "InvalidBucketName")
SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class Away(Problem):
    """The address does not do what it is asked, whatever the run: nothing can go on."""


class Address:
    """All names are relative to it. Whatever fsspec and its back ends raise becomes an `Away` of one line."""

    def __init__(self, url: str) -> None:
        self.shown = one_line(without_password(url, url), 200).rstrip("/")
        self.url = url
        with self._clear():
            from fsspec.core import url_to_fs
            from fsspec.implementations.local import LocalFileSystem

            self.fs, root = url_to_fs(url if "://" in url else str(expanded(url)), skip_instance_cache=True)
            self.root = str(root).rstrip("/")
            self.local = isinstance(self.fs, LocalFileSystem)

    def listed(self, folder: str) -> dict[str, int]:
        """The bytes of every file below `folder`, by name."""
        with self._clear():
            self.fs.invalidate_cache()
            found = self.fs.find(f"{self.root}/{folder}", detail=True)
            return {path[len(self.root) + 1 :]: int(info["size"] or 0) for path, info in found.items()}

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError where there is none."""
        with self._clear(missing=True):
            data: bytes = self.fs.cat_file(f"{self.root}/{name}")
            return data

    def put(self, name: str, data: bytes) -> None:
        """The whole of it, or nothing, over what is there."""
        with self._clear():
            if self.local:
                temporary = self._beside(name, data)
                os.replace(temporary, f"{self.root}/{name}")
                sync_folder(temporary.parent)
            else:
                self.fs.pipe_file(f"{self.root}/{name}", data)

    def create(self, name: str, data: bytes) -> None:
        """The whole of it, or nothing. Raises FileExistsError where one is there: of several at once, one wins."""
        with self._clear():
            for wait in (*WAITS, None):
                try:
                    return self._create(name, data)
                except OSError as error:
                    code = _code(error)
                    if code == "PreconditionFailed":  # not every store says which, as s3fs wants it
                        raise FileExistsError(name) from None
                    if code != "ConditionalRequestConflict" or wait is None:
                        raise
                    time.sleep(wait)  # another creates it at this moment, and may yet fail

    def _create(self, name: str, data: bytes) -> None:
        path = f"{self.root}/{name}"
        if self.local:
            temporary = self._beside(name, data)
            try:
                os.link(temporary, path)
            finally:
                temporary.unlink()
            sync_folder(temporary.parent)
        elif _asks_first(self.fs):
            with self.fs.open(path, "xb") as file:
                file.write(data)
        else:
            self.fs.pipe_file(path, data, mode="create")

    def _beside(self, name: str, data: bytes) -> Path:
        """A file that nobody reads, in the folder of that which it becomes."""
        path = Path(self.root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{secrets.token_hex(8)}")
        try:
            with temporary.open("xb") as file:
                write_all(file.fileno(), data)
                os.fsync(file.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def ready(self) -> None:
        """Raises Away where what is there can be overwritten, which some back ends do without a word."""
        mark = json.dumps({"format": FORMAT, "what": "runs of an ablation harness"}).encode()
        for _ in range(2):
            try:
                self.create(MARK, mark)
            except FileExistsError:
                return self.known()
        raise Away(
            f"{self.shown} overwrites a file that it was asked to create, so a run could be lost: "
            f"{ADVICE}, or take a store that knows If-None-Match"
        )

    def known(self) -> None:
        """Raises Away where no runs were pushed here, or by a newer harness."""
        try:
            version = json.loads(self.read(MARK))["format"]
        except FileNotFoundError:
            raise Away(
                f"{self.shown} holds no runs: no {MARK} is there; is it the address that was pushed to?"
            ) from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Away(f"{self.shown}/{MARK} is damaged: remove it there, and push again") from None
        if version != FORMAT:
            raise Away(f"{self.shown} is of format {one_line(str(version))}, not {FORMAT}: use a newer harness")

    @contextmanager
    def _clear(self, missing: bool = False) -> Iterator[None]:
        """Make a line of what a back end raises. Where a name may be `missing`, that is the caller's to say."""
        try:
            yield
        except (Problem, FileExistsError):
            raise
        except FileNotFoundError as error:
            if missing:
                raise
            raise Away(
                f"{self.shown} is not there ({self._text(error)}): make the bucket or the folder first"
            ) from None
        except ImportError as error:
            raise Away(f"{self.shown} needs a package ({self._text(error)}): {ADVICE}") from None
        except Exception as error:
            text = self._text(error)
            if "Protocol not known" in text:
                raise Away(f"{self.shown} is of no kind that is known ({text}): {KINDS}") from None
            if isinstance(error, PermissionError) or type(error).__name__ in UNKNOWN:
                advice = "see to its credentials (S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
                raise Away(f"{self.shown} lets nobody in by what it was given ({text}): {advice}") from None
            if isinstance(error, NotImplementedError | ValueError | TypeError) or type(error).__name__ in NO_NAME:
                raise Away(f"{self.shown} cannot hold runs ({text}): {KINDS}; perhaps {ADVICE}") from None
            raise Away(f"{self.shown} does not answer ({text}): the same command goes on from here") from None

    def _text(self, error: Exception) -> str:
        """What an error says, without a password, nor a key that it quotes."""
        text = without_password(str(error) or type(error).__name__, self.url)
        for secret in filter(None, map(os.environ.get, SECRETS)):
            text = text.replace(secret, "***")
        return one_line(text, 300)


def _code(error: OSError) -> str:
    """What S3 calls an error that s3fs has made its own of."""
    response: Any = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _asks_first(fs: Any) -> bool:
    """Whether creating is fsspec's own for those that know no better: to ask whether it is there, and then to write."""
    from fsspec.spec import AbstractFileSystem

    return type(fs).pipe_file is AbstractFileSystem.pipe_file and not hasattr(fs, "_pipe_file")


KINDS = "take a folder, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER"
ADVICE = 'pip install --upgrade "ablation-harness[remote]" (for gs://, gcsfs too)'
