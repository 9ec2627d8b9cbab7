import hashlib
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inpaintkit import data, papers
from inpaintkit.data import embedded, pictures, sources
from inpaintkit.experiments import run
from inpaintkit.papers import context_encoder


def make_folder(path, n=10, size=(40, 30), mode="RGB", suffix=".png", first=0):
    rng = np.random.default_rng(first)
    for i in range(n):
        picture = Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).convert(mode)
        (path / f"class{i % 2}").mkdir(exist_ok=True, parents=True)
        picture.save(path / f"class{i % 2}" / f"{i:02}{suffix}")
    return path


# --- embedded ---


def test_train_and_test_regions_are_a_crop_apart_and_unseen_is_never_trained_on():
    train, unseen = {}, set()
    for row in data.regions():
        left, right = int(row["left"]), int(row["right"])
        if row["part"] == "train":
            train[row["photograph"]] = right
        elif row["part"] == "test":
            assert left - train[row["photograph"]] >= data.WIDEST_CROP, row["photograph"]
        else:
            unseen.add(row["photograph"])
    assert unseen
    assert not unseen & set(train)


@pytest.mark.parametrize("size", [64, 128])
def test_embedded_crops_stay_in_their_regions_and_hold_something(size):
    images = data.open("embedded", size=size, n_train=80)
    boxes = {(row["photograph"], row["part"]): row for row in data.regions()}
    for part in ("train", "test", "unseen"):
        for name, crop in zip(images.names[part], getattr(images, part), strict=True):
            photograph, place = name.split("@")
            y, x = map(int, place.split(","))
            box = {side: int(boxes[photograph, part][side]) for side in ("top", "left", "bottom", "right")}
            assert box["top"] <= y <= box["bottom"] - size
            assert box["left"] <= x <= box["right"] - size
            assert torch.equal(crop, data.photograph(photograph)[:, y : y + size, x : x + size])
            assert crop.double().mean() / 255 >= data.DARK
    counts = {name.split("@")[0] for name in images.names["train"]}
    assert len(counts) == 8, "every training photograph gives crops"


def test_one_photograph_alone():
    images = data.open("embedded:brick", size=52, colour=False, n_train=40)
    for part in ("train", "test"):
        assert {name.split("@")[0] for name in images.names[part]} == {"brick"}
    assert images.name == "embedded-v1, brick alone"
    assert images.fingerprint["unseen"] == data.open("embedded", size=52, colour=False, n_train=8).fingerprint["unseen"]


def test_seed_changes_training_crops_only():
    a, b, again = (data.open("embedded", size=64, n_train=40, seed=seed) for seed in (0, 1, 0))
    assert a.fingerprint == again.fingerprint
    assert a.fingerprint["train"] != b.fingerprint["train"]
    assert a.fingerprint["test"] == b.fingerprint["test"]
    assert a.fingerprint["unseen"] == b.fingerprint["unseen"]


def test_grey_has_one_channel_and_fewer_test_crops_are_the_same_ones():
    images = data.open("embedded", size=64, n_train=8, n_test=20, colour=False)
    assert images.train.shape == (8, 1, 64, 64)
    assert images.test.shape == (20, 1, 64, 64)
    every = data.open("embedded", size=64, n_train=8, colour=False)
    assert set(images.names["test"]) <= set(every.names["test"])


def test_every_photograph_has_a_licence_and_a_verified_file(monkeypatch):
    assert all(row["licence"] for row in data.regions())
    monkeypatch.setattr(hashlib, "sha256", hashlib.sha1)  # any other content
    data.photograph.cache_clear()
    with pytest.raises(FileNotFoundError, match="does not ship the camera photograph"):
        data.photograph("camera")


# --- folder ---


def test_folder_is_split_without_overlap_and_cached(tmp_path, monkeypatch):
    folder = make_folder(tmp_path, 10)
    first = data.open("folder", data_dir=folder, size=16)
    assert (len(first.train), len(first.test)) == (7, 3)
    assert not set(first.names["train"]) & set(first.names["test"])
    monkeypatch.setattr(pictures, "decode", lambda *_: pytest.fail("decoded twice"))
    assert data.open("folder", data_dir=folder, size=16).fingerprint == first.fingerprint
    assert data.open("folder", data_dir=folder, size=16, seed=1).names != first.names


def test_a_changed_folder_is_decoded_again(tmp_path):
    folder = make_folder(tmp_path, 4)
    assert sum(map(len, data.open("folder", data_dir=folder, size=16).names.values())) == 4
    Image.new("RGB", (40, 40), "red").save(folder / "new.png")
    assert sum(map(len, data.open("folder", data_dir=folder, size=16).names.values())) == 5


