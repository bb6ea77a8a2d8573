"""Seconds to a proved suboptimality, beside every peer: one process each, taking turns."""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from benchmarks.solving import chart, generators, problems, report
from benchmarks.solving.contender import Contender
from benchmarks.solving.contest import Contest, Pool, Rules, contest
from benchmarks.solving.ours import PASS
from benchmarks.solving.problems import PROBLEMS, Spec
from benchmarks.solving.reference import reference
from benchmarks.solving.registry import contenders


def add_options(p: argparse.ArgumentParser) -> None:
    """The command line of this benchmark."""
    p.add_argument(
        "--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS), metavar="PROBLEM"
    )
    add_problem_options(p)
    p.add_argument(
        "--data",
        nargs="+",
        choices=generators.DESIGNS,
        default=["gaussian"],
        help="designs; all but gaussian are hostile, and not for the cost logger",
    )
    p.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="one race for each")
    add_race_options(p, targets=[1e-4, 1e-10])
    p.add_argument("--list", action="store_true", help="name problems and contenders, then stop")


def add_problem_options(p: argparse.ArgumentParser) -> None:
    """Sizes and seeds."""
    p.add_argument("--rows", type=int, metavar="N", help="instead of the problem's own number")
    p.add_argument("--columns", type=int, metavar="P", help="instead of the problem's own number")
    p.add_argument("--seeds", nargs="+", type=int, default=[0], help="one race for each")


def add_race_options(p: argparse.ArgumentParser, targets: list[float]) -> None:
    """What is asked of contenders, which of them, and where results go."""
    p.add_argument(
        "--targets",
        nargs="+",
        type=float,
        default=targets,
        help="relative suboptimality, (f - f*) / |f*|, checked on every timed run",
    )
    p.add_argument("--rounds", type=int, default=5, help="timed runs of each contender")
    p.add_argument(
        "--limit", type=float, default=60, help="seconds of a contender's sweep, and of each solve"
    )
    p.add_argument(
        "--slow", type=float, default=10, help="peers this many times the fastest are timed once"
    )
    p.add_argument("--only", nargs="+", metavar="CONTENDER", help="these, by name or first word")
    p.add_argument("--optimizer", nargs="+", default=[], help="of ours, beside the one it chooses")
    p.add_argument(
        "--also", nargs="+", default=[], metavar="MODULE", help="modules with a list CONTENDERS"
    )
    p.add_argument("--json", type=Path, default=Path("runs/solvers.json"), help="what was measured")
    p.add_argument("--chart", type=Path, metavar="PNG", help="draw one, too")


def run(args: argparse.Namespace) -> None:
    """Race, print, save; Ctrl-C leaves what was measured in the JSON."""
    check(args)
    specs = chosen_problems(args)
    if args.list:
        print("problems:   " + "\n            ".join(PROBLEMS))
        print("contenders: " + "\n            ".join(contenders(args.optimizer, args.also)))
        return
    race(args, specs)


def check(args: argparse.Namespace) -> None:
    """Refuse numbers that mean nothing.

    Raises
    ------
    ValueError
    """
    for name in ("rounds", "limit", "slow", "rows", "columns"):
        value = getattr(args, name)
        if value is not None and not value > 0:
            raise ValueError(f"--{name} is {value}, but it is above 0")
    for name in ("targets", "threads"):
        if not all(value > 0 for value in getattr(args, name)):
            raise ValueError(f"--{name} has {min(getattr(args, name))}, but all are above 0")


def chosen_problems(args: argparse.Namespace) -> list[Spec]:
    """Problems by design and seed; sizes replaced where asked."""
    sizes = {"n": args.rows, "p": args.columns}
    sizes = {name: value for name, value in sizes.items() if value is not None}
    found = []
    for name in args.problems:
        own = PROBLEMS[name]
        asked = () if sizes else own.asked
        for data in args.data:
            if data != "gaussian" and own.loop:
                continue
            for seed in args.seeds:
                new = {"data": data, "seed": seed, "asked": asked, **sizes}
                found.append(dataclasses.replace(own, **new))
    return found


def chosen_contenders(args: argparse.Namespace) -> dict[str, Contender]:
    """All of them, or those of ``--only``.

    Raises
    ------
    ValueError
        If ``--only`` has a name that is nobody's.
    """
    known = contenders(args.optimizer, args.also)
    if not args.only:
        return known
    found = {n: c for n, c in known.items() if n in args.only or n.split()[0] in args.only}
    for name in args.only:
        if not any(name in (n, n.split()[0]) for n in known):
            raise ValueError(f"--only has {name!r}, but contenders are {', '.join(known)}")
    return found | {PASS.name: PASS}


def race(args: argparse.Namespace, specs: Sequence[Spec]) -> list[Contest]:
    """All problems at all numbers of threads."""
    field_of = chosen_contenders(args)
    absent = sorted({c.pip for c in field_of.values() if not c.installed()})
    if absent:
        print(f"left out, for they are not installed: pip install {' '.join(absent)}\n")
    results: list[Contest] = []
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="workers-")))
            pools = {t: Pool(folder, rules(t, args)) for t in args.threads}
            for pool in pools.values():
                stack.callback(pool.close)
            for spec in specs:
                one_problem(spec, args, field_of, pools, results)
    except KeyboardInterrupt as stop:
        results += [r for r in stop.args if isinstance(r, Contest)]
        raise
    finally:
        if results:
            report.save(args.json, results, vars(args))
            print(f"\n{report.overview(results)}\n\nsaved: {args.json}")
            if args.chart:
                chart.draw(report.facts(results, vars(args)), args.chart)
                print(f"saved: {args.chart}")
    return results


def rules(threads: int, args: argparse.Namespace) -> Rules:
    """How contenders are measured with so many threads."""
    return Rules(
        threads,
        tuple(args.targets),
        args.rounds,
        args.limit,
        args.slow,
        optimizers=tuple(args.optimizer),
        also=tuple(args.also),
    )


def one_problem(
    spec: Spec,
    args: argparse.Namespace,
    field_of: dict[str, Contender],
    pools: dict[int, Pool],
    results: list[Contest],
) -> None:
    """Make the rows and their optimum once, race at every number of threads."""
    with tempfile.TemporaryDirectory(prefix="solvers-") as name, bar(spec.name) as shown:
        shown.set_postfix_str("rows and reference optimum")
        data = problems.make(spec, Path(name))
        best = reference(data)
        for threads, pool in pools.items():

            def say(words: str, threads: int = threads) -> None:
                shown.set_postfix_str(f"{threads} threads, {words}", refresh=False)
                shown.update()

            results.append(contest(data, best, Path(name), field_of, pool, say))
            shown.clear()
            print(f"\n{report.text(results[-1])}", flush=True)
            report.save(args.json, results, vars(args))


def bar(name: str) -> tqdm:
    """Counts solves; silent where nobody looks."""
    return tqdm(desc=name, unit=" steps", leave=False, disable=None)
