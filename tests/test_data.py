"""Pictures: what comes with packages, folders of one's own, the rules of reading, the cache of decoded pictures."""

import hashlib
import io
import multiprocessing
import os
import re
import shutil
import struct
import sys
import time
import warnings
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from inpaintkit import data, papers
from inpaintkit.data import photographs, portraits, store
from inpaintkit.papers import context_encoder

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="limits and processes as on Linux")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INPAINTKIT_CACHE", str(tmp_path / "the cache"))
    return tmp_path / "the cache"


def noise(seed, width=24, height=20):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


def encoded(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def fill(folder, n=4, first=0, **size):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        noise(first + i, **size).save(folder / f"{i:03}.png")
    return folder


def opened(folder, **options):
    return data.open("folder", data_dir=folder, **{"size": 16} | options)


def by_name(images):
    names = images.names["train"] + images.names["test"]
    return dict(zip(names, torch.cat([images.train[:], images.test[:]]), strict=True))


def assert_decoded(images, folder):
    assert all(np.array_equal(row, data.decode(folder / name, 16)) for name, row in by_name(images).items())


def left_over(cache):
    return [path.name for path in cache.rglob("*.part")]


# --- what comes with packages ---


@pytest.mark.parametrize("size", [64, 128])
def test_crops_hold_something_and_those_of_training_and_test_share_no_pixel(size):
    images = data.open("photographs", size=size, n_train=80)
    boxes = {(row["photograph"], row["part"]): row for row in data.regions()}
    ends = {name: int(row["right"]) for (name, part), row in boxes.items() if part == "train"}
    for (name, part), row in boxes.items():
        assert row["licence"]
        assert part != "unseen" or name not in ends
        assert part != "test" or int(row["left"]) - ends[name] >= data.WIDEST_CROP
    for part, names in images.names.items():
        for name, crop in zip(names, getattr(images, part), strict=True):
            photograph, y, x = re.fullmatch(r"(.*)@(\d+),(\d+)", name).groups()
            top, left, bottom, right = (int(boxes[photograph, part][s]) for s in ("top", "left", "bottom", "right"))
            y, x = int(y), int(x)
            assert top <= y <= bottom - size
            assert left <= x <= right - size
            assert torch.equal(crop, data.photograph(photograph)[:, y : y + size, x : x + size])
            assert crop.double().mean() / 255 >= photographs.DARK
            assert crop.double().std() / 255 >= photographs.FLAT
    assert {name.split("@")[0] for name in images.names["train"]} == set(ends)


def test_a_seed_changes_the_training_crops_and_never_a_test():
    given = ({"seed": 0}, {"seed": 1}, {"seed": 0}, {"n_test": 20, "colour": False})
    a, b, again, few = (data.open("photographs", size=64, n_train=40, **one) for one in given)
    assert a.fingerprint == again.fingerprint
    assert {part for part in a.names if a.fingerprint[part] != b.fingerprint[part]} == {"train"}
    assert few.test.shape == (20, 1, 64, 64)
    assert set(few.names["test"]) < set(a.names["test"])


def test_one_photograph_alone_and_the_old_name(capsys):
    images = data.open("embedded:brick", size=52, n_train=40)
    assert images.name == "photographs:brick"
    assert "photographs" in capsys.readouterr().out
    assert {name.split("@")[0] for part in ("train", "test") for name in images.names[part]} == {"brick"}
    old, new = (context_encoder.Parameters.resolve({"dataset": name}) for name in ("embedded", "photographs"))
    assert old.identifying() == new.identifying()


@pytest.mark.parametrize("size", [64, 68, 100, 128])
def test_portraits_are_parted_the_same_way_whatever_the_seed_which_chooses_fewer(size):
    channels = 1 if size == 68 else 3
    images, other, few = (
        data.open("portraits", size=size, colour=channels == 3, **given)
        for given in ({}, {"seed": 1}, {"seed": 1, "n_train": 20, "n_test": 10})
    )
    assert images.train.shape == (780, channels, size, size)
    assert images.test.shape == (95, channels, size, size)
    assert not set(images.names["train"]) & set(images.names["test"])
    names = images.describe()["names"]
    assert (names["train"], names["test"]) == ("62c7d002838c", "92e9c00411ec")
    assert images.names["unseen"] == data.open("photographs", size=size, n_train=8).names["test"]
    assert images.describe() == other.describe()
    assert len(few.unseen) == len(few.names["unseen"]) == 10
    assert set(few.names["unseen"]) < set(images.names["unseen"])
    again, chosen = (data.open("portraits", size=size, n_train=20, n_test=10, seed=seed).names for seed in (0, 1))
    assert again["test"] == chosen["test"] == few.names["test"]
    assert again["train"] != chosen["train"] == few.names["train"]
    assert (len(few.train), len(few.test)) == (20, 10)


def test_a_pack_or_a_photograph_of_another_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(portraits, "PACK", tmp_path / "portraits.zip")
    with pytest.raises(ValueError, match=r"portraits\.zip"):
        data.open("portraits", size=64)
    portraits.PACK.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"portraits\.zip"):
        data.open("portraits", size=64)
    monkeypatch.setattr(hashlib, "sha256", hashlib.sha1)  # any other content
    data.photograph.cache_clear()
    with pytest.raises(FileNotFoundError, match="camera"):
        data.photograph("camera")