def test_bad_files_are_named_counted_and_skipped(tmp_path):
    folder = make_folder(tmp_path, 6)
    (folder / "notes.txt").write_text("hello")
    whole = (folder / "class0" / "00.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (10, 10)).save(folder / "tiny.png")
    Image.fromarray(np.zeros((40, 40), np.uint16)).save(folder / "deep.png")
    (folder / "again.png").write_bytes(whole)
    with pytest.warns(UserWarning, match="4 of 11 files skipped") as caught:
        images = data.open("folder", data_dir=folder, size=16)
    message = str(caught[0].message)
    for name, reason in (
        ("notes.txt", "not a readable"),
        ("cut.png", "not a readable"),
        ("tiny.png", "smaller than size=16"),
    ):
        assert f"{name}: " in message
        assert reason in message
    assert "deep.png: more than 8 bits" in message
    assert images.notes == {"files skipped": 4, "exact duplicates left out": 1}
    assert sum(map(len, images.names.values())) == 6
    with pytest.warns(UserWarning, match=r"4 of 11 files skipped: cut\.png"):
        data.open("folder", data_dir=folder, size=16)  # from the cache: still said


def test_dark_and_flat_crops_are_not_used():
    stripes = torch.tensor([0, 255], dtype=torch.uint8).repeat(3, 8, 4)
    assert embedded._usable(stripes)
    assert not embedded._usable(stripes // 10), "mean 0.05"
    assert not embedded._usable(torch.full((3, 8, 8), 128, dtype=torch.uint8)), "no contrast"


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK"])
def test_any_mode_becomes_rgb_or_grey(tmp_path, mode):
    folder = make_folder(tmp_path, 4, mode=mode, suffix=".tif" if mode == "CMYK" else ".png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert data.open("folder", data_dir=folder, size=16).train.shape[1:] == (3, 16, 16)
        assert data.open("folder", data_dir=folder, size=16, colour=False).train.shape[1:] == (1, 16, 16)


def test_transparent_pixels_become_white(tmp_path):
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (data.decode(tmp_path / "clear.png", 16) == 255).all()


def test_camera_orientation_is_honoured(tmp_path):
    picture = Image.new("RGB", (40, 20), "black")
    picture.paste("white", (0, 0, 20, 20))
    exif = picture.getexif()
    exif[0x0112] = 6  # turn by 90 degrees to view
    picture.save(tmp_path / "turned.png", exif=exif)
    array = data.decode(tmp_path / "turned.png", 16)
    assert array[0, 1].mean() > 200
    assert array[0, -2].mean() < 50


@pytest.mark.parametrize(
    ("prepare", "arguments", "error", "message"),
    [
        (None, {"data_dir": None}, ValueError, "needs data_dir"),
        (lambda p: None, {"data_dir": "missing"}, FileNotFoundError, "does not exist"),
        (lambda p: (p / "file").write_text("x"), {"data_dir": "file"}, NotADirectoryError, "is a file"),
        (lambda p: (p / "empty").mkdir(), {"data_dir": "empty"}, ValueError, "holds no files"),
        (lambda p: (p / "a.png").write_text("x"), {"data_dir": "."}, ValueError, "none of the 1 files"),
        (
            lambda p: make_folder(p, 4),
            {"data_dir": ".", "n_train": 4, "n_test": 1},
            ValueError,
            "n_train=4 and n_test=1",
        ),
        (lambda p: make_folder(p, 4), {"data_dir": ".", "n_test": 4}, ValueError, "n_test=4: lower it"),
        (lambda p: make_folder(p, 4), {"data_dir": ".", "size": 4}, ValueError, "size must be at least 8"),
    ],
)
def test_unusable_folders_end_with_one_sentence(tmp_path, prepare, arguments, error, message):
    if prepare:
        prepare(tmp_path)
    arguments = {"size": 16} | arguments
    if arguments["data_dir"] is not None:
        arguments["data_dir"] = tmp_path / arguments["data_dir"]
    with pytest.raises(error, match=message):
        data.open("folder", **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset": "imagenet"}, "'imagenet' is not known"),
        (
            {"dataset": "caltech101:faces"},
            "caltech101:faces is not known: there are caltech101:paper, caltech101:objects",
        ),
        ({"dataset": "folder", "resize": "lanczos"}, "resize must be one of bicubic, bilinear, nearest, and 'lanczos'"),
        ({"dataset": "folder", "aspect": "pad"}, "aspect must be one of squash, crop, and 'pad' is not"),
        ({"dataset": "embedded:rocket"}, "takes one of astronaut, brick, .*, and 'rocket' is not"),
        ({"dataset": "embedded:"}, "takes one of astronaut"),
        ({"dataset": "embedded", "data_dir": "photos"}, "needs no data_dir: use 'folder'"),
        ({"dataset": "embedded", "size": 256}, "size must lie between 8 and 128"),
        ({"dataset": "embedded", "size": 64, "n_test": 10_000}, "more than the 315 test crops"),
        ({"dataset": "embedded", "n_train": 0}, "n_train must be at least 1, or None for all there is, and 0 is not"),
        ({"dataset": "embedded", "n_train": -1}, "n_train must be at least 1"),
        ({"dataset": "embedded", "n_test": -1}, "n_test must be at least 1"),
    ],
)
def test_unknown_datasets_and_sizes_name_the_remedy(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.open(**arguments)


@pytest.mark.parametrize(("n", "parts"), [(2, (1, 1)), (3, (2, 1)), (5, (3, 2)), (40, (28, 12))])
@pytest.mark.parametrize("paper", papers.PAPERS)
@pytest.mark.parametrize("profile", ["smoke", "demo"])
def test_pictures_of_ones_own_are_parted_whatever_the_profiles_numbers(tmp_path, capsys, paper, profile, n, parts):
    folder = make_folder(tmp_path / "photos", n, size=(130, 130))
    cfg = papers.get(paper).Parameters.resolve({"profile": profile, "dataset": "folder", "data_dir": str(folder)})
    images = data.open_for(cfg)
    assert (len(images.train), len(images.test)) == parts
    said = capsys.readouterr().out
    assert f"{parts[0]} pictures are for training and {parts[1]} for the test" in said
    assert data.open_for(cfg.changed(n_test=1)).test.shape[0] == 1


def test_the_numbers_are_said_only_where_they_were_not_given(tmp_path, capsys):
    data.open("folder", data_dir=make_folder(tmp_path, 5), size=16, n_train=3, n_test=2)
    data.open("embedded", size=64, n_train=8)
    assert not capsys.readouterr().out


def test_class_folders_give_every_class_to_both_sides(tmp_path):
    """Dogs sort before persons: the last by name would test on what was never trained on."""
    for name in ("dogs", "persons"):
        make_folder(tmp_path / name, 20, size=(64, 64), first=20 * (name == "persons"))
    cfg = context_encoder.Parameters.resolve({"dataset": "folder", "data_dir": str(tmp_path)})
    images = data.open_for(cfg)
    assert images.split == "drawn, seed 0"
    for part in ("train", "test"):
        assert {name.split("/")[0] for name in images.names[part]} == {"dogs", "persons"}


def test_crops_say_that_no_filter_resized_them(tmp_path):
    one, other = (data.open("embedded", size=64, n_train=8, resize=resize) for resize in ("bicubic", "nearest"))
    assert one.fingerprint == other.fingerprint
    assert "never resized" in repr(one)
    assert "never resized" not in repr(data.open("folder", data_dir=make_folder(tmp_path), size=16))


@pytest.mark.parametrize("dataset", ["embedded:brick", "caltech101:objects"])
def test_no_folder_is_named_with_a_colon(dataset):
    for paper in papers.PAPERS.values():
        assert ":" not in run.name(paper, paper.Parameters.resolve({"dataset": dataset}))


# --- the real packs, where there are any ---

PACKS = Path(__file__).parents[2] / "shared" / "datasets"
COUNTS = {  # folder, pictures in it, training and test pictures of the paper's split
    "caltech101": ("caltech101", 9144, (7315, 1829)),
    "caltech101:objects": ("caltech101", 9144, (6942, 1735)),
    "flowers102": ("flowers102", 7366, (1020, 6149)),
    "afhq-cat": ("afhq_cat", 5153, (3341, 1400)),
    "ffhq": ("ffhq", 1100, (1018, 82)),
    "animals10": ("animals10", 320, (296, 24)),
    "oxford-pet": ("oxford_pet", 370, (185, 185)),
}


@pytest.mark.skipif(not PACKS.is_dir(), reason="the packs of real pictures are not on this machine")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", COUNTS)
def test_real_packs(name):
    folder, there, counts = COUNTS[name]
    assert len(sources.find(name.split(":")[0], PACKS / folder)[1]) == there
    images = data.open(name, data_dir=PACKS / folder, size=16)
    assert (len(images.train), len(images.test)) == counts
    train, test = map(set, images.names.values())
    assert not train & test
    assert not images.notes["files skipped"]
    if name.startswith("caltech101"):
        scenes = [{name.replace("Faces_easy/", "Faces/") for name in side} for side in (train, test)]
        assert not scenes[0] & scenes[1], "the same photograph on both sides"
        assert any("BACKGROUND" in name for name in train | test) == (name == "caltech101")
    if name == "flowers102":
        classes = Counter(name.split("/")[0] for name in train)
        assert set(classes.values()) == {10}
        assert len(classes) == 102
