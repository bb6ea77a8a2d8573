"""The scripts as a newcomer runs them: what they print, what they leave, how they refuse."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from torchlogreg import History
from torchlogreg.datasets import breast_cancer
from torchlogreg.saving import load, load_facts

# Fits stop early here on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")

SCRIPTS = Path(__file__).parents[1] / "scripts"
NAMES = sorted(p.stem for p in SCRIPTS.glob("*.py") if "main_guard(main)" in p.read_text())


def run(capsys, monkeypatch, folder: Path, name: str, *arguments: str) -> tuple[int, str, str]:
    """A script's exit status, stdout and stderr, run in ``folder`` inside this process."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
    module = __import__(name)
    with pytest.raises(SystemExit) as ended:
        module.main_guard(module.main)
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


@pytest.fixture
def script(capsys, monkeypatch, tmp_path):
    """``script(name, *arguments)`` in an empty folder; the folder is ``script.folder``."""

    def call(name: str, *arguments: str) -> tuple[int, str, str]:
        return run(capsys, monkeypatch, tmp_path, name, *arguments)

    call.folder = tmp_path
    return call


@pytest.mark.parametrize("name", NAMES)
def test_help_reads_like_documentation(script, name):
    status, out, err = script(name, "--help")
    assert status == 0 and not err
    assert len(out.split("options:")[0].split()) > 25, "a paragraph that says what it is for"
    assert f"python scripts/{name}.py" in out, "an example to copy"


def test_main_job_leaves_all_it_promises(script):
    status, out, err = script("train")
    assert (status, err) == (0, "")
    folder = script.folder / "runs" / "breast_cancer"
    for run_name in ("normal", "weighted"):
        kinds = sorted(p.name.split(".")[0] for p in (folder / run_name).iterdir())
        assert kinds == ["checkpoints", "events", "history", "model"]
        assert re.search(rf"^{run_name} +0\.\d+ ", out, re.M), "a row of the table"
    assert (folder / "cost_curves.png").read_bytes().startswith(b"\x89PNG")
    assert "converged" in out


def test_saved_model_predicts_on_raw_columns(script):
    script("train")
    folder = script.folder / "runs" / "breast_cancer" / "normal"
    facts, model = load_facts(folder / "model.safetensors"), load(folder / "model.safetensors")
    data = breast_cancer()
    assert list(data.feature_names) == facts["feature_names"]
    with torch.no_grad():
        predicted = model.predict(model(torch.as_tensor(data.X)))
    assert (predicted.numpy() == data.y).mean() > 0.97
    history = History.load(folder / "history.npz")
    assert history.meta["stop_reason"] == "converged"
    assert history["objective"][-1] < history["objective"][0]


def test_second_run_does_not_touch_the_first(script):
    for _ in range(2):
        assert script("train", "--epochs", "2")[0] == 0
    assert sorted(p.name for p in (script.folder / "runs").iterdir()) == [
        "breast_cancer",
        "breast_cancer-2",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--data", "diabetes"),
        ("--data", "iris", "--weighting", "focal", "--optimizer", "newton"),
        ("--data", "levels", "--link", "cloglog", "--weighting", "balanced"),
        ("--data", "wine", "--model", "ordinal", "--optimizer", "adam", "--schedule", "cosine"),
        ("--penalty", "l1", "--alpha", "0.05", "--weighting", "class_mean"),
        ("--data", "iris", "--penalty", "jeffreys"),
        ("--batch-size", "64", "--optimizer", "sgd", "--lr", "0.05", "--schedule", "plateau"),
        ("--no-standardize", "--optimizer", "auto", "--weighting", "none", "--dtype", "float32"),
        ("--dtype", "float32"),
        ("--data", "exam", "--penalty", "elasticnet", "--no-bias", "--schedule", "step"),
    ],
    ids=" ".join,
)
def test_any_model_optimizer_weighting_penalty(script, arguments):
    status, out, err = script("train", "--epochs", "10", *arguments)
    assert (status, err) == (0, "")
    assert not re.search(r"\bnan\b", out)


