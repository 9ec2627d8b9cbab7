"""The notebooks as a reproducer runs them: odd parameters come back in results.json, wrong ones end with a sentence."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inpaintkit import course, sweep

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


ODD = {"profile": "smoke", "reading": "as_written", "seed": 7, "epochs": 2, "n_train": 50, "n_test": 9}
ODD |= {"side": 32, "hole": "random", "dense": 512, "out_act": "sigmoid"}
ODD_VAE = {"profile": "smoke", "reading": "as_run", "seed": 3, "epochs": 2, "n_train": 40, "n_test": 7, "size": 60}
ODD_VAE |= {"ratio": 0.3, "squares": 2, "network": "medium", "batch_size": 16, "redraw": True}
ODD_VAE |= {"leaky_slope": 0.5, "sample_z": False, "pairs": "shuffled", "dataset": "folder"}
ODD_GAN = {"profile": "smoke", "reading": "as_written", "seed": 5, "epochs": 2, "n_train": 30, "n_test": 4}
ODD_GAN |= {"head": "full", "mask_train": "strokes", "fill": "noise", "first": "discriminator", "batch_size": 10}
ODD_GAN |= {"bn_eps": 0.5, "preview_mode": "train", "dataset": "folder", "weight_adv": 0.25}
ODD_SSRGAN = {"profile": "smoke", "reading": "as_written", "seed": 2, "epochs": 2, "n_train": 12, "n_test": 5}
ODD_SSRGAN |= {"size": 32, "p": 0.35, "levels": "all", "redraw": False, "fill": "noise", "shuffles": 1}
ODD_SSRGAN |= {"value_range": "[0,1]", "adversarial": "cross entropy", "weight_adv": 0.5, "dataset": "folder"}
OWN = {"profile": "smoke", "dataset": "folder", "n_train": 10, "n_test": 2}
WRONG = {
    "misspelt": ("01_autoencoder", ["-p", "epochz", "3"], "unknown parameter 'epochz': did you mean 'epochs'?"),
    "no number": ("01_autoencoder", ["-p", "epochs", "abc"], "epochs must be a whole number, and 'abc' is not."),
    "YAML": ("01_autoencoder", ["-y", "lr: 1e-3"], "in YAML, numbers like 1e-3 need a point: 1.0e-03"),
    "data": ("01_autoencoder", ["-p", "profile", "paper"], "afhq-wild is not here and could not be fetched (Kaggle"),
    "VAE's data": ("02_vae", ["-p", "profile", "paper"], "ffhq is not here and could not be fetched"),
    "VAE's sizes": ("02_vae", ["-p", "size", "64", "-p", "profile", "smoke"], "size must be 52, 60, 68, ... 100"),
    "no truth": ("02_vae", ["-p", "la_bug", "2"], "la_bug must be True or False, and 2 is not."),
    "GAN's data": (
        "03_context_encoder_gan",
        ["-p", "profile", "paper"],
        "paris-streetview is not here and could not be fetched (it is given on request only)",
    ),
    "GAN's head": ("03_context_encoder_gan", ["-p", "mask_train", "strokes"], "mask_train='strokes' needs head='full'"),
    "SSRGAN's data": ("04_ssrgan", ["-p", "profile", "paper"], "flowers102 is not here and could not be"),
    "SSRGAN's size": (
        "04_ssrgan",
        ["-p", "size", "50", "-p", "profile", "smoke"],
        "size must be a multiple of the parts'",
    ),
    "SSRGAN's level": ("04_ssrgan", ["-p", "p", "80.0"], "p must lie between 0.01 and 0.99, and 80.0 does not."),
    "range": ("00_masks_and_metrics", ["-p", "seed", "-1"], "seed must lie between 0 and 2147483647"),
}


def papermill(name, folder, options):
    command = [sys.executable, "-m", "papermill", str(NOTEBOOKS / f"{name}.ipynb"), str(folder / "out.ipynb")]
    command += ["--execution-timeout", "120", "--no-progress-bar", "--cwd", str(folder)]
    command += ["-r", "out_dir", str(folder / "run"), *options]
    # One thread each: runs with two threads on two cores wait for each other most of the time. No network: the proxy is
    # a port where nobody listens.
    changed = os.environ | {"OMP_NUM_THREADS": "1", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=changed)


def as_options(parameters):
    return [word for name, value in parameters.items() for word in ("-p", name, str(value))]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All runs of this file, two at a time: {case: (finished process, its folder)}."""
    photos = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(48):
        coarse = Image.fromarray(rng.integers(0, 255, (6, 9, 3), dtype=np.uint8))
        coarse.resize((180, 120), Image.Resampling.BICUBIC).save(photos / f"{i}.jpg")
    (photos / "broken.jpg").write_text("no picture")
    cases = {
        "odd": ("01_autoencoder", [*as_options(ODD), "-y", "lr: 2.0e-3"]),
        "odd VAE": ("02_vae", [*as_options(ODD_VAE), "-r", "data_dir", str(photos)]),
        "odd GAN": ("03_context_encoder_gan", [*as_options(ODD_GAN), "-r", "data_dir", str(photos)]),
        "odd SSRGAN": ("04_ssrgan", [*as_options(ODD_SSRGAN), "-r", "data_dir", str(photos)]),
        "own": ("01_autoencoder", [*as_options(OWN), "-r", "data_dir", str(photos)]),
    }
    cases |= {case: (name, options) for case, (name, options, _) in WRONG.items()}
    folders = {case: tmp_path_factory.mktemp("run") for case in cases}
    with ThreadPoolExecutor(2) as pool:
        started = {case: pool.submit(papermill, cases[case][0], folders[case], cases[case][1]) for case in cases}
    return {case: (run.result(), folders[case]) for case, run in started.items()}


