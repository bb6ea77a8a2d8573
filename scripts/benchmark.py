"""Measure what is promised: correct digits, film speed, the cost of hooks, speed of solvers."""

from __future__ import annotations

import argparse

from benchmarks import compare, digits, films, gpu, hooks, scale, solvers
from common import main_guard

DESCRIPTION = """\
Benchmarks behind the figures in the README and under docs/. Contenders take turns within one run,
so read the ratios: absolute times on a shared machine promise nothing.
"""

BENCHMARKS = {
    "digits": digits,
    "films": films,
    "hooks": hooks,
    "solvers": solvers,
    "compare": compare,
    "gpu": gpu,
    "scale": scale,
}


def main() -> int | None:
    """Run the benchmark that was named."""
    p = argparse.ArgumentParser(
        description=DESCRIPTION,
        epilog="example:\n  python scripts/benchmark.py films",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    chosen = p.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    for name, module in BENCHMARKS.items():
        first = (module.__doc__ or "").splitlines()[0]
        sub = chosen.add_parser(
            name,
            help=first,
            description=first,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        module.add_options(sub)
    args = p.parse_args()
    status: int | None = BENCHMARKS[args.benchmark].run(args)
    return status


if __name__ == "__main__":
    main_guard(main)
