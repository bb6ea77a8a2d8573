"""What the scripts share: options, folders under runs/, tables, and one-line errors."""

from __future__ import annotations

import argparse
import math
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from torchlogreg import ConvergenceWarning
from torchlogreg.untrusted import printable

Parser = argparse.ArgumentParser


def parser(description: str, epilog: str = "") -> Parser:
    """An argument parser whose --help keeps paragraphs and shows telling defaults."""

    class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
        def _get_help_string(self, action: argparse.Action) -> str | None:
            silent = action.default in (None, "", True, False) or "default" in (action.help or "")
            return action.help if silent else super()._get_help_string(action)

    return Parser(description=description, epilog=epilog, formatter_class=Formatter)


def add_device_options(options: Parser, *, seed: str = "") -> None:
    """--device and --dtype; --seed where something is random, with what it decides."""
    options.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: cuda if there is"
    )
    options.add_argument(
        "--dtype", choices=("float64", "float32"), default="float64", help="precision"
    )
    if seed:
        options.add_argument("--seed", type=int, default=0, help=seed)


def add_output_options(options: Parser, name: str) -> None:
    """--out, --name."""
    options.add_argument("--out", type=Path, default=Path("runs"), help="folder of all runs")
    known = f" (default: {name})" if name else " (default: the name of the data)"
    options.add_argument(
        "--name", default=name, help="folder of this experiment under --out" + known
    )


def positive(name: str, value: float | None) -> None:
    """Refuse a number that is not finite and above zero.

    Raises
    ------
    ValueError
        Naming the option.
    """
    if value is not None and not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value:g}, but it is a finite number above 0")


def device_of(name: str) -> torch.device:
    """The device a name means here.

    Raises
    ------
    ValueError
        If cuda is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ValueError("--device cuda, but torch sees no CUDA device here; use --device cpu")
    return torch.device("cuda" if name != "cpu" and available else "cpu")


def dtype_of(name: str) -> torch.dtype:
    """torch.float64 or torch.float32."""
    return torch.float64 if name == "float64" else torch.float32


@contextmanager
def new_folder(out: Path, name: str) -> Iterator[Path]:
    """A folder that did not exist: ``out/name``, else ``out/name-2``, ``-3``, ...

    An earlier experiment is never overwritten. If the body fails, what it left unfinished goes
    again (a run's folder without its ``history.npz`` and without a checkpoint, then the folder
    itself if no run is left); Ctrl-C is no failure, since ``fit`` ends cleanly on it.
    """
    if not name or name in (".", "..") or Path(name).name != name:
        raise ValueError(f"--name is {name!r}, but it is a single folder name under --out")
    made = [p for p in (out, *out.parents) if not p.exists()]
    number = 1
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file, but a folder is needed")
    while (folder := out / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        _remove_empty(made)
        raise ValueError(f"{folder} cannot be made ({error.strerror}); choose --out") from None
    try:
        yield folder
    except Exception:
        for run in (path for path in folder.iterdir() if path.is_dir()):
            if not (run / "history.npz").exists() and not any(run.glob("checkpoints/**/epoch-*")):
                shutil.rmtree(run, ignore_errors=True)
        if not any(path.is_dir() for path in folder.iterdir()):
            for left in ("command.json", "job.json"):
                (folder / left).unlink(missing_ok=True)
        _remove_empty([folder, *made])
        raise


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns of text, numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[j]) for row in (list(header), *cells)) for j in range(len(header))]
    lines = [
        "  ".join(
            h.rjust(w) if j else h.ljust(w)
            for j, (h, w) in enumerate(zip(header, widths, strict=True))
        )
    ]
    lines.append("  ".join("-" * w for w in widths))
    for row in cells:
        lines.append(
            "  ".join(
                c.rjust(w) if j else c.ljust(w)
                for j, (c, w) in enumerate(zip(row, widths, strict=True))
            )
        )
    return "\n".join(line.rstrip() for line in lines)


def heading(text: str) -> None:
    """A blank line, the text, a rule."""
    print(f"\n{text}\n{'=' * len(text)}")


def main_guard(main: Callable[[], int | None]) -> None:
    """Run ``main``; bad input becomes one line on stderr and exit status 2.

    A polite request to stop (SIGTERM) is treated like Ctrl-C: what there is, is saved. The scripts
    print the message of every fit, so its warning says nothing new.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            status = main()
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    finally:
        signal.signal(signal.SIGTERM, before)
    sys.exit(status or 0)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