def results(folder):
    return json.loads((folder / "run" / "results.json").read_text())


def test_odd_values_are_echoed_and_used(runs):
    run, folder = runs["odd"]
    assert run.returncode == 0, run.stderr[-2000:]
    measured = results(folder)
    assert {name: measured["parameters"][name] for name in ODD} == ODD
    assert measured["parameters"]["lr"] == 0.002
    assert measured["parameters"]["conv_layers"] == 3, "from the reading"
    assert measured["parameters"]["batch_size"] == 10, "from the profile"
    assert measured["data"]["counts"]["train"] == 50
    assert measured["data"]["counts"]["test"] == 9
    assert measured["history"]["epochs"] == [1, 2]
    assert measured["history"]["steps"][-1] == 10
    assert {"device", "threads", "versions", "git", "date", "holes", "weights"} <= measured.keys()
    fillers = [row["filler"] for row in measured["scores"]["test"]]
    assert fillers[0] == "do nothing"
    assert fillers[-1] == "autoencoder"
    for picture in measured["pictures"]:
        assert (folder / "run" / picture).stat().st_size > 1000


def test_odd_values_of_the_vae_are_echoed_and_used(runs):
    run, folder = runs["odd VAE"]
    assert run.returncode == 0, run.stderr[-2000:]
    measured = results(folder)
    assert {name: measured["parameters"][name] for name in ODD_VAE} == ODD_VAE
    assert measured["parameters"]["bn_test"] == "batch1", "from the reading"
    assert measured["data"]["counts"] == {"train": 40, "test": 7}
    assert measured["history"]["epochs"] == [1, 2]
    assert measured["history"]["steps"][-1] == 4
    assert set(measured["scores"]) == {"train", "test"}, "what was not measured is absent"
    assert measured["scores"]["test"][-1]["filler"] == "VAE"
    assert measured["survey"]["pictures"] == 7
    for file in [*measured["pictures"], "weights.pt"]:
        assert (folder / "run" / file).stat().st_size > 1000


def test_odd_values_of_the_gan_are_echoed_and_used(runs):
    run, folder = runs["odd GAN"]
    assert run.returncode == 0, run.stderr[-2000:]
    measured = results(folder)
    assert {name: measured["parameters"][name] for name in ODD_GAN} == ODD_GAN
    assert measured["parameters"]["adversarial"] == "cross entropy", "from the reading"
    assert measured["data"]["counts"] == {"train": 30, "test": 4}
    assert measured["history"]["steps"][-1] == 6
    assert {"L1", "fooling D", "D"} == measured["history"]["losses"].keys()
    assert measured["scores"]["test"][-1]["filler"] == "context encoder"
    for file in [*measured["pictures"], "weights.pt"]:
        assert (folder / "run" / file).stat().st_size > 1000