def test_own_csv_with_text_columns(script):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"age": generator.normal(40, 10, 80), "town": ["Ulm", "Bern"] * 40})
    frame["bought"] = np.where(frame["age"] + generator.normal(0, 5, 80) > 40, "yes", "no")
    frame.to_csv(script.folder / "shop.csv", index=False)
    status, _, err = script("train", "--data", "shop.csv", "--target", "bought")
    assert (status, err) == (0, "")
    facts = load_facts(script.folder / "runs" / "shop" / "weighted" / "model.safetensors")
    assert facts["class_names"] == ["no", "yes"]
    assert facts["feature_names"][0] == "age" and len(facts["feature_names"]) == 2


BAD = {
    "no such file": (("--data", "nowhere.csv", "--target", "y"), "nowhere.csv"),
    "missing target": (("--data", "bad.csv"), "target"),
    "missing values": (("--data", "bad.csv", "--target", "y"), "'x'"),
    "unknown suffix": (("--data", "bad.txt", "--target", "y"), "txt"),
    "wrong model": (("--model", "linear"), "classes"),
    "wrong model for numbers": (("--data", "diabetes", "--model", "logistic"), "number"),
    "too few classes for softmax": (("--data", "iris", "--model", "logistic"), "3 classes"),
    "negative alpha": (("--alpha", "-1"), "alpha"),
    "test size": (("--test-size", "2"), "test-size"),
    "factor below one": (("--factor", "0.5"), "factor"),
    "folder name": (("--name", "../elsewhere"), "--name"),
    "no epochs": (("--epochs", "0", "--schedule", "exponential"), "--epochs"),
    "smooth optimizer, kinked penalty": (("--penalty", "l1", "--optimizer", "adam"), "L1"),
    "newton in batches": (("--optimizer", "newton", "--batch-size", "10"), "Newton"),
    "negative lr": (("--optimizer", "sgd", "--lr", "-1"), "--lr"),
    "no lr": (("--lr", "0"), "--lr"),
    "infinite lr": (("--optimizer", "sgd", "--lr", "inf"), "--lr"),
    "lr without an optimizer": (("--optimizer", "auto", "--lr", "0.1"), "auto"),
    "target of a known set": (("--data", "iris", "--target", "species"), "--target"),
    "weighting numbers": (("--data", "diabetes", "--weighting", "focal"), "number"),
    "link of no ordinal model": (("--link", "probit"), "ordinal"),
    "one row of a class": (
        ("--data", "rare.csv", "--target", "y", "--test-size", "0.97"),
        "class 'b'",
    ),
    "constant number": (("--data", "flat.csv", "--target", "y", "--model", "linear"), "in all"),
    "dots": (("--name", ".."), "--name"),
    "out is a file": (("--out", "bad.txt"), "is a file"),
}
if not torch.cuda.is_available():
    BAD["no cuda"] = (("--device", "cuda"), "cuda")