# --- arguments ---


@pytest.mark.parametrize(
    ("name", "given", "error", "named"),
    [
        ("imagenet", {}, ValueError, "'imagenet'.*portraits.*flowers102"),
        ("caltech101:faces", {}, ValueError, "caltech101:objects"),
        ("photographs:rocket", {}, ValueError, "astronaut, brick"),
        ("photographs", {"data_dir": "photos"}, ValueError, "data_dir"),
        ("photographs", {"size": 256}, ValueError, "size must lie between 8 and 128"),
        ("portraits", {"size": 129}, ValueError, "size must lie between 8 and 128"),
        ("photographs", {"size": 64, "n_test": 10_000}, ValueError, "n_test=10000.* 315 "),
        ("portraits", {"size": 64, "n_train": 781}, ValueError, "n_train=781.* 780 "),
        ("photographs", {"n_train": 0}, ValueError, "n_train must be at least 1"),
        ("portraits", {"n_test": -1}, ValueError, "n_test must be at least 1"),
        ("folder", {}, ValueError, "data_dir"),
        ("folder", {"data_dir": "missing"}, FileNotFoundError, "data_dir missing"),
        ("folder", {"data_dir": __file__}, NotADirectoryError, "data_dir"),
        ("folder", {"data_dir": ".", "size": 4}, ValueError, "size must be at least 8"),
        ("folder", {"data_dir": ".", "resize": "lanczos"}, ValueError, "resize.*nearest.*'lanczos'"),
        ("folder", {"data_dir": ".", "aspect": "pad"}, ValueError, "aspect.*crop.*'pad'"),
    ],
)
def test_what_cannot_be_opened_names_the_parameter(name, given, error, named):
    with pytest.raises(error, match=named):
        data.open(name, **given)


# --- the rules of reading ---


