"""Pictures: what comes with packages, folders of one's own, the rules of reading, the cache of decoded pictures."""

import hashlib
import multiprocessing
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import warnings
import zlib
from collections import namedtuple

import numpy as np
import pytest
import torch
from PIL import Image

from inpaintkit import data, papers
from inpaintkit.data import photographs, portraits, store
from inpaintkit.papers import context_encoder

RED = (200, 60, 30)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="names, limits and processes as on Linux")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INPAINTKIT_CACHE", str(tmp_path / "the cache"))
    return tmp_path / "the cache"


def noise(seed, width=24, height=20):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


def fill(folder, n=4, first=0, **size):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        noise(first + i, **size).save(folder / f"{i:03}.png")
    return folder


def opened(folder, **options):
    return data.open("folder", data_dir=folder, **{"size": 16} | options)


def by_name(images):
    parts = [(images.names[part], getattr(images, part)) for part in ("train", "test")]
    return {name: row for names, rows in parts for name, row in zip(names, rows, strict=True)}


def left_over(cache):
    return [path.name for path in cache.rglob("*") if path.suffix == ".part"]


# --- what comes with packages ---


def test_train_and_test_regions_are_a_crop_apart_and_unseen_is_never_trained_on():
    rows = data.regions()
    ends = {row["photograph"]: int(row["right"]) for row in rows if row["part"] == "train"}
    for row in rows:
        assert row["licence"]
        if row["part"] == "test":
            assert int(row["left"]) - ends[row["photograph"]] >= data.WIDEST_CROP
        assert row["part"] != "unseen" or row["photograph"] not in ends


@pytest.mark.parametrize("size", [64, 128])
def test_crops_lie_in_their_regions_and_hold_something(size):
    images = data.open("photographs", size=size, n_train=80)
    boxes = {(row["photograph"], row["part"]): row for row in data.regions()}
    for part in ("train", "test", "unseen"):
        for name, crop in zip(images.names[part], getattr(images, part), strict=True):
            photograph, y, x = re.fullmatch(r"(.*)@(\d+),(\d+)", name).groups()
            top, left, bottom, right = (int(boxes[photograph, part][s]) for s in ("top", "left", "bottom", "right"))
            assert top <= int(y) <= bottom - size
            assert left <= int(x) <= right - size
            assert torch.equal(crop, data.photograph(photograph)[:, int(y) : int(y) + size, int(x) : int(x) + size])
            assert crop.double().mean() / 255 >= photographs.DARK
            assert crop.double().std() / 255 >= photographs.FLAT
    assert len({name.split("@")[0] for name in images.names["train"]}) == 8
    assert "never resized" in repr(images)


def test_a_seed_changes_the_training_crops_and_never_a_test():
    a, b, again, few = (
        data.open("photographs", size=64, n_train=40, **given)
        for given in ({"seed": 0}, {"seed": 1}, {"seed": 0}, {"n_test": 20, "colour": False})
    )
    assert a.fingerprint == again.fingerprint
    assert {part for part in a.names if a.fingerprint[part] != b.fingerprint[part]} == {"train"}
    assert few.test.shape == (20, 1, 64, 64)
    assert set(few.names["test"]) < set(a.names["test"])


def test_one_photograph_alone_and_the_old_name(capsys):
    images = data.open("embedded:brick", size=52, n_train=40)
    assert images.name == "photographs:brick"
    assert "photographs" in capsys.readouterr().out
    assert {name.split("@")[0] for part in ("train", "test") for name in images.names[part]} == {"brick"}
    cfg = context_encoder.Parameters.resolve({"dataset": "embedded"})
    assert cfg.identifying() == context_encoder.Parameters.resolve({}).identifying()


def test_a_photograph_of_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(hashlib, "sha256", hashlib.sha1)  # any other content
    data.photograph.cache_clear()
    with pytest.raises(FileNotFoundError, match="camera"):
        data.photograph("camera")


@pytest.mark.parametrize("size", [64, 68, 100, 128])
def test_portraits_are_parted_the_same_way_whatever_the_seed(size):
    images, other = (data.open("portraits", size=size, colour=size != 68, seed=seed) for seed in (0, 1))
    assert (len(images.train), len(images.test)) == (780, 95)
    assert images.train.shape[1:] == ((1 if size == 68 else 3), size, size)
    assert not set(images.names["train"]) & set(images.names["test"])
    assert images.describe() == other.describe()
    assert images.describe()["names"] == {"train": "62c7d002838c", "test": "92e9c00411ec"}


