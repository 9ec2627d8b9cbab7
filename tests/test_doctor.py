"""`python -m inpaintkit doctor` and `fetch`: what they say about this machine, its data sets and every work."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

import inpaintkit
from inpaintkit import __main__, papers, runtime
from inpaintkit.apps import doctor
from inpaintkit.data import sets

SPEED, LOAD = doctor.speed, doctor.load


@pytest.fixture(autouse=True)
def quickly(monkeypatch, tmp_path):
    """A quiet machine whose speed is not measured, and an empty cache."""
    monkeypatch.setattr(doctor, "speed", lambda: (doctor.GFLOPS / 2, doctor.GFLOPS / 2))
    monkeypatch.setattr(doctor, "load", lambda: 0.0)
    monkeypatch.setenv("INPAINTKIT_CACHE", str(tmp_path / "cache"))


def flowers(folder):
    folder.mkdir(parents=True)
    for i in (1, 2, 3):
        Image.new("RGB", (20, 20), (i, 0, 0)).save(folder / f"image_{i:05}.jpg")
    return folder


def test_the_page_names_versions_memory_disk_and_every_notebook_and_set():
    page, notebooks = doctor.page(), (Path(__file__).parents[1] / "notebooks").glob("*.ipynb")
    for words in (f"inpaintkit {inpaintkit.__version__}", "Python 3.", "GFLOP/s", "memory: ", "GB free", "torch  "):
        assert words in page, words
    for name in (*sets.known(), *(path.stem for path in notebooks)):
        assert f"  {name}: " in page, name
    assert f"flowers102: not here; `{runtime.command('fetch', 'flowers102')}` fetches 0.34 GB" in page
    assert "paris-streetview: not here, and by hand only" in page


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        ("", "09_toy: what it costs was not measured"),
        ("[cost]\ndemo_seconds = 60\n", "09_toy: demo about 2.0 minutes"),
        (
            '[cost]\ndemo_seconds = 60\ndata = ["flowers102", "own"]\nstep_seconds = 2.0\nsteps = 900\ngigabytes = 1\n',
            "paper: flowers102 (not here), own (not here); about 60 minutes",
        ),
    ],
)
def test_a_work_that_is_registered_appears_with_its_cost(tmp_path, monkeypatch, cost, said):
    (tmp_path / "toy.py").write_text('class Toy:\n    id, notebook = "toy", "09_toy"\n')
    (tmp_path / "toy.toml").write_text(cost)
    spec = importlib.util.spec_from_file_location("toy", tmp_path / "toy.py")
    toy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toy)
    monkeypatch.setitem(sys.modules, "toy", toy)
    monkeypatch.setitem(papers.PAPERS, "toy", toy.Toy())
    assert said in doctor.page()


def test_sets_are_complete_or_not(tmp_path, monkeypatch):
    folder = flowers(tmp_path / "mine" / "jpg")
    page = doctor.page(tmp_path / "mine")
    assert f"flowers102: INCOMPLETE, 3 of 8,189 pictures in {folder}" in page
    assert "flowers102 (here), caltech101 (not here)" in page
    monkeypatch.setitem(sets.known()["flowers102"], "pictures", 3)
    assert "flowers102: complete, 3 of 3" in doctor.page(tmp_path / "mine")


def test_times_follow_the_speed_of_the_machine(monkeypatch):
    assert "02_vae: demo about 2.7 minutes" in doctor.page()
    monkeypatch.setattr(doctor, "speed", lambda: (doctor.GFLOPS / 100, doctor.GFLOPS / 100))
    page = doctor.page()
    assert "02_vae: demo about 135.0 minutes" in page
    assert "788 days on the processor" in page


def test_a_busy_machine_is_noticed_and_its_times_are_those_of_an_idle_one(monkeypatch):
    monkeypatch.setattr(doctor.psutil, "cpu_percent", lambda seconds, percpu: [90.0, 70.0])
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(doctor, "load", LOAD)
    monkeypatch.setattr(doctor, "speed", lambda: (doctor.GFLOPS / 2, doctor.GFLOPS / 6))
    page = doctor.page()
    assert "other programs use 1.6 of 2 processors" in page
    assert "about 3.0 times as long" in page
    assert "02_vae: demo about 2.7 minutes" in page
    monkeypatch.setattr(doctor.psutil, "cpu_percent", lambda seconds, percpu: [10.0, 0.0])
    page = doctor.page()
    assert "other programs use 0.1 of 2 processors\n" in page


def test_the_speed_counts_the_work_of_the_processors_and_the_time_that_passed(monkeypatch):
    passed, worked = iter([0.0, 0.0, 0.0, 4.0, 4.0, 4.0, 6.0, 9.0]), iter([0.0, 2.0, 2.0, 3.0])  # two steps
    monkeypatch.setattr(doctor.time, "perf_counter", lambda: next(passed))
    monkeypatch.setattr(doctor.time, "process_time", lambda: next(worked))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    one = 2 * 2 * (8 * 64 * 64 * 64) * (64 * 9) / 1e9  # of a convolution and its gradients
    assert SPEED(5) == pytest.approx((one / 1.0, one / 3.0))


def test_missing_and_old_packages_are_named(monkeypatch):
    wanted = ["torch>=99", "a-package-that-nobody-has>=1", "numpy", "tomli>=2 ; python_version < '3'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: wanted)
    page = doctor.page()
    assert page.count("wanted: ") == 2
    assert "wanted: >=99" in page
    assert "missing          wanted: >=1" in page

    def missing(name):
        raise doctor.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "requires", missing)
    assert "inpaintkit itself is not installed" in doctor.page()


def test_a_gpu_and_too_little_memory_are_told(monkeypatch):
    monkeypatch.setattr(runtime, "pick_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(runtime, "pick_precision", lambda device: "fp32")
    monkeypatch.setattr(runtime, "device_name", lambda device: "Tesla T4" if device.type == "cuda" else "a processor")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (14e9, 15e9))
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: SimpleNamespace(total=5e9, available=1e9))
    page = doctor.page()
    assert "GPU: Tesla T4, 15.0 GB, 14.0 GB free, fp32" in page
    assert "less on the Tesla T4; needs about 8 GB of memory, more than there are" in page
    assert "less on the Tesla T4\n  04" in page, "enough for the context encoder"


def test_the_command_line_prints_the_page_lists_the_sets_and_finds_one(tmp_path, capsys):
    folder = str(flowers(tmp_path / "jpg"))
    assert __main__.main(["doctor", "--data-dir", folder]) == 0
    assert "flowers102: INCOMPLETE, 3 of 8,189" in capsys.readouterr().out
    assert __main__.main(["fetch"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "portraits, photographs",
        *sets.known(),
    ]
    with pytest.warns(UserWarning, match="3 of its 8,189 pictures"):
        assert __main__.main(["fetch", "flowers102", "--data-dir", folder]) == 0
    assert f"flowers102: 3 of 8,189 pictures in {folder}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("fetch flowers", "'flowers'"),
        ("fetch paris-streetview", "paris-streetview"),
        ("fetch flowers102 --source ftp://x", "source"),
        ("fetch --data-dir nowhere", "data_dir nowhere"),
        ("fetch flowers102 --data-dir nowhere", "data_dir nowhere"),
        ("doctor --data-dir nowhere", "data_dir nowhere"),
    ],
)
def test_the_command_line_says_in_one_sentence_what_is_wrong(capsys, words, named):
    assert __main__.main(words.split()) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"inpaintkit: {named}")
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("interpreter", "folder", "on_path", "said"),
    [
        ("kit/.venv/bin/python", "kit", None, ".venv/bin/python"),
        ("kit/.venv/bin/python", "kit/notebooks", None, ".venv/bin/python"),  # as in the README: from the checkout
        ("kit/.venv/bin/python", "", None, "kit/.venv/bin/python"),
        ("kit/.venv/bin/python", "elsewhere", None, "{}/kit/.venv/bin/python"),
        ("my env/bin/python", "kit", None, '"{}/my env/bin/python"'),
        ("env/bin/python3", "kit", "env/bin/python", "python"),  # activated
        ("env/bin/python", "kit", "other/bin/python", "{}/env/bin/python"),
    ],
)
def test_hints_call_the_kit_as_this_user_does(tmp_path, monkeypatch, interpreter, folder, on_path, said):
    for name in ("kit/notebooks", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    real = tmp_path / "real"
    real.touch()
    for path in filter(None, (interpreter, on_path)):  # environments link to the same interpreter
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).symlink_to(real)
    monkeypatch.chdir(tmp_path / folder)
    monkeypatch.setattr(runtime, "checkout", lambda: tmp_path / "kit")
    monkeypatch.setattr(sys, "executable", str(tmp_path / interpreter))
    monkeypatch.setattr(runtime.shutil, "which", lambda name: on_path and str(tmp_path / on_path))
    assert runtime.command("fetch", "flowers102") == f"{said.format(tmp_path)} -m inpaintkit fetch flowers102"