def png(width, height, bits, kind, content=b""):
    """A PNG by hand: one that claims a size, or has 16 bits per channel, which Pillow cannot write."""
    parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)), (b"IDAT", zlib.compress(content)))
    chunks = [struct.pack(">I", len(of)) + name + of + struct.pack(">I", zlib.crc32(name + of)) for name, of in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def put(path, content):
    """A file of bytes, or a link to a path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(content) if isinstance(content, Path) else path.write_bytes(content)


DEEP, TWO = Image.fromarray(np.full((20, 24), 40_000, np.uint16)), {"save_all": True, "append_images": [noise(10)]}
BAD = {
    "cut.jpg": (encoded(noise(9, 64, 64), "JPEG")[:2000], "not a readable picture"),
    "cut.gif": (encoded(noise(9, 64, 64), "GIF")[:2000], "not a readable picture"),
    "empty.png": (b"", "not a readable picture"),
    "text.jpg": (b"hello", "not a readable picture"),
    "deep.png": (encoded(DEEP, "PNG"), "8 bits"),
    "deep RGB.png": (png(24, 20, 16, 2, (b"\0" + b"\x9c\x40" * 24 * 3) * 20), "8 bits"),
    "deep LA.png": (png(24, 20, 16, 4, (b"\0" + b"\x9c\x40" * 24 * 2) * 20), "8 bits"),
    "deep.ppm": (b"P6 24 20 1000\n" + bytes(2880), "8 bits"),
    "moving.gif": (encoded(noise(9), "GIF", **TWO), "2 frames"),
    "pages.tif": (encoded(noise(9), "TIFF", **TWO), "2 frames"),
    "huge.png": (png(20_000, 20_000, 8, 2), "89,478,485 pixels"),
    "large.png": (png(10_000, 9_000, 8, 2), "89,478,485 pixels"),
    "small.png": (encoded(noise(9, 15, 40), "PNG"), "15x40 is smaller than size=16"),
    "nowhere.png": (Path("gone.png"), "not a readable picture"),
    "itself.png": (Path("itself.png"), "not a readable picture"),
    "copy.png": (encoded(noise(0), "BMP"), "a duplicate of 000.png"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_skipped_named_and_counted_also_from_the_cache(tmp_path, cache, name):
    folder, (content, reason) = fill(tmp_path / "photos"), BAD[name]
    put(folder / name, content)
    for _ in range(2):
        with pytest.warns(UserWarning, match="skipped") as caught:
            images = opened(folder)
        assert len(caught) == 1, "one sentence, and none of Pillow's own"
        assert re.search(f"^1 of 5 files skipped: {re.escape(name)}: .*{reason}", str(caught[0].message))
        assert caught[0].filename == __file__, "the line that opened the folder"
    assert sorted(by_name(images)) == ["000.png", "001.png", "002.png", "003.png"]
    assert sum(images.notes.values()) == 1
    assert images.notes["exact duplicates left out"] == (name == "copy.png")
    assert not left_over(cache)


@pytest.mark.filterwarnings("ignore:.*skipped")
@pytest.mark.parametrize(
    ("contents", "error"),
    [
        ([], "holds no files"),
        ([b"x"], "none of the 1 files"),
        ([BAD["copy.png"][0]], "1 usable picture, too few for a training and a test part"),
        ([BAD["copy.png"][0]] * 2, "1 usable picture,"),
    ],
)
def test_a_folder_of_no_use_leaves_nothing_in_the_cache(tmp_path, cache, contents, error):
    (tmp_path / "photos").mkdir()
    for i, content in enumerate(contents):
        put(tmp_path / "photos" / f"{i}.png", content)
    with pytest.raises(ValueError, match=error):
        opened(tmp_path / "photos")
    assert not left_over(cache)


COLOUR = (200, 60, 30)
RED = Image.new("RGB", (40, 30), COLOUR)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("print.jpg", encoded(RED.convert("CMYK"), "JPEG")),
        ("palette.png", encoded(RED.convert("P"), "PNG")),
        ("one frame.jpg", encoded(RED, "GIF")),
        ("camera.jpg", encoded(RED, "MPO", save_all=True)),
        ("фото 100%[1]\n.JPG", encoded(RED, "PNG")),
        (os.fsdecode(b"\xff\xfe"), encoded(RED, "BMP")),
        ("below/and/below", encoded(RED, "PPM")),
    ],
)
def test_a_file_is_what_it_holds_and_not_what_it_is_called(tmp_path, name, content):
    folder = fill(tmp_path / "photos")
    put(folder / name, content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = by_name(opened(folder))[name].float()
    assert (found.mean((1, 2)) - torch.tensor(COLOUR)).abs().max() < 4


def decoded(picture, size=16, kind="PNG", **how):
    options = {"exif": picture.getexif()} if kind == "PNG" else {"quality": 95}
    return data.decode(io.BytesIO(encoded(picture, kind, **options)), size, **how)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_modes_transparency_a_turned_camera_and_the_limit_on_pixels(monkeypatch):
    for mode in ("1", "L", "LA", "RGBA"):
        assert decoded(noise(0).convert(mode)).shape == (3, 16, 16)
        assert decoded(noise(0).convert(mode), colour=False).shape == (1, 16, 16)
    assert (decoded(Image.new("RGBA", (20, 20), (255, 0, 0, 0))) == 255).all()
    picture = Image.new("RGB", (40, 20), "black")
    picture.paste("white", (0, 0, 20, 20))
    picture.getexif()[0x0112] = 6  # turn by 90 degrees to view
    assert decoded(picture)[0, 1].mean() > 200
    assert decoded(picture)[0, -2].mean() < 50
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    with pytest.raises(ValueError, match="1,500 pixels"):
        decoded(noise(0, 40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert decoded(noise(0, 40, 40)).shape == (3, 16, 16)
    with pytest.raises(ValueError, match="aspect"):
        decoded(picture, aspect="pad")


@pytest.mark.parametrize(("width", "height"), [(50, 31), (9, 12), (16, 16)])
def test_the_filters_are_pillows_bicubic_and_torchs_bilinear(width, height):
    picture = noise(0, width, height)
    bicubic, bilinear, nearest = (
        decoded(picture, resize=resize, enlarge=True) for resize in ("bicubic", "bilinear", "nearest")
    )
    assert np.array_equal(bicubic.transpose(1, 2, 0), picture.resize((16, 16), Image.Resampling.BICUBIC))
    tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(tensor, 16, mode="bilinear", antialias=False)[0]
    assert (torch.from_numpy(bilinear).float() - expected).abs().max() <= 1
    assert set(nearest[0].ravel()) <= set(np.array(picture)[..., 0].ravel())


def test_a_large_jpeg_at_a_fraction_is_nearly_the_same_and_a_crop_is_the_middle():
    picture = noise(0, 16, 12).resize((800, 600), Image.Resampling.BICUBIC)
    for aspect, box in (("squash", None), ("crop", (100, 0, 700, 600))):
        expected = np.array(picture.resize((64, 64), Image.Resampling.BICUBIC, box), int).transpose(2, 0, 1)
        assert np.abs(decoded(picture, 64, "JPEG", aspect=aspect) - expected).mean() < 3


# --- the folder and its cache ---


@pytest.mark.parametrize(("n", "parts"), [(2, (1, 1)), (5, (3, 2)), (40, (28, 12))])
def test_ones_own_pictures_are_parted_whatever_the_profiles_numbers(tmp_path, monkeypatch, capsys, n, parts):
    monkeypatch.chdir(fill(tmp_path / "photos", n, width=130, height=130))
    for paper in papers.PAPERS.values():
        cfg = paper.Parameters.resolve({"profile": "smoke", "dataset": "folder", "data_dir": "."})
        images = data.open_for(cfg)
        assert (len(images.train), len(images.test)) == parts
        assert images.name == "folder photos"
        assert f"{parts[0]} pictures are for training and {parts[1]} for the test" in capsys.readouterr().out
        assert len(data.open_for(cfg.changed(n_test=1)).test) == 1
    with pytest.raises(ValueError, match=f"n_train={n} and n_test=1"):
        opened(".", n_train=n, n_test=1)


def test_links_are_followed_each_folder_once_and_hidden_files_and_our_cache_are_left_out(tmp_path, monkeypatch):
    folder = fill(tmp_path / "photos")
    fill(tmp_path / "elsewhere", 2, first=10)
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "back").symlink_to(folder)
    (folder / ".hidden.png").write_text("x")
    monkeypatch.setenv("INPAINTKIT_CACHE", str(folder / "cache"))
    for _ in range(2):
        found = by_name(opened(folder))
        assert sorted(found) == [*(f"00{i}.png" for i in range(4)), "linked/000.png", "linked/001.png"]


CHANGES = {
    "content": lambda folder: noise(7).save(folder / "000.png"),
    "time": lambda folder: os.utime(folder / "000.png", ns=(1, 1)),
    "one more": lambda folder: noise(9).save(folder / "new.png"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_folder_is_decoded_anew(tmp_path, cache, change):
    folder = fill(tmp_path / "photos")
    opened(folder)
    CHANGES[change](folder)
    assert_decoded(opened(folder), folder)
    assert len(list(cache.glob("decoded/*/index.json"))) == 2


def test_each_way_of_decoding_has_its_own_cache_which_is_read_the_next_time(tmp_path, monkeypatch):
    folder = fill(tmp_path / "photos")
    ways = [{}, {"size": 12}, {"colour": False}, {"resize": "nearest"}, {"aspect": "crop"}]
    first = [opened(folder, **given).describe() for given in ways]
    assert len({str(one["fingerprint"]) for one in first}) == len(ways)
    monkeypatch.setattr(store, "to_square", lambda *_: pytest.fail("decoded twice"))
    assert [opened(folder, **given).describe() for given in ways] == first


DAMAGE = {
    "pixels changed": lambda entry: np.save(entry / "pixels.npy", 255 - np.load(entry / "pixels.npy")),
    "pixels cut short": lambda entry: os.truncate(entry / "pixels.npy", 500),
    "pixels missing": lambda entry: (entry / "pixels.npy").unlink(),
    "index missing": lambda entry: (entry / "index.json").unlink(),
    "index broken": lambda entry: (entry / "index.json").write_text('{"rows": [0'),
    "index of something else": lambda entry: (entry / "index.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_made_anew_and_that_is_said(tmp_path, cache, capsys, damage):
    folder = fill(tmp_path / "photos")
    before = opened(folder).describe()
    DAMAGE[damage](next(cache.glob("decoded/photos*/")))
    assert opened(folder).describe() == before
    assert "made anew" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:1 of 131 files skipped")
def test_processes_and_threads_decode_alike_and_draw_nothing_from_the_seeded_streams(tmp_path, monkeypatch):
    folder = fill(tmp_path / "photos", store.FEW + 2, width=18, height=17)
    put(folder / "064 broken.png", b"x")
    state = torch.get_rng_state()
    found = opened(folder)
    assert torch.equal(torch.get_rng_state(), state)
    assert_decoded(found, folder)
    monkeypatch.setattr(store, "FEW", 1000)
    monkeypatch.setenv("INPAINTKIT_CACHE", str(tmp_path / "another"))
    assert opened(folder).describe() == found.describe()


def test_a_disk_that_is_too_small_or_a_cache_that_cannot_be_written_is_told(tmp_path, cache, monkeypatch):
    folder = fill(tmp_path / "photos")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**7))
        with pytest.raises(OSError, match=r"0\.01 GB are free.*INPAINTKIT_CACHE"):
            opened(folder)
    shutil.rmtree(cache)
    cache.touch()
    for given in ({"name": "folder", "data_dir": folder}, {"name": "caltech101"}):
        with pytest.raises(OSError, match=r"cannot be written to .*INPAINTKIT_CACHE"):
            data.open(**given)
    cache.unlink()
    (cache / "sets" / "fetching.lock").mkdir(parents=True)  # as if it were another user's
    with pytest.raises(OSError, match=r"cannot be written to .*INPAINTKIT_CACHE"):
        data.open("caltech101")


@on_linux
@pytest.mark.parametrize("n", [4, store.FEW])
def test_a_full_disk_leaves_nothing_and_what_a_killed_process_leaves_is_cleared_away(tmp_path, cache, capsys, n):
    import resource

    folder, (usual, most) = fill(tmp_path / "some [1].x", n), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
    try:
        with pytest.raises(OSError, match=r"File too large.*INPAINTKIT_CACHE"):
            opened(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (usual, most))
    assert not left_over(cache)
    opened(folder)
    entry = next(cache.glob("decoded/some*/"))
    entry.rename(entry.with_suffix(".part"))  # as if it had been killed before the end
    assert_decoded(opened(folder), folder)
    assert not left_over(cache)


@pytest.mark.parametrize("n", [3, store.FEW])
def test_a_disk_that_fails_while_reading_is_no_broken_picture(tmp_path, cache, monkeypatch, n):
    folder, real = fill(tmp_path / "photos", n), Image.open

    def fails(path, *given):
        if str(path).endswith("002.png"):
            raise OSError(5, "Input/output error")
        return real(path, *given)

    monkeypatch.setattr(Image, "open", fails)
    with pytest.raises(OSError, match=r"Input/output error.*002\.png"):
        opened(folder)
    assert not left_over(cache)


def described(folder):
    return opened(folder).describe()


@on_linux
def test_two_processes_at_once_decode_once(tmp_path, monkeypatch):
    folder, log, real = fill(tmp_path / "photos", 8), tmp_path / "log", store.to_square

    def slow(*given):
        with log.open("a") as file:
            file.write("x")
        time.sleep(0.05)
        return real(*given)

    monkeypatch.setattr(store, "to_square", slow)
    with multiprocessing.get_context("fork").Pool(2) as both:
        one, two = both.map(described, [folder] * 2, chunksize=1)
    assert log.read_text() == "x" * 8, "one decodes, the other waits for it"
    assert one == two == described(folder)


# --- pictures on disk ---


@pytest.mark.parametrize(
    "wanted", [0, -1, slice(2, 5), slice(None), [3, 1, 1], torch.tensor([4, 0]), np.array([True] * 3 + [False] * 4)]
)
def test_pictures_on_disk_are_indexed_like_a_tensor_and_never_written_to(tmp_path, wanted):
    pictures = opened(fill(tmp_path / "photos", 10)).train
    whole = torch.stack([pictures[i] for i in range(7)])
    assert torch.equal(pictures[wanted], whole[wanted])
    pictures[wanted][:] = 0
    assert torch.equal(pictures[:], whole)
    assert torch.equal(pictures.float(), whole.float())
    assert pictures.to("cpu") is pictures
    assert pictures.to("meta").shape == pictures.shape == whole.shape
    assert pictures.fingerprint() == data.runtime.fingerprint(whole)