def test_portraits_can_be_mirrored_and_fewer_are_drawn_by_the_seed():
    plain, mirrored, other = (
        data.open("portraits", size=32, n_train=20, n_test=10, **given) for given in ({}, {"mirror": True}, {"seed": 1})
    )
    assert torch.equal(mirrored.train, torch.cat([plain.train, plain.train.flip(-1)]))
    assert len(mirrored.names["train"]) == 40
    assert torch.equal(mirrored.test, plain.test)
    assert plain.names["test"] == other.names["test"]
    assert plain.names["train"] != other.names["train"]


def test_a_damaged_pack_of_portraits_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(portraits, "PACK", tmp_path / "portraits.zip")
    for content in (None, portraits.PACK.parent.name.encode()):
        if content:
            portraits.PACK.write_bytes(content)
        with pytest.raises(ValueError, match=r"portraits\.zip"):
            data.open("portraits", size=64)


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
        ("photographs", {"mirror": True}, ValueError, "mirror"),
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


# --- files that cannot be used ---


def png_that_claims(width, height, bits=8, kind=2, content=b""):
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def deep_png(channels, kind):
    """A whole PNG of 24x20 pixels with 16 bits per channel, as which Pillow does not show it."""
    return png_that_claims(24, 20, 16, kind, zlib.compress((b"\0" + b"\x9c\x40" * 24 * channels) * 20))


def cut(path):
    noise(9, 64, 64).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def animated(path):
    noise(9).save(path, save_all=True, append_images=[noise(10)])


