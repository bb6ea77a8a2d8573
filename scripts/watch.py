"""Start TensorBoard on a folder of runs, with every picture and a reload every two seconds."""

from __future__ import annotations

import errno
import signal
import socket
import threading
from argparse import Namespace
from pathlib import Path
from typing import Any

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
    args = p.parse_args()
    check_folder(args.logdir)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    address = serve(args)
    print(f"TensorBoard shows {args.logdir} at {address}  (Ctrl-C ends it)", flush=True)
    while not stop.wait(0.5):
        pass
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
    board: Any = program.TensorBoard()
    where = ["--bind_all"] if args.bind_all else ["--host", args.host]
    board.configure(
        argv=["watch", "--logdir", str(args.logdir), "--port", str(port), *where, *FLAGS]
    )
    try:
        address: str = board.launch()
    except program.TensorBoardServerException as error:
        raise ValueError(f"TensorBoard cannot listen on {host} port {port}: {error}") from None
    return address


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