def test_odd_values_of_ssrgan_are_echoed_and_used_and_can_be_drawn_by_the_sweep(runs):
    run, folder = runs["odd SSRGAN"]
    assert run.returncode == 0, run.stderr[-2000:]
    measured = results(folder)
    assert {name: measured["parameters"][name] for name in ODD_SSRGAN} == ODD_SSRGAN
    assert measured["parameters"]["mask_channel"] is False, "from the reading"
    assert measured["data"]["counts"] == {"train": 12, "test": 5}
    assert measured["history"]["steps"][-1] == 2 * (12 // 8)
    assert {"content", "fooling D", "D"} == measured["history"]["losses"].keys()
    for file in [*measured["pictures"], "weights.pt"]:
        assert (folder / "run" / file).stat().st_size > 1000
    (found,) = sweep.read(folder)
    curves = sweep.by_level([found], found["dataset"])
    assert curves["SSRGAN"][0] == [0.35]
    assert "biharmonic" in curves
    assert sweep.by_epoch([found], found["dataset"])["35%"][0] == [1, 2]


def test_a_folder_of_ones_own_pictures(runs):
    run, folder = runs["own"]
    assert run.returncode == 0, run.stderr[-2000:]
    measured = results(folder)
    assert measured["data"]["name"].startswith("folder photos")
    assert measured["data"]["counts"] == {"train": 10, "test": 2}
    assert "unseen" not in measured["scores"], "what was not measured is absent"
    assert "1 of 49 files skipped: broken.jpg" in (folder / "out.ipynb").read_text()


@pytest.mark.parametrize("case", WRONG)
def test_wrong_parameters_fail_under_bare_papermill(runs, case):
    run, folder = runs[case]
    assert run.returncode == 1
    assert WRONG[case][2] in run.stderr
    assert not (folder / "run" / "results.json").exists()


# --- make course ---


def write_notebook(path, source):
    import nbformat

    parameters = nbformat.v4.new_code_cell(
        '# Defaults\nprofile: str = "demo"  # p\nout_dir: str = None  # o', metadata={"tags": ["parameters"]}
    )
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    cells = [nbformat.v4.new_markdown_cell("# A title"), parameters, nbformat.v4.new_code_cell(source)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


def test_course_runs_all_notebooks_though_one_fails_and_skips_good_ones_the_next_time(tmp_path, capsys):
    good = write_notebook(
        tmp_path / "00_good.ipynb",
        "import json, pathlib\nout = pathlib.Path(out_dir)\nout.mkdir(parents=True, exist_ok=True)\n"
        'row = {"filler": "do nothing", "hole MSE": {"mean": 0.25}}\n'
        '(out / "results.json").write_text(json.dumps({"scores": {"test": [row]}}))',
    )
    bad = write_notebook(tmp_path / "01_bad.ipynb", "1 / 0")
    last = write_notebook(tmp_path / "02_last.ipynb", "print(profile)")
    folder = tmp_path / "course"
    assert course.main(folder, [good, bad, last]) == 1
    first = capsys.readouterr().out
    assert "00_good: done" in first
    assert "01_bad: failed" in first
    assert "02_last: done" in first
    assert "2 of 3 notebooks" in first
    page = (folder / "index.html").read_text()
    assert page.count("<h2>A title</h2>") == 3
    assert "0.2500" in page
    assert 'class="failed"' in page
    assert (folder / "00_good.html").exists()
    assert course.main(folder, [good, last]) == 0
    assert "00_good: up to date" in capsys.readouterr().out


@pytest.mark.parametrize(("cell", "notebook", "said"), [(240, 10, "10 s"), (5, 420, "5 s in one cell")])
def test_course_ends_a_notebook_that_hangs_and_runs_it_once_more(tmp_path, capsys, monkeypatch, cell, notebook, said):
    marker = tmp_path / "first_time"
    hangs_once = write_notebook(
        tmp_path / "00_hangs.ipynb",
        f"import pathlib, time\nmarker = pathlib.Path({str(marker)!r})\n"
        "if not marker.exists():\n    marker.write_text('')\n    time.sleep(600)",
    )
    monkeypatch.setattr(course, "CELL_SECONDS", cell)
    monkeypatch.setattr(course.run_notebook, "__defaults__", (notebook,))
    assert course.main(tmp_path / "course", [hangs_once]) == 0
    out = capsys.readouterr().out
    assert f"00_hangs: took longer than {said}; running it once more" in out
    assert "00_hangs: done" in out
