"""Files from strangers: nothing in them runs, leaves its folder or fills the memory."""

from __future__ import annotations

import ast
import io
import json
import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from test_hostile_tables import npy

import torchlogreg
from test_watch import watching
from torchlogreg import untrusted
from torchlogreg.history import History

HOUSE = Path(torchlogreg.__file__).parent
SCRIPTS = HOUSE.parent / "scripts"
SOURCES = sorted([*HOUSE.rglob("*.py"), *SCRIPTS.rglob("*.py")])

SAFE = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
UNPICKLING = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
RUNNING = {"eval", "exec", "read_pickle", "hub.load", "jit.load"}


def dangers(tree: ast.AST) -> list[str]:
    """Calls and imports in a program that could run what a file says."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] + [getattr(node, "module", "") or ""]
            found += [f"import {n}" for n in names if n.split(".")[0] in UNPICKLING]
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).replace("numpy.", "np.")
        if name in SAFE:
            given = {k.arg: k.value for k in node.keywords}
            option, value = SAFE[name]
            answer = given.get(option)
            # np.load is safe by default; torch.load was not before 2.6, so it must be said.
            if name == "np.load" and answer is None:
                continue
            if not (isinstance(answer, ast.Constant) and answer.value is value):
                found.append(f"line {node.lineno}: {name} without {option}={value}")
        elif name in RUNNING or name.split(".", 1)[-1] in RUNNING - {"eval", "exec"}:
            found.append(f"line {node.lineno}: {name}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(HOUSE.parent)))
def test_no_source_loads_a_pickle_or_runs_text(path: Path) -> None:
    assert dangers(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    "text",
    [
        *("import pickle", "from joblib import load", "torch.load(p)", "eval(x)"),
        *("torch.load(p, weights_only=False)", "np.load(p, allow_pickle=True)"),
        *("pd.read_pickle(p)", "pandas.read_pickle(p)", "torch.jit.load(p)"),
    ],
)
def test_the_search_finds_what_it_looks_for(text: str) -> None:
    assert len(dangers(ast.parse(text))) == 1


def bomb(path: Path, n_bytes: int) -> None:
    """A history of so many zeros in a thousandth of the room."""
    text = io.BytesIO()
    np.save(text, np.array("{}"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.npy", text.getvalue())
        with archive.open("records/a.npy", "w", force_zip64=True) as file:
            file.write(npy((n_bytes // 8,)))
            for _ in range(n_bytes // 2**20):
                file.write(bytes(2**20))


def test_a_history_larger_than_its_room_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb(tmp_path / "h.npz", 2**22)
    assert len(History.load(tmp_path / "h.npz")) == 2**19
    monkeypatch.setattr(untrusted, "room", lambda: 2**20)
    with pytest.raises(ValueError, match=r"is no history .*its arrays need 0\.00391 GiB"):
        History.load(tmp_path / "h.npz")


def archive(path: Path, members: dict[str, bytes]) -> Path:
    """A zip of these members."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def meta(value: object) -> bytes:
    """A member called meta."""
    text = value if isinstance(value, str) else json.dumps(value)
    sink = io.BytesIO()
    np.save(sink, np.array(text))
    return sink.getvalue()


PARAMS = npy((3, 2), body=bytes(48))
HOSTILE_NPZ: dict[str, dict[str, bytes]] = {
    "lying shape": {"meta.npy": meta({}), "records/a.npy": npy((2**40,))},
    "negative": {"meta.npy": meta({}), "records/a.npy": npy((-1,), body=bytes(8))},
    "objects": {"meta.npy": meta({}), "records/a.npy": npy((1,), "|O", b"cos\nsystem\n")},
    "absolute": {"meta.npy": meta({}), "/tmp/evil.npy": PARAMS},
    "parent": {"meta.npy": meta({}), "../evil.npy": PARAMS},
    "deep JSON": {"meta.npy": meta("[" * 100_000)},  # RecursionError
    "long number": {"meta.npy": meta('{"a": 1' + "0" * 5000 + "}")},
    "text": {"meta.npy": meta({}), "records/a.npy": meta("evil")},
    "model": {"meta.npy": meta({"model": "evil"}), "records/params.npy": PARAMS},
    "names": {"meta.npy": meta({"feature_names": [1]}), "records/params.npy": PARAMS},
    "size": {"meta.npy": meta({"params": [["w", [3]]]}), "records/params.npy": PARAMS},
    "sign": {"meta.npy": meta({"params": [["w", [-2]]]}), "records/params.npy": PARAMS},
    "layout": {"meta.npy": meta({"params": [3]}), "records/params.npy": PARAMS},
    "not numpy": {"meta.npy": b"{}"},
    "nothing": {},
}


@pytest.mark.parametrize("kind", list(HOSTILE_NPZ))
def test_a_hostile_history_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = archive(tmp_path / "h.npz", HOSTILE_NPZ[kind])
    with pytest.raises(ValueError, match="is no history saved by torchlogreg") as caught:
        History.load(path)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 600
    assert os.listdir(tmp_path) == ["h.npz"]


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train", "race", "animate"])
def test_a_script_says_in_one_line_what_is_wrong_with_a_file(tmp_path: Path, script: str) -> None:
    hostile = archive(tmp_path / "h.npz", HOSTILE_NPZ["deep JSON"])
    (tmp_path / "t.csv").write_bytes(b"\x1b[31mx,y\n1\x00,1\n")
    table = [str(tmp_path / "t.csv")]
    options = {
        "train": ["--data", *table, "--target", "y", "--out", str(tmp_path / "runs")],
        "race": ["--data", *table, "--target", "y", "--out-film", str(tmp_path / "f.gif")],
        "animate": [str(hostile), "--out", str(tmp_path / "f.gif")],
    }
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / f"{script}.py"), *options[script]],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2 and done.stderr.startswith("error: "), done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stderr.strip().isprintable()


def addresses() -> set[str]:
    """Other addresses of this computer: another one of loopback, and what it has on a network."""
    found = {"127.0.0.2"}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent: it only asks for the way there
        except OSError:
            return found
        return found | {probe.getsockname()[0]} - {"127.0.0.1"}


def answers(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        with socket.create_connection((host, port), timeout=5):
            return True
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is there without a word on Linux")
def test_watch_listens_on_this_computer_alone_unless_asked(tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.1.x").write_bytes(b"\xff" * 100)  # rubbish does it no harm
    for arguments, elsewhere in (((), False), (("--bind-all",), True)):
        with watching(str(tmp_path), "--port", "0", *arguments) as (_, address):
            port = int(address.strip("/").rpartition(":")[2])
            assert answers("127.0.0.1", port)
            assert {answers(host, port) for host in addresses()} == {elsewhere}
