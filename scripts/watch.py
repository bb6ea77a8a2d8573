"""Start TensorBoard on a folder of runs, with every picture and a reload every two seconds."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from common import main_guard, parser

DESCRIPTION = """\
Watch fits in the browser, while they train or afterwards.

Starts TensorBoard on a folder of runs, in this process, and prints its address. Against plain
"tensorboard --logdir runs" it shows every logged picture (not ten of each kind), every point of
the curves, and looks for new figures every two seconds. Only this computer can connect, unless
--host or --bind-all says otherwise. Ctrl-C ends it.

On the page: SCALARS overlays the curves of all runs (set smoothing to 0 to see them as they are),
IMAGES has a slider over the epochs, CUSTOM SCALARS draws both costs of normal and weighted in one
chart, HPARAMS compares settings and results, TEXT explains each run.
"""

EPILOG = """\
examples:
  python scripts/watch.py                       (everything under runs/)
  python scripts/watch.py runs/breast_cancer    (one experiment)
  python scripts/train.py & python scripts/watch.py
"""

FLAGS = ("--samples_per_plugin", "images=1000,scalars=100000", "--reload_interval", "2")
"""What makes TensorBoard show everything, soon."""

PORT = 6006
"""TensorBoard's own."""


def main() -> int:
    """Parse, check, serve until Ctrl-C."""
    p = parser(DESCRIPTION, EPILOG)
    p.add_argument("logdir", nargs="?", type=Path, default=Path("runs"), help="folder of runs")
    p.add_argument(
        "--port",
        type=int,
        help=f"where to listen; 0 picks a free one (default: {PORT}, or a free one if it is taken)",
    )
    reach = p.add_mutually_exclusive_group()
    reach.add_argument("--host", default="127.0.0.1", help="address to listen on")
    reach.add_argument("--bind-all", action="store_true", help="listen on all addresses")
    p.add_argument(
        "--careful",
        action="store_true",
        help="read event files more slowly, and survive whatever they hold; done without being "
        "asked once TensorBoard's fast reader has died of a file",
    )
    args = p.parse_args()
    check_folder(args.logdir)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    address = serve(args)
    print(f"TensorBoard shows {args.logdir} at {address}  (Ctrl-C ends it)", flush=True)
    while not stop.wait(0.5):
        if not args.careful and reader_died():
            print("TensorBoard's fast reader died of a file: reading carefully", flush=True)
            where = ["--bind-all"] if args.bind_all else [f"--host={args.host}"]
            again = ["--careful", f"--port={urlsplit(address).port}", *where, "--"]
            os.execv(sys.executable, [sys.executable, sys.argv[0], *again, str(args.logdir)])
    print("stopped")
    return 0


def serve(args: Namespace) -> str:
    """Start the server in threads of this process; returns its address.

    Raises
    ------
    ValueError
        If the port or the address cannot be had.
    """
    from tensorboard import program  # after --help and the checks: it takes a second

    if args.port is not None and not 0 <= args.port <= 65535:
        raise ValueError(f"--port is {args.port}, but ports are 0 to 65535")
    host = "0.0.0.0" if args.bind_all else args.host
    port = free_port(host, PORT) if args.port is None else args.port
    bear_with_strangers()
    board: Any = program.TensorBoard()
    where = ["--bind_all"] if args.bind_all else ["--host", args.host]
    fast = f"--load_fast={'false' if args.careful else 'auto'}"
    board.configure(
        argv=["watch", f"--logdir={args.logdir}", "--port", str(port), *where, fast, *FLAGS]
    )
    try:
        address: str = board.launch()
    except program.TensorBoardServerException as error:
        raise ValueError(f"TensorBoard cannot listen on {host} port {port}: {error}") from None
    return address


def reader_died() -> bool:
    """Has the process ended that reads event files for TensorBoard, the only one it starts?"""
    if os.name != "posix":
        return False
    with suppress(ChildProcessError):  # none was started
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return False


def bear_with_strangers() -> None:
    """Let TensorBoard read an event file up to what it cannot read, whatever the reason is.

    It does so at a cut record. A ``MemoryError`` at one that claims 2^62 bytes, or a
    ``DecodeError`` at one that is no event, would end the thread that reads all runs.
    """
    from tensorboard.backend.event_processing import event_file_loader

    loader: Any = event_file_loader.EventFileLoader
    own = loader.Load

    def load(file: Any) -> Iterator[Any]:
        with suppress(Exception):
            yield from own(file)

    loader.Load = load


def check_folder(folder: Path) -> None:
    """Refuse what TensorBoard would show an empty page for."""
    if not folder.exists():
        raise ValueError(
            f"there is no folder {str(folder)!r}; train something first (python scripts/train.py), "
            "or name the folder of your runs"
        )
    if not folder.is_dir():
        raise ValueError(f"{str(folder)!r} is a file, but TensorBoard watches a folder of runs")


def free_port(host: str, wanted: int) -> int:
    """The wanted port, or one that the system says is free."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE and port:
                    continue
                raise ValueError(f"cannot listen on {host}: {error.strerror}") from None
            return int(probe.getsockname()[1])
    return 0


if __name__ == "__main__":
    main_guard(main)
