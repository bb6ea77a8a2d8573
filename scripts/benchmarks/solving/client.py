"""The driver's side of a worker: start, ask with a time limit, kill, start again."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.solving.contender import Answer

SCRIPTS = Path(__file__).resolve().parents[2]
POOLS = ("OMP", "MKL", "OPENBLAS", "NUMBA", "BLIS", "NUMEXPR")

ARRAYS = ("weight", "bias", "errors", "costs", "row_weight")

WARM_UP = 120.0
"""Seconds that loading and a first solve may take on top of the limit: some libraries compile."""


class ContenderError(Exception):
    """Why a contender has no answer: ``kind`` is "refused", "crashed" or "over time"."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(words)
        self.kind = kind


class Run(NamedTuple):
    """Timed solves with one setting: medians, and the answer of each."""

    seconds: float
    cpu: float
    answers: list[Answer]

    @property
    def answer(self) -> Answer:
        """The last."""
        return self.answers[-1]


class Worker:
    """One process for one contender; it lives until it is closed, crashes or takes too long.

    Parameters
    ----------
    contender : str
    threads : int
        Of every thread pool, and processors that it may use.
    folder : Path
        For its log and its answers.
    python : str
        Interpreter.
    tree : Path, optional
        A checkout whose ``torchlogreg`` is used; default: the installed one.
    optimizers, also : tuple of str
        See :func:`benchmarks.solving.registry.contenders`.
    """

    def __init__(
        self,
        contender: str,
        threads: int,
        folder: Path,
        *,
        python: str = sys.executable,
        tree: Path | None = None,
        optimizers: tuple[str, ...] = (),
        also: tuple[str, ...] = (),
    ) -> None:
        self.contender, self.threads, self.python, self.tree = contender, threads, python, tree
        self.facts = {
            "contender": contender,
            "threads": threads,
            "optimizers": optimizers,
            "also": also,
        }
        stem = "".join(c if c.isalnum() else "-" for c in contender)
        self.log = folder / f"{stem}-{id(self)}.log"
        self.to = folder / f"{stem}-{id(self)}.npz"
        self.process: subprocess.Popen[str] | None = None
        self.loaded: Path | None = None

    def load(self, folder: Path, limit: float) -> None:
        """Map a problem, convert it.

        Raises
        ------
        ContenderError
        """
        self.loaded = None
        self._ask({"ask": "load", "folder": str(folder)}, limit)
        self.loaded = folder

    def solve(self, setting: dict[str, Any], limit: float, repeats: int = 1) -> Run:
        """Solve the problem ``repeats`` times in a row, for solves too short to be timed alone.

        Raises
        ------
        ContenderError
        """
        if self.process is None and self.loaded is not None:
            self._again(setting, limit)
        request = {"ask": "solve", "setting": setting, "to": str(self.to), "repeats": repeats}
        reply = self._ask(request, limit)
        own = {name: reply[name] for name in ("optimality", "certified", "note")}
        with np.load(self.to) as arrays:
            answers = [
                Answer(**{n: arrays[f"{n}{i}"] for n in ARRAYS if f"{n}{i}" in arrays}, **own)
                for i in range(repeats)
            ]
        return Run(reply["seconds"], reply["cpu"], answers)

    def _again(self, setting: dict[str, Any], limit: float) -> None:
        """A new process in place of one that was killed, warmed up by a solve off the record."""
        if self.loaded is not None:
            self.load(self.loaded, limit + WARM_UP)
            self.solve(setting, limit + WARM_UP)

    def forget(self) -> None:
        """Let go of the problem."""
        self.loaded = None
        if self.process is not None:
            try:
                self._ask({"ask": "forget"}, 60.0)
            except ContenderError:
                self.close()

    def close(self) -> None:
        """End the process."""
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its own session: helpers of joblib go too
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _start(self) -> subprocess.Popen[str]:
        variables = {f"{pool}_NUM_THREADS": str(self.threads) for pool in POOLS}
        path = [str(SCRIPTS), os.environ.get("PYTHONPATH", "")]
        if self.tree is not None:
            path.insert(0, str(self.tree))
        variables["PYTHONPATH"] = os.pathsep.join(p for p in path if p)
        with self.log.open("w") as log:
            return subprocess.Popen(
                [self.python, "-m", "benchmarks.solving.worker", json.dumps(self.facts)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | variables,
                start_new_session=True,  # Ctrl-C is for the driver, which saves and then ends them
            )

    def _ask(self, request: dict[str, Any], limit: float) -> dict[str, Any]:
        """The reply to a request; the process is gone if it fails other than by refusing."""
        if self.process is None:
            self.process = self._start()
        process = self.process
        try:
            process.stdin.write(json.dumps(request) + "\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError:
            raise self._crash() from None
        ready, _, _ = select.select([process.stdout], [], [], limit)
        if not ready:
            self.close()
            raise ContenderError("over time", f"over {limit:g} s")
        line = process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise self._crash()
        reply: dict[str, Any] = json.loads(line)
        if not reply["ok"]:
            raise ContenderError("refused", reply["error"])
        return reply

    def _crash(self) -> ContenderError:
        """The failure of a process that is gone, with the last line it left."""
        process = self.process
        code = None if process is None else process.wait()
        self.close()
        lines = self.log.read_text(errors="replace").strip().splitlines()
        last = lines[-1][:200] if lines else "no message"
        return ContenderError("crashed", f"exit status {code}: {last}")
