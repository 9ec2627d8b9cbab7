"""`python -m inpaintkit doctor` and `fetch`: what they say about this machine and its data sets."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from inpaintkit import __main__, doctor, runtime
from inpaintkit.data import sources

SPEED = doctor.speed


@pytest.fixture(autouse=True)
def quickly(monkeypatch, tmp_path):
    """A speed that is not measured, and an empty cache."""
    monkeypatch.setattr(doctor, "speed", lambda: doctor.REFERENCE / 2)
    monkeypatch.setenv("INPAINTKIT_CACHE", str(tmp_path / "cache"))


def flowers(folder, numbers=(1, 2, 3)):
    folder.mkdir(parents=True)
    for i in numbers:
        Image.new("RGB", (20, 20), (i, 0, 0)).save(folder / f"image_{i:05}.jpg")
    return folder


def test_the_page_names_versions_memory_disk_and_every_notebook_and_set():
    page = doctor.page()
    for words in ("inpaintkit 0.1.0", "Python 3.", "GFLOP/s", "memory: ", "GB free", "torch  ", "GPU: none that"):
        assert words in page, words
    for name in (*sources.known(), *doctor.NOTEBOOKS):
        assert f"  {name}: " in page, name
    assert "flowers102: not here; `python -m inpaintkit fetch flowers102` fetches 0.34 GB" in page
    assert "paris-streetview: not here, and by hand only: ask the authors" in page


def test_every_notebook_is_on_the_page():
    assert set(doctor.NOTEBOOKS) == {path.stem for path in (Path(__file__).parents[1] / "notebooks").glob("*.ipynb")}


def test_sets_are_complete_or_not(tmp_path, monkeypatch):
    folder = flowers(tmp_path / "mine" / "jpg")
    assert f"flowers102: INCOMPLETE, 3 of 8,189 pictures in {folder}" in doctor.data_sets(
        doctor.find_all(tmp_path / "mine")
    )
    monkeypatch.setitem(sources.known()["flowers102"], "pictures", 3)
    assert f"flowers102: complete, 3 of 3 pictures in {folder}" in doctor.data_sets(doctor.find_all(tmp_path / "mine"))
    assert "flowers102 (here), caltech101 (not here)" in doctor.page(tmp_path / "mine")


def test_times_follow_the_speed_of_the_machine(monkeypatch):
    seconds = doctor.NOTEBOOKS["02_vae"]["demo"]
    assert f"02_vae: demo about {2 * seconds / 60:.1f} minutes" in doctor.page()
    monkeypatch.setattr(doctor, "speed", lambda: doctor.REFERENCE)
    assert f"02_vae: demo about {seconds / 60:.1f} minutes" in doctor.page()
    assert doctor._time(3600 * 30) == "30.0 hours"
    assert doctor._time(3600 * 240) == "10 days"


def test_the_speed_counts_the_arithmetic_of_a_convolution_and_its_gradients(monkeypatch):
    ticks = iter([0.0, 0.0, 1.0, 2.0, 4.0])  # started; one step of one second; over
    monkeypatch.setattr(doctor.time, "perf_counter", lambda: next(ticks))
    wanted = 2 * 2 * (8 * 64 * 64 * 64) * (64 * 9) / 1e9 / 1.0
    assert SPEED(1.5) == pytest.approx(wanted)


def test_missing_and_old_packages_are_named(monkeypatch):
    wanted = ["torch>=99", "a-package-that-nobody-has>=1", "numpy", "tomli>=2 ; python_version < '3'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: wanted)
    torch_line, missing, numpy_line = doctor._packages()
    assert torch_line.endswith("wanted: >=99")
    assert "missing" in missing
    assert missing.endswith("wanted: >=1")
    assert "wanted" not in numpy_line


def test_a_gpu_and_too_little_memory_are_told(monkeypatch):
    gpu = torch.device("cuda")
    monkeypatch.setattr(runtime, "pick_device", lambda: gpu)
    monkeypatch.setattr(runtime, "pick_precision", lambda device: "fp32")
    monkeypatch.setattr(runtime, "device_name", lambda device: "Tesla T4" if device.type == "cuda" else "a processor")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (14e9, 15e9))
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: SimpleNamespace(total=5e9, available=1e9))
    page = doctor.page()
    assert "GPU: Tesla T4, 15.0 GB, 14.0 GB free, fp32" in page
    assert "less on the Tesla T4; needs about 8 GB of memory, more than there are" in page
    assert page.count("more than there are") == 1


def test_the_command_line_prints_the_page_and_lists_the_sets(tmp_path, capsys):
    assert __main__.main(["doctor", "--data-dir", str(flowers(tmp_path / "jpg"))]) == 0
    assert "flowers102: INCOMPLETE, 3 of 8,189" in capsys.readouterr().out
    assert __main__.main(["fetch"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in listed] == ["embedded", *sources.known()]


def test_the_command_line_finds_a_set_that_is_there(tmp_path, capsys):
    folder = flowers(tmp_path / "jpg")
    with pytest.warns(UserWarning, match="holds 3 of its 8,189 pictures"):
        assert __main__.main(["fetch", "flowers102", "--data-dir", str(folder)]) == 0
    assert f"flowers102: 3 of 8,189 pictures in {folder}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fetch", "flowers"], "'flowers' is not one of afhq-wild, "),
        (["fetch", "flowers102", "--data-dir", "nowhere"], "data_dir nowhere does not exist."),
        (
            ["fetch", "paris-streetview"],
            "paris-streetview is not here and could not be fetched (it is given on request",
        ),
        (
            ["fetch", "flowers102", "--source", "ftp://x"],
            "source must be kaggle:OWNER/NAME or the address of an archive",
        ),
        (["fetch", "--data-dir", "nowhere"], "data_dir nowhere does not exist."),
        (["doctor", "--data-dir", "nowhere"], "data_dir nowhere does not exist."),
    ],
)
def test_the_command_line_says_in_one_sentence_what_is_wrong(capsys, words, message):
    assert __main__.main(words) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"inpaintkit: {message}")
    assert "Traceback" not in shown


def test_a_kit_that_is_not_installed_says_so(monkeypatch):
    def missing(name):
        raise doctor.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "requires", missing)
    assert doctor._packages() == ["unknown: inpaintkit itself is not installed here (pip install -e .)"]