@pytest.mark.parametrize(("arguments", "word"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_and_leaves_nothing(script, arguments, word):
    (script.folder / "bad.csv").write_text("x,y\n1,0\n,1\n3,0\n4,1\n")
    (script.folder / "bad.txt").write_text("x,y\n1,0\n")
    rare = [f"{i},{'a' if i != 7 else 'b'}\n" for i in range(60)]
    (script.folder / "rare.csv").write_text("x,y\n" + "".join(rare))
    (script.folder / "flat.csv").write_text("x,y\n" + "".join(f"{i},3.5\n" for i in range(60)))
    status, _, err = script("train", *arguments)
    assert status == 2
    assert err.count("\n") == 1 and err.startswith("error: ") and word in err
    assert not (script.folder / "runs").exists(), "nothing half-written"


def test_a_diverging_run_says_where_and_fails(script):
    status, out, err = script(
        "train", "--data", "diabetes", "--optimizer", "sgd", "--lr", "1e9", "--epochs", "99"
    )
    assert (status, err) == (1, "")
    assert "non-finite: " in out and "lower the learning rate" in out


def test_weighted_vs_normal_prints_three_scores(script):
    status, out, err = script("weighted_vs_normal", "--weighting", "class_mean")
    assert (status, err) == (0, "")
    assert len(re.findall(r"^(base|normal|weighted) +0\.9\d+ ", out, re.M)) == 3
    assert "agree bit for bit: yes" in out
    history = History.load(script.folder / "runs" / "weighted_vs_normal" / "weighted/history.npz")
    assert len(history) == 201


def test_discount_gives_the_figures_of_its_source(script):
    """Figures: the seed document in ../shared, and the reference page's corrections of it."""
    status, out, err = script("discount", "--iterations", "10001")
    assert (status, err) == (0, "")
    assert "probability 0.999999999986112, loss 25" in out
    grid = [float(v) for v in re.findall(r"^w = .* loss (\S+)$", out, re.M)]
    expected = [0.0067153, 0.6931472, 5.0067153, 10.0000454, 15, 20, 25, 30, 35, 40, 45]
    assert np.allclose(grid[-11:], expected, rtol=1e-5, atol=0) and grid[-3:] == [35, 40, 45]
    assert "loss before iteration      0: 0.6931471805599453" in out
    settled = [float(v) for v in re.findall(r"loss before iteration  10000: (\S+)", out)]
    assert settled[:2] == pytest.approx([0.41899283818630056] * 2, rel=1e-14)
    after = re.findall(r"loss after  iteration      0: (\S+)", out)
    assert float(after[1]) == pytest.approx(0.42351356323845546, rel=1e-14)
    # The reference page says -0.03328492; the root of the gradient is -0.033284908031.
    weights = [float(v) for v in re.findall(r"^w = (-0.0332\d+):", out, re.M)]
    assert weights == pytest.approx([-0.033284908] * 2, abs=1e-8)
    assert "spent 10: predicted 1" in out and "spent 250: predicted 0" in out
    assert re.search(r"^with an intercept: .*separat", out, re.M)


def test_exam_walks_the_notebook(script):
    status, out, err = script("exam")
    assert (status, err) == (0, "")
    assert "probabilities of the 20 rows: [0.5]" in out
    assert "9.53674e-07" in out, "the likelihood of 20 coins, 2^-20"
    assert f"{np.log(2):.6f}" in out
    assert "separat" in out.split("5. Is there an optimum?")[1].split("6.")[0]


def test_descent_records_the_paths_and_the_optimum(script):
    status, _, err = script("descent")
    assert (status, err) == (0, "")
    for kind, epochs in (("linear", 1000), ("logistic", 3000)):
        history = History.load(script.folder / "runs" / "descent" / kind / "history.npz")
        assert len(history) == epochs + 1
        assert history.data["X"].shape[1] == 1
        excess = history["loss_unweighted"] - history.meta["optimum"]["loss"]
        assert excess[0] > 1 and 0 <= excess[-1] < 1e-3


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_saves_what_there_is(tmp_path):
    command = [sys.executable, str(SCRIPTS / "train.py"), "--optimizer", "sgd", "--lr", "1e-6"]
    process = subprocess.Popen(
        [*command, "--epochs", "1000000"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    events = tmp_path / "runs" / "breast_cancer" / "normal"
    deadline = time.monotonic() + 120
    while not list(events.glob("events*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted after" in out
    history = History.load(events / "history.npz")
    assert history.meta["stop_reason"] == "interrupted" and len(history) > 1
    assert (events / "model.safetensors").exists()


FILM_BAD = {
    "no run": (("nowhere", "--out", "f.mp4"), "nowhere does not exist"),
    "empty folder": ((".", "--out", "f.mp4"), "no history.npz"),
    "no history": (("bad.npz", "--out", "f.png"), "no history"),
    "unknown suffix": (("runs/descent/linear", "--out", "f.avi"), ".avi"),
    "missing folder": (("runs/descent/linear", "--out", "no/f.png"), "does not exist"),
    "wrong scene": (("runs/descent/linear", "--scene", "boundary", "--out", "f.png"), "boundary"),
    "several runs": (("runs/descent", "--scene", "descent", "--out", "f.png"), "one run"),
    "no frames": (("runs/descent/linear", "--frames", "0", "--out", "f.gif"), "frames"),
}


def test_films_refuse_in_one_line_and_leave_nothing(script):
    assert script("descent", "--iterations", "5")[0] == 0
    (script.folder / "bad.npz").write_text("no zip")
    before = sorted(p.name for p in script.folder.iterdir())
    for name, (arguments, word) in FILM_BAD.items():
        status, _, err = script("animate", *arguments)
        assert (status, err.count("\n")) == (2, 1), (name, err)
        assert err.startswith("error: ") and word in err, (name, err)
    assert sorted(p.name for p in script.folder.iterdir()) == before


def test_a_missing_encoder_is_told_before_training(script, monkeypatch):
    import torchlogreg.viz.sinks

    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setattr(torchlogreg.viz.sinks, "find_ffmpeg", lambda: None)
    import animate

    monkeypatch.setattr(animate, "find_ffmpeg", lambda: None)
    status, _, err = script("race")
    assert status == 2 and err.count("\n") == 1 and "torchlogreg[video]" in err
    assert not (script.folder / "runs").exists()


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_animate_writes_a_film_of_a_saved_run(script, suffix):
    script("descent", "--iterations", "5", "--kind", "logistic")
    status, out, err = script(
        "animate", "runs/descent/logistic", "--scene", "descent", "--out", f"f{suffix}"
    )
    assert (status, err) == (0, "") and "KiB" in out
    assert (script.folder / f"f{suffix}").stat().st_size > 1000


def test_race_counts_evaluations_and_films(script):
    status, out, err = script(
        "race", "--optimizers", "sgd=0.5", "lbfgs", "--iterations", "8", "--out-film", "r.png"
    )
    assert (status, err) == (0, "")
    assert re.search(r"^sgd=0.5 +8 +8 ", out, re.M), "one evaluation an iteration"
    assert (script.folder / "r.png").exists()


def test_equal_columns_do_not_stop_the_fit(script):
    # Their weights differ by rounding alone, and numpy found no room for the histogram's bins.
    x = np.linspace(-1, 1, 60)
    frame = pd.DataFrame({"a": x, "b": x, "c": x, "y": (np.arange(60) % 3 > 0).astype(int)})
    frame.to_csv(script.folder / "dup.csv", index=False)
    arguments = ("--data", "dup.csv", "--target", "y", "--optimizer", "newton")
    assert script("train", *arguments)[::2] == (0, "")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The curves that TensorBoard shows of a run, however many files they are in."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    found = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    return {tag: [(e.step, e.value) for e in points] for tag, points in found.items()}


def test_an_interrupted_experiment_goes_on_in_its_folder_to_the_same_bits(script, monkeypatch):
    options = ("--optimizer", "adam", "--batch-size", "64", "--schedule", "cosine", "--epochs", "9")
    status, _, _ = script("train", *options, "--name", "straight")
    assert status == 0
    seen = []

    def interrupt(self, state):
        seen.append(state.epoch)
        if len(seen) == 4:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("torchlogreg.hooks.StopOnNonFinite.on_epoch_end", interrupt)
        status, out, _ = script("train", *options, "--name", "cut")
    assert status == 130 and "--resume runs/cut" in out
    status, _, err = script("train", "--resume", "runs/cut")
    assert (status, err) == (0, "")
    for run in ("normal", "weighted"):
        one, other = (script.folder / "runs" / name / run for name in ("straight", "cut"))
        a, b = History.load(one / "history.npz"), History.load(other / "history.npz")
        np.testing.assert_array_equal(a["params"], b["params"])
        curves, again = scalars(one), scalars(other)
        for tag in set(curves) - {"seconds"}:
            assert curves[tag] == again[tag], tag


def test_resume_of_what_is_no_experiment_is_one_line(script):
    status, _, err = script("train", "--resume", "nowhere")
    assert status == 2 and err.startswith("error: --resume nowhere: no experiment of train.py")