BAD = {
    "cut.jpg": (cut, "not a readable picture"),
    "cut.gif": (cut, "not a readable picture"),
    "empty.png": (lambda path: path.touch(), "not a readable picture"),
    "text.jpg": (lambda path: path.write_text("hello"), "not a readable picture"),
    "deep.png": (lambda path: Image.fromarray(np.full((20, 24), 40_000, np.uint16)).save(path), "8 bits"),
    "deep RGB.png": (lambda path: path.write_bytes(deep_png(3, 2)), "8 bits"),
    "deep LA.png": (lambda path: path.write_bytes(deep_png(2, 4)), "8 bits"),
    "deep.ppm": (lambda path: path.write_bytes(b"P6 24 20 1000\n" + bytes(2880)), "8 bits"),
    "moving.gif": (animated, "2 frames"),
    "pages.tif": (animated, "2 frames"),
    "huge.png": (lambda path: path.write_bytes(png_that_claims(20_000, 20_000)), "89,478,485 pixels"),
    "large.png": (lambda path: path.write_bytes(png_that_claims(10_000, 9_000)), "89,478,485 pixels"),
    "small.png": (lambda path: noise(9, 15, 40).save(path), "15x40 is smaller than size=16"),
    "nowhere.png": (lambda path: path.symlink_to("gone.png"), "not a readable picture"),
    "itself.png": (lambda path: path.symlink_to(path), "not a readable picture"),
    "copy.png": (lambda path: shutil.copy(path.parent / "000.png", path), "a duplicate of 000.png"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_skipped_named_and_counted_also_from_the_cache(tmp_path, cache, name):
    make, reason = BAD[name]
    folder = fill(tmp_path / "photos")
    make(folder / name)
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
    ("make", "error"),
    [
        (lambda folder: None, "holds no files"),
        (lambda folder: (folder / "a.png").write_text("x"), "none of the 1 files"),
        (lambda folder: fill(folder, 1), "1 usable picture, too few for a training and a test part"),
        (lambda folder: shutil.copy(fill(folder, 1) / "000.png", folder / "b.png"), "1 usable picture,"),
    ],
)
def test_a_folder_of_no_use_leaves_nothing_in_the_cache(tmp_path, cache, make, error):
    (tmp_path / "photos").mkdir()
    make(tmp_path / "photos")
    with pytest.raises(ValueError, match=error):
        opened(tmp_path / "photos")
    assert not left_over(cache)


# --- the rules of reading ---


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("print.jpg", lambda path: Image.new("RGB", (40, 30), RED).convert("CMYK").save(path)),
        ("palette.png", lambda path: Image.new("RGB", (40, 30), RED).convert("P").save(path)),
        ("one frame.jpg", lambda path: Image.new("RGB", (40, 30), RED).save(path, "GIF")),
        ("camera.jpg", lambda path: Image.new("RGB", (40, 30), RED).save(path, "MPO", save_all=True)),
        ("фото 100%[1]\n.JPG", lambda path: Image.new("RGB", (40, 30), RED).save(path, "PNG")),
        (os.fsdecode(b"\xff\xfe"), lambda path: Image.new("RGB", (40, 30), RED).save(path, "BMP")),
        (
            "below/and/below",
            lambda path: [path.parent.mkdir(parents=True), Image.new("RGB", (40, 30), RED).save(path, "PPM")],
        ),
    ],
)
def test_a_file_is_what_it_holds_and_not_what_it_is_called(tmp_path, name, make):
    folder = fill(tmp_path / "photos")
    make(folder / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = by_name(opened(folder))[name].float()
    assert (found.mean((1, 2)) - torch.tensor(RED)).abs().max() < 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGBA"])
def test_any_mode_becomes_rgb_or_grey(tmp_path, mode):
    noise(0).convert(mode).save(tmp_path / "a.png")
    assert data.decode(tmp_path / "a.png", 16).shape == (3, 16, 16)
    assert data.decode(tmp_path / "a.png", 16, colour=False).shape == (1, 16, 16)


def test_transparent_pixels_become_white_and_a_camera_may_be_turned(tmp_path):
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (data.decode(tmp_path / "clear.png", 16) == 255).all()
    picture = Image.new("RGB", (40, 20), "black")
    picture.paste("white", (0, 0, 20, 20))
    exif = picture.getexif()
    exif[0x0112] = 6  # turn by 90 degrees to view
    picture.save(tmp_path / "turned.png", exif=exif)
    pixels = data.decode(tmp_path / "turned.png", 16)
    assert pixels[0, 1].mean() > 200
    assert pixels[0, -2].mean() < 50


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_limit_on_pixels_is_pillows_and_can_be_lifted(tmp_path, monkeypatch):
    noise(0, 40, 40).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    with pytest.raises(ValueError, match="1,500 pixels"):
        data.decode(tmp_path / "a.png", 16)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert data.decode(tmp_path / "a.png", 16).shape == (3, 16, 16)


@pytest.mark.parametrize(("width", "height"), [(50, 31), (9, 12), (16, 16)])
def test_the_filters_are_pillows_bicubic_and_torchs_bilinear(tmp_path, width, height):
    picture = noise(0, width, height)
    picture.save(tmp_path / "a.png")
    bicubic, bilinear, nearest = (
        data.decode(tmp_path / "a.png", 16, resize=resize, enlarge=True)
        for resize in ("bicubic", "bilinear", "nearest")
    )
    assert np.array_equal(bicubic.transpose(1, 2, 0), picture.resize((16, 16), Image.Resampling.BICUBIC))
    tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(tensor, 16, mode="bilinear", antialias=False)[0]
    assert (torch.from_numpy(bilinear).float() - expected).abs().max() <= 1
    assert set(nearest[0].ravel()) <= set(np.array(picture)[..., 0].ravel())


def test_a_large_jpeg_at_a_fraction_is_nearly_the_same_and_a_crop_is_the_middle(tmp_path):
    picture = noise(0, 16, 12).resize((800, 600), Image.Resampling.BICUBIC)
    picture.save(tmp_path / "a.jpg", quality=95)
    for aspect, box in (("squash", None), ("crop", (100, 0, 700, 600))):
        expected = np.array(picture.resize((64, 64), Image.Resampling.BICUBIC, box), int).transpose(2, 0, 1)
        assert np.abs(data.decode(tmp_path / "a.jpg", 64, aspect=aspect) - expected).mean() < 3


# --- the folder and its cache ---


@pytest.mark.parametrize(("n", "parts"), [(2, (1, 1)), (5, (3, 2)), (40, (28, 12))])
@pytest.mark.parametrize("paper", papers.PAPERS)
def test_ones_own_pictures_are_parted_whatever_the_profiles_numbers(tmp_path, capsys, paper, n, parts):
    folder = fill(tmp_path / "photos", n, width=130, height=130)
    cfg = papers.get(paper).Parameters.resolve({"profile": "smoke", "dataset": "folder", "data_dir": str(folder)})
    images = data.open_for(cfg)
    assert (len(images.train), len(images.test)) == parts
    assert f"{parts[0]} pictures are for training and {parts[1]} for the test" in capsys.readouterr().out
    assert len(data.open_for(cfg.changed(n_test=1)).test) == 1
    with pytest.raises(ValueError, match=f"n_train={n} and n_test=1"):
        opened(folder, n_train=n, n_test=1)


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


def change_content(folder):
    noise(7).save(folder / "000.png")


def touch(folder):
    os.utime(folder / "000.png", ns=(1, 1))


def add(folder):
    noise(9).save(folder / "new.png")


@pytest.mark.parametrize("change", [change_content, touch, add])
def test_a_changed_folder_is_decoded_anew(tmp_path, cache, change):
    folder = fill(tmp_path / "photos")
    opened(folder)
    change(folder)
    assert all(np.array_equal(row, data.decode(folder / name, 16)) for name, row in by_name(opened(folder)).items())
    assert len(list(cache.glob("decoded/*/index.json"))) == 2


def test_each_way_of_decoding_has_its_own_cache_which_is_read_the_next_time(tmp_path, cache, monkeypatch):
    folder = fill(tmp_path / "photos")
    ways = [{}, {"size": 12}, {"colour": False}, {"resize": "nearest"}, {"aspect": "crop"}]
    first = [opened(folder, **given).describe() for given in ways]
    assert len({str(one["fingerprint"]) for one in first}) == len(ways)
    monkeypatch.setattr(store, "to_square", lambda *_: pytest.fail("decoded twice"))
    assert [opened(folder, **given).describe() for given in ways] == first


def pixels_changed(entry):
    with (entry / "pixels.npy").open("r+b") as file:
        file.seek(200)
        file.write(b"changed in place")


DAMAGE = {
    "pixels changed in place": pixels_changed,
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
    (folder / "064 broken.png").write_text("x")
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    found = opened(folder)
    assert torch.equal(torch.rand(3), expected)
    assert all(np.array_equal(row, data.decode(folder / name, 16)) for name, row in by_name(found).items())
    monkeypatch.setattr(store, "FEW", 1000)
    monkeypatch.setenv("INPAINTKIT_CACHE", str(tmp_path / "another"))
    assert opened(folder).describe() == found.describe()


def test_a_disk_that_is_too_small_or_a_folder_that_cannot_be_written_is_told(tmp_path, cache, monkeypatch):
    folder = fill(tmp_path / "photos")
    with monkeypatch.context() as patch:
        usage = namedtuple("usage", "free")
        patch.setattr(shutil, "disk_usage", lambda _: usage(10**7))
        with pytest.raises(OSError, match="INPAINTKIT_CACHE") as caught:
            opened(folder)
        assert str(caught.value).count("INPAINTKIT_CACHE") == 1
    (tmp_path / "a file").touch()
    monkeypatch.setenv("INPAINTKIT_CACHE", str(tmp_path / "a file" / "below"))
    with pytest.raises(OSError, match="INPAINTKIT_CACHE"):
        opened(folder)


FULL_DISK = """
import os, resource, signal, sys
from inpaintkit import data
from inpaintkit.data import store

for folder in sys.argv[1:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, -1))
    try:
        data.open("folder", data_dir=folder, size=16)
    except OSError as error:
        print(len(list(store.cache_dir().rglob("*.part"))), repr(str(error)), flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
store.runtime.write_json = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
data.open("folder", data_dir=folder, size=16)
"""


@on_linux
def test_a_full_disk_leaves_nothing_and_what_a_killed_process_leaves_is_cleared_away(tmp_path, cache):
    folders = [fill(tmp_path / name, n) for name, n in (("few [1].x", 4), ("many", store.FEW))]
    command = [sys.executable, "-c", FULL_DISK, *map(str, folders)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    lines = ended.stdout.splitlines()
    assert len(lines) == 2
    assert all(re.fullmatch("0 .*(File too large).*INPAINTKIT_CACHE.*", line) for line in lines), lines
    assert left_over(cache), "of the killed one"
    assert len(by_name(opened(folders[1]))) == store.FEW
    assert not left_over(cache)


@pytest.mark.parametrize("n", [3, store.FEW])
def test_a_disk_that_fails_while_reading_is_no_broken_picture(tmp_path, cache, monkeypatch, n):
    folder = fill(tmp_path / "photos", n)
    real = Image.open

    def fails(path, *given):
        if str(path).endswith("002.png"):
            raise OSError(5, "Input/output error", str(path))
        return real(path, *given)

    monkeypatch.setattr(Image, "open", fails)
    with pytest.raises(OSError, match=r"002\.png cannot be read \(Input/output error\)"):
        opened(folder)
    assert not left_over(cache)


def _open_slowly(folder, start, told):
    real, decoded = store.to_square, []

    def slow(*given):
        decoded.append(given)
        time.sleep(0.05)
        return real(*given)

    store.to_square = slow  # of this process alone
    start.wait()
    told.put((opened(folder).describe(), len(decoded)))


@on_linux
def test_two_processes_at_once_decode_once(tmp_path):
    folder = fill(tmp_path / "photos", 8)
    forks = multiprocessing.get_context("fork")
    start, told = forks.Barrier(2), forks.Queue()
    both = [forks.Process(target=_open_slowly, args=(folder, start, told), daemon=True) for _ in range(2)]
    for process in both:
        process.start()
    (one, first), (two, second) = (told.get(timeout=60) for _ in both)
    assert sorted([first, second]) == [0, 8], "one decodes, the other waits for it"
    assert one == two == opened(folder).describe()


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
