"""Files to pixels, the cache of decoded pictures, and the splits, with everything that can be wrong with a folder."""

import errno
import hashlib
import json
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
from collections import Counter, namedtuple

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image, ImageFilter

from inpaintkit import data, runtime
from inpaintkit.data import pictures, splits
from inpaintkit.data.decoding import Decoding, TooSmall

RED = (200, 60, 30)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="names, limits and workers as on Linux")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INPAINTKIT_CACHE", str(tmp_path / "the cache"))
    return tmp_path / "the cache"


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that were decoded, as long as no workers did it."""
    names, real = [], pictures.decode

    def counted(path, *arguments):
        names.append(os.path.basename(path))
        return real(path, *arguments)

    monkeypatch.setattr(pictures, "decode", counted)
    return names


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """More files than FEW, so that workers decode them: three rounds of ROWS, the last one short."""
    folder = fill(tmp_path_factory.mktemp("many"), pictures.FEW + 2, width=18, height=17)
    (folder / "064 broken.png").write_text("x")
    return folder


def noise(seed, width=24, height=20):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


def fill(folder, n=3, suffix=".png", first=0, **size):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        noise(first + i, **size).save(folder / f"{i:03}{suffix}")
    return folder


def opened(folder, **options):
    return data.open("folder", data_dir=folder, **{"size": 16} | options)


def by_name(images):
    parts = [(images.names[part], getattr(images, part)) for part in ("train", "test")]
    return {name: row for names, rows in parts for name, row in zip(names, rows, strict=True)}


def is_what_decode_gives(images, folder, **how):
    found = by_name(images)
    assert found
    return all(np.array_equal(row, data.decode(folder / name, **{"size": 16} | how)) for name, row in found.items())


def parts_left(cache):
    return sorted(path.name for path in cache.rglob("*.part"))


def snapshot(folder):
    return sorted((str(path), path.lstat().st_mtime_ns, path.lstat().st_size) for path in [folder, *folder.rglob("*")])


def png_that_claims(width, height, bits=8, kind=2, content=b""):
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def deep_png(channels, kind):
    """A whole PNG of 24x20 pixels with 16 bits per channel."""
    return png_that_claims(24, 20, 16, kind, zlib.compress((b"\0" + b"\x9c\x40" * 24 * channels) * 20))


def planar_tiff(bits):
    """A whole TIFF of 16x16 RGB pixels, channel after channel, which Pillow cannot write."""
    plane = 256 * bits // 8
    tags = [(256, 16), (257, 16), (258, [bits] * 3), (262, 2), (273, [200 + i * plane for i in range(3)])]
    tags += [(277, 3), (278, 16), (279, [plane] * 3), (284, 2)]
    entries, lists = b"", b""
    for tag, value in tags:
        if isinstance(value, list):
            entries += struct.pack("<HHII", tag, 4, 3, 8 + 2 + 12 * len(tags) + 4 + len(lists))
            lists += struct.pack("<3I", *value)
        else:
            entries += struct.pack("<HHII", tag, 4, 1, value)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + lists
    return head.ljust(200, b"\0") + b"\x40" * 3 * plane


def bmp_that_claims(width, height):
    return struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, *[0] * 6)


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


# --- files that cannot be used ---


def _cut_jpeg(path):
    noise(9, 64, 64).save(path)
    cut(path, 0.5)


def _cut_animation(path):
    Image.new("L", (16, 16)).save(path, save_all=True, append_images=[Image.new("L", (16, 16), 200)])
    cut(path, 0.7)


def _jpeg_with_odd_exif(path):
    """It says which way up, so that it is written anew; and its width (tag 0x100) is a text."""
    tiff = b"MM\0*" + struct.pack(">IHHHIIHHII", 8, 2, 0x0100, 2, 6, 38, 0x0112, 3, 1, 6 << 16) + b"\0\0\0\0hello\0"
    noise(9).save(path, exif=b"Exif\0\0" + tiff)


def _animated(path):
    noise(9).save(path, save_all=True, append_images=[noise(10)], **{"lossless": True} if "webp" in path.name else {})


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("cut.jpg", _cut_jpeg, r"not a readable picture \(OSError: image file is truncated.*\)"),
        ("empty.png", lambda path: path.write_bytes(b""), r"not a readable picture \(UnidentifiedImageError: .*\)"),
        ("text.jpg", lambda path: path.write_text("hello"), r"not a readable picture \(UnidentifiedImageError: .*\)"),
        (
            "deep.png",
            lambda path: Image.fromarray(np.full((20, 24), 40_000, np.uint16)).save(path),
            "more than 8 bits per channel; convert it to 8 bits",
        ),
        ("deep RGB.png", lambda path: path.write_bytes(deep_png(3, 2)), "more than 8 bits per channel; .*"),
        ("deep LA.png", lambda path: path.write_bytes(deep_png(2, 4)), "more than 8 bits per channel; .*"),
        ("deep RGBA.png", lambda path: path.write_bytes(deep_png(4, 6)), "more than 8 bits per channel; .*"),
        (
            "deep.ppm",
            lambda path: path.write_bytes(b"P6 24 20 1000\n" + bytes(2880)),
            "more than 8 bits per channel; .*",
        ),
        ("deep.tif", lambda path: path.write_bytes(planar_tiff(16)), "more than 8 bits per channel; .*"),
        ("moving.gif", _animated, "2 frames or pages; save the one that you want as a file of its own"),
        ("moving.webp", _animated, "2 frames or pages; .*"),
        ("pages.tif", _animated, "2 frames or pages; .*"),
        ("huge.png", lambda path: path.write_bytes(png_that_claims(20_000, 20_000)), "more than 89,478,485 pixels; .*"),
        ("huge.bmp", lambda path: path.write_bytes(bmp_that_claims(20_000, 20_000)), "more than 89,478,485 pixels; .*"),
        ("large.png", lambda path: path.write_bytes(png_that_claims(10_000, 9_000)), "more than 89,478,485 pixels; .*"),
        ("large.bmp", lambda path: path.write_bytes(bmp_that_claims(10_000, 9_000)), "more than 89,478,485 pixels; .*"),
        ("small.png", lambda path: noise(9, 15, 40).save(path), "15x40 is smaller than size=16"),
    ],
)
def test_an_unusable_file_is_skipped_with_one_reason_and_the_others_are_used(tmp_path, cache, name, make, reason):
    folder = fill(tmp_path / "photos")
    make(folder / name)
    with pytest.warns(UserWarning, match="skipped") as caught:
        images = opened(folder)
    assert len(caught) == 1, "one sentence, and none of Pillow's own"
    assert re.fullmatch(f"1 of 4 files skipped: {re.escape(name)}: {reason}", str(caught[0].message))
    assert caught[0].filename == __file__, "the line that opened the folder"
    assert sorted(by_name(images)) == ["000.png", "001.png", "002.png"]
    assert is_what_decode_gives(images, folder)
    assert not parts_left(cache)


@pytest.mark.parametrize(("name", "make"), [("cut.gif", _cut_animation), ("exif.jpg", _jpeg_with_odd_exif)])
@pytest.mark.filterwarnings("ignore:1 of 4 files skipped")
def test_a_damaged_file_of_another_kind_does_not_cost_the_others(tmp_path, name, make):
    folder = fill(tmp_path / "photos")
    make(folder / name)
    assert {"000.png", "001.png", "002.png"} <= set(by_name(opened(folder)))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_limit_on_pixels_is_pillows(tmp_path, monkeypatch):
    noise(0, 40, 40).save(tmp_path / "a.png")
    for limit in (1500, 700):  # Pillow itself would only warn; Pillow refuses
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ValueError, match="pixels; shrink it first"):
            data.decode(tmp_path / "a.png", 16)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1600)
    assert data.decode(tmp_path / "a.png", 16).shape == (3, 16, 16)


def test_a_limit_that_was_lifted_is_no_reason_to_refuse_everything(tmp_path, monkeypatch):
    noise(0).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert data.decode(tmp_path / "a.png", 16).shape == (3, 16, 16)


def _camera(path):
    Image.new("RGB", (40, 30), RED).save(path, "MPO", save_all=True, append_images=[Image.new("RGB", (40, 30))])


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("print.jpg", lambda path: Image.new("RGB", (40, 30), RED).convert("CMYK").save(path)),
        ("one frame.jpg", lambda path: Image.new("RGB", (40, 30), RED).save(path, "GIF")),
        ("renamed.JPG", lambda path: Image.new("RGB", (40, 30), RED).save(path, "PNG")),
        ("camera.jpg", _camera),
        ("modern.WEBP", lambda path: Image.new("RGB", (40, 30), RED).save(path)),
        ("portable", lambda path: Image.new("RGB", (40, 30), RED).save(path, "PPM")),
        ("UPPER.JPEG", lambda path: Image.new("RGB", (40, 30), RED).save(path)),
        ("without extension", lambda path: Image.new("RGB", (40, 30), RED).save(path, "BMP")),
    ],
)
def test_a_file_is_what_it_holds_and_not_what_it_is_called(tmp_path, name, make):
    folder = fill(tmp_path / "photos")
    make(folder / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = by_name(opened(folder))
    assert len(found) == 4
    assert (found[name].float().mean((1, 2)) - torch.tensor(RED)).abs().max() < 4
    assert found[name].float().std((1, 2)).max() < 1


# --- names and links ---


def rename(folder, names):
    for i, name in enumerate(names):
        (folder / f"{i:03}.png").rename(folder / name)


def test_any_name_will_do(tmp_path):
    folder = fill(tmp_path / "фото und Bilder 100%[1]", 5)
    names = [
        "with spaces .png",
        "写真 é.png",
        "100% {a} [b]*?.png" if os.name != "nt" else "100%.png",
        "A.PNG",
        "'\".png",
    ]
    rename(folder, names if os.name != "nt" else [*names[:4], "'.png"])
    images = opened(folder)
    assert len(by_name(images)) == 5
    assert is_what_decode_gives(images, folder)
    assert opened(folder).describe() == images.describe()


@on_linux
def test_undecodable_bytes_in_names_will_do_too(tmp_path, capfd):
    folder = fill(tmp_path / os.fsdecode(b"f\xff\xfe"), 4)
    rename(folder, [os.fsdecode(b"a\xff.png"), os.fsdecode(b"a\xfe.png")])
    (folder / os.fsdecode(b"broken\xff.png")).write_text("x")
    with pytest.warns(UserWarning, match="1 of 5 files skipped: broken"):
        images = opened(folder)
    assert is_what_decode_gives(images, folder)
    json.dumps(images.describe()).encode()
    assert splits.fingerprint([os.fsdecode(b"\xff")]) != splits.fingerprint([os.fsdecode(b"\xfe")])


@on_linux
def test_a_newline_in_a_name_will_do_too(tmp_path):
    folder = fill(tmp_path / "photos")
    rename(folder, ["a\nb.png"])
    assert "a\nb.png" in by_name(opened(folder))


def test_links_to_files_and_folders_are_followed_and_those_to_nowhere_are_named(tmp_path):
    folder, elsewhere = fill(tmp_path / "photos", 2), fill(tmp_path / "elsewhere", 3, first=5)
    try:
        (folder / "album").symlink_to(elsewhere, target_is_directory=True)
    except OSError:
        pytest.skip("this system lets nobody make links")
    noise(9).save(tmp_path / "single.png")
    (folder / "linked.png").symlink_to(tmp_path / "single.png")
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "back").symlink_to(folder, target_is_directory=True)  # ends
    (elsewhere / "up").symlink_to(tmp_path, target_is_directory=True)  # ends, too: with what else lies there
    expected = {"000.png", "001.png", "linked.png", "album/000.png", "album/001.png", "album/002.png"}
    with pytest.warns(UserWarning, match=r"gone\.png: not a readable picture \(FileNotFoundError") as caught:
        images = opened(folder)
    assert len(caught) == 1
    assert set(by_name(images)) - {"album/up/single.png"} <= expected
    assert len(by_name(images)) == 6, "each picture once, by whichever way it was found"
    assert is_what_decode_gives(images, folder)
    noise(10).save(tmp_path / "single.png")  # what a link leads to has changed
    with pytest.warns(UserWarning, match="gone"):
        assert is_what_decode_gives(opened(folder), folder)


@on_linux
def test_a_link_to_itself_is_named_as_skipped(tmp_path):
    folder = fill(tmp_path / "photos")
    (folder / "a.png").symlink_to("a.png")
    with warnings.catch_warnings(record=True) as caught:
        opened(folder)
    assert [str(warning.message)[:29] for warning in caught] == ["1 of 4 files skipped: a.png: "]


@on_linux
def test_the_listing_does_not_depend_on_the_order_in_which_the_disk_tells_of_files(tmp_path, monkeypatch):
    fill(tmp_path / "photos" / "b")
    (tmp_path / "photos" / "a").symlink_to("b")
    real, Entries = os.scandir, namedtuple("Entries", "entries")
    Entries.__enter__, Entries.__exit__ = lambda self: iter(self.entries), lambda *_: None
    listings = []
    for order in (1, -1):
        ordered = lambda path, order=order: Entries(sorted(real(path), key=lambda entry: entry.name)[::order])  # noqa: E731
        monkeypatch.setattr(os, "scandir", ordered)
        listings.append(pictures.listing(tmp_path / "photos"))
    assert listings[0] == listings[1]


def test_hidden_files_are_not_looked_at(tmp_path):
    folder = fill(tmp_path / "photos")
    fill(folder / ".thumbnails")
    (folder / ".DS_Store").write_text("x")
    assert [name for name, *_ in pictures.listing(folder)] == ["000.png", "001.png", "002.png"]


# --- folders and disks that cannot be used ---


def test_one_picture_cannot_be_parted(tmp_path, cache):
    with pytest.raises(
        ValueError, match=r"^.*holds 1 usable pictures, too few for a training and a test part: add some\.$"
    ):
        opened(fill(tmp_path / "photos", 1))
    assert not parts_left(cache)


def test_a_folder_without_any_picture_leaves_nothing_in_the_cache(tmp_path, cache):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"none of the 1 files in .* is a usable picture; the first: a\.txt: "):
        opened(tmp_path / "photos")
    assert not parts_left(cache)
    assert not list(cache.rglob("pixels.u8"))


def test_nothing_is_written_beside_the_pictures(tmp_path):
    folder = fill(tmp_path / "photos")
    fill(folder / "more", first=3)
    for path in (folder / "more", folder):
        path.chmod(0o555)  # root may write nevertheless
    before = snapshot(folder)
    opened(folder)
    opened(folder)
    after = snapshot(folder)
    for path in (folder, folder / "more"):
        path.chmod(0o755)
    assert before == after


@pytest.mark.parametrize("below", [".", "deep/down"])
def test_a_cache_that_cannot_be_made_is_told_in_a_sentence(tmp_path, monkeypatch, below):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("INPAINTKIT_CACHE", str(tmp_path / "file" / below))
    with pytest.raises(
        OSError, match=r"could not be decoded into .*file.* INPAINTKIT_CACHE may name a folder"
    ) as caught:
        opened(fill(tmp_path / "photos"))
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "x"


@pytest.fixture
def small_disk(monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10**7, 10**7))


def test_a_disk_that_is_too_small_is_told_before_anything_is_decoded(tmp_path, cache, decoded, small_disk):
    with pytest.raises(OSError, match=r"decoding the 3 files of photos needs 0\.00 GB in .*, where 0\.01 GB are free"):
        opened(fill(tmp_path / "photos"))
    assert not decoded
    assert not parts_left(cache)


def test_a_disk_that_is_too_small_is_told_in_one_sentence(tmp_path, small_disk):
    with pytest.raises(OSError, match="INPAINTKIT_CACHE") as caught:
        opened(fill(tmp_path / "photos"))
    assert str(caught.value).count("INPAINTKIT_CACHE") == 1


FULL_DISK = """
import os, resource, signal, sys
from inpaintkit import data
from inpaintkit.data import pictures

few, many = sys.argv[1:]
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)

def limit(n_bytes):
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, unlimited[1]))

def promise(file, start, n_bytes):  # a disk that has room, and then has none when it is written to
    limit(unlimited[0])
    os.ftruncate(file, n_bytes)
    limit(1000)

def attempt(folder):
    try:
        data.open("folder", data_dir=folder, size=16)
    except OSError as error:
        print(len(list(pictures.cache_dir().rglob("*.part"))), repr(str(error)), flush=True)

limit(1000)
attempt(few)
os.posix_fallocate = promise
attempt(few)
attempt(many)
limit(unlimited[0])
real, calls = pictures.decode, []

def killed(*arguments):
    calls.append(arguments)
    return real(*arguments) if len(calls) < 3 else os.kill(os.getpid(), signal.SIGKILL)

pictures.decode = killed
attempt(few)
"""


@on_linux
def test_a_full_disk_leaves_nothing_and_what_a_killed_process_leaves_is_cleared_away(tmp_path, cache, many):
    few = fill(tmp_path / "photos [1].x", 4)
    command = [sys.executable, "-c", FULL_DISK, str(few), str(many)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    lines = ended.stdout.splitlines()
    sentence = (
        r"0 'the pictures of .* could not be decoded into .* \(File too large\); nothing was left there\. INPAINT.*'"
    )
    assert len(lines) == 3, "no room from the start; none later, without workers; and with"
    assert all(re.fullmatch(sentence, line) for line in lines), lines
    assert len(parts_left(cache)) == 1, "of the killed one"
    assert is_what_decode_gives(opened(few), few)
    assert not parts_left(cache)


def test_an_interruption_leaves_nothing(tmp_path, cache, monkeypatch, many):
    def interrupt(*_):
        raise KeyboardInterrupt

    folder = fill(tmp_path / "photos", 5)
    with monkeypatch.context() as patch:
        calls, real = iter(range(9)), pictures.decode
        patch.setattr(pictures, "decode", lambda *given: interrupt() if next(calls) == 3 else real(*given))
        with pytest.raises(KeyboardInterrupt):
            opened(folder)
    assert not parts_left(cache)
    assert is_what_decode_gives(opened(folder), folder)
    with monkeypatch.context() as patch:
        patch.setattr(pictures.tqdm, "update", interrupt)  # after the first round of the workers
        with pytest.raises(KeyboardInterrupt):
            opened(many)
    assert not parts_left(cache)
    assert not list(cache.rglob("many*/pixels.u8"))


# --- the cache ---


def test_the_second_time_nothing_is_decoded(tmp_path, decoded):
    folder = fill(tmp_path / "photos")
    first = opened(folder)
    assert decoded == ["000.png", "001.png", "002.png"]
    second = opened(folder, seed=0)
    assert len(decoded) == 3
    assert second.describe() == first.describe()
    opened(folder, seed=5, n_train=1)
    assert len(decoded) == 3, "a split needs no pixels"


@pytest.mark.parametrize(
    "change", [{"size": 17}, {"colour": False}, {"resize": "bilinear"}, {"resize": "nearest"}, {"aspect": "crop"}]
)
def test_another_way_of_decoding_is_another_cache(tmp_path, decoded, change):
    folder = fill(tmp_path / "photos")
    before = opened(folder)
    assert is_what_decode_gives(opened(folder, **change), folder, **change)
    assert len(decoded) == 6
    assert opened(folder).describe() == before.describe()
    assert len(decoded) == 6, "the first is still there"


def test_enlarging_is_another_cache_and_is_counted(tmp_path, decoded):
    folder = fill(tmp_path / "photos")
    noise(7, 10, 40).save(folder / "small.png")
    with pytest.warns(UserWarning, match=r"small\.png: 10x40 is smaller than size=16"):
        _, _, rows, notes = pictures.load(folder, None, Decoding(16))
    assert (rows, notes["files skipped"]) == ([0, 1, 2], 1)
    stored, names, rows, notes = pictures.load(folder, None, Decoding(16, enlarge=True))
    assert (names[3], rows) == ("small.png", [0, 1, 2, 3])
    assert notes == {"files skipped": 0, "exact duplicates left out": 0, "smaller pictures enlarged": 1}
    assert np.array_equal(stored[3], data.decode(folder / "small.png", 16, enlarge=True))
    assert np.array_equal(stored[0], data.decode(folder / "000.png", 16))


def test_a_new_version_of_decode_reads_no_old_cache(tmp_path, monkeypatch):
    folder = fill(tmp_path / "photos")
    before = opened(folder)
    monkeypatch.setattr(pictures, "VERSION", pictures.VERSION + 1)
    monkeypatch.setattr(pictures, "decode", lambda path, *given: 255 - data.decode(path, *given))
    assert torch.equal(opened(folder).train[:], 255 - before.train[:])


def _other_content_of_the_same_size(folder):
    path = folder / "001.bmp"
    then = path.stat().st_mtime_ns
    noise(50).save(path)
    os.utime(path, ns=(then, then + 1_000_000))


def _other_size_at_the_same_time(folder):
    path = folder / "001.bmp"
    then = path.stat().st_mtime_ns
    noise(50, 30, 30).save(path)
    os.utime(path, ns=(then, then))


@pytest.mark.parametrize(
    ("change", "count"),
    [
        (_other_content_of_the_same_size, 4),
        (_other_size_at_the_same_time, 4),
        (lambda folder: noise(50).save(folder / "new.bmp"), 5),
        (lambda folder: (folder / "001.bmp").unlink(), 3),
        (lambda folder: (folder / "001.bmp").rename(folder / "0001.bmp"), 4),
        (lambda folder: fill(folder / "below", 1, first=50), 5),
    ],
)
def test_a_changed_file_is_never_read_from_the_old_cache(tmp_path, decoded, change, count):
    folder = fill(tmp_path / "photos", 4, ".bmp")
    opened(folder)
    change(folder)
    images = opened(folder)
    assert len(by_name(images)) == count
    assert len(decoded) == 4 + count
    assert is_what_decode_gives(images, folder)


def test_another_folder_of_the_same_name_is_another_cache_and_another_way_to_the_same_is_not(
    tmp_path, monkeypatch, decoded
):
    one, two = fill(tmp_path / "one" / "photos", 3, ".bmp"), fill(tmp_path / "two" / "photos", 3, ".bmp", first=20)
    for path in [*one.iterdir(), *two.iterdir()]:
        os.utime(path, ns=(10**18, 10**18))
    assert pictures.listing(one) == pictures.listing(two)
    assert is_what_decode_gives(opened(one), one)
    assert is_what_decode_gives(opened(two), two)
    assert len(decoded) == 6
    monkeypatch.chdir(tmp_path / "one")
    opened("photos")
    opened(tmp_path / "two" / ".." / "one" / "photos")
    assert len(decoded) == 6


@pytest.mark.parametrize("damage", ["array cut short", "array missing", "index missing"])
def test_a_cache_that_is_not_whole_is_made_anew(tmp_path, cache, decoded, damage):
    folder = fill(tmp_path / "photos")
    before = opened(folder).describe()
    (entry,) = [path for path in (cache / "decoded").iterdir() if path.is_dir()]
    if damage == "array cut short":
        os.truncate(entry / "pixels.u8", 3 * 3 * 16 * 16 - 1)
    else:
        (entry / {"array missing": "pixels.u8", "index missing": "index.json"}[damage]).unlink()
    assert opened(folder).describe() == before
    assert len(decoded) == 6
    assert not parts_left(cache)


def test_a_cache_inside_the_folder_is_not_taken_for_pictures(tmp_path, monkeypatch, decoded):
    folder = fill(tmp_path / "photos")
    monkeypatch.setenv("INPAINTKIT_CACHE", str(folder / "cache"))
    opened(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened(folder)
    assert len(decoded) == 3


def _open_slowly(folder, start, told):
    decoded, real = [], pictures.decode

    def slow(*arguments):
        decoded.append(arguments)
        time.sleep(0.1)
        return real(*arguments)

    pictures.decode = slow  # of this process alone
    start.wait()
    told.put((opened(folder).describe(), len(decoded)))


@on_linux
def test_two_processes_at_once_decode_once(tmp_path, cache):
    folder = fill(tmp_path / "photos", 8)
    forks = multiprocessing.get_context("fork")
    start, told = forks.Barrier(2), forks.Queue()
    both = [forks.Process(target=_open_slowly, args=(folder, start, told)) for _ in range(2)]
    try:
        for process in both:
            process.start()
        (one, first), (two, second) = (told.get(timeout=60) for _ in both)
    finally:
        for process in both:
            process.join(10)
            process.kill()
    assert sorted([first, second]) == [0, 8], "one decodes, the other waits for it"
    assert one == two == opened(folder).describe()
    assert not parts_left(cache)


@pytest.fixture
def workers(monkeypatch):
    """How many workers each decoding had."""
    real, counts = pictures.DataLoader, []

    def counted(*given, num_workers, **named):
        counts.append(num_workers)
        return real(*given, num_workers=num_workers, **named)

    monkeypatch.setattr(pictures, "DataLoader", counted)
    return counts


@pytest.mark.filterwarnings("ignore:1 of 131 files skipped")
def test_with_workers_and_without_every_row_is_that_files_decode(monkeypatch, tmp_path, many, workers):
    with_workers = opened(many, n_train=100)
    monkeypatch.setenv("INPAINTKIT_CACHE", str(tmp_path / "another cache"))
    monkeypatch.setattr(pictures, "FEW", 10**9)
    without = opened(many, n_train=100)
    assert workers[0] > 0
    assert workers[1:] == [0]
    assert with_workers.describe() == without.describe()
    assert with_workers.names == without.names
    assert len(by_name(without)) == 130
    assert is_what_decode_gives(with_workers, many)
    assert "064 broken.png" not in by_name(without)


@pytest.mark.filterwarnings("ignore:1 of 131 files skipped")
def test_decoding_draws_nothing_from_the_seeded_stream(tmp_path, many, workers):
    torch.manual_seed(3)
    expected = torch.rand(4)
    for folder in (many, fill(tmp_path / "photos")):
        for _ in ("decoded", "from the cache"):
            torch.manual_seed(3)
            opened(folder)
            assert torch.equal(torch.rand(4), expected)
    assert workers[0] > 0
    assert workers[1:] == [0]


# --- decode ---


@pytest.mark.parametrize(("width", "height"), [(50, 31), (16, 16), (33, 90)])
def test_bicubic_is_pillows_resize(tmp_path, width, height):
    noise(1, width, height).save(tmp_path / "a.png")
    expected = np.asarray(noise(1, width, height).resize((16, 16), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.array_equal(data.decode(tmp_path / "a.png", 16), expected)
    grey = np.asarray(noise(1, width, height).convert("L").resize((16, 16), Image.Resampling.BICUBIC))[None]
    assert np.array_equal(data.decode(tmp_path / "a.png", 16, colour=False), grey)


@pytest.mark.parametrize(("width", "height"), [(50, 31), (9, 12)])
def test_nearest_takes_only_values_that_are_there(tmp_path, width, height):
    values = np.random.default_rng(2).choice([3, 90, 255], (height, width, 3)).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    array = data.decode(tmp_path / "a.png", 16, resize="nearest", enlarge=True)
    assert set(np.unique(array)) == {3, 90, 255}
    ys, xs = (((np.arange(16) + 0.5) * side / 16).astype(int) for side in (height, width))
    assert np.array_equal(array, values[ys][:, xs].transpose(2, 0, 1))


def torchs_bilinear(picture, size):
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
    return torch.nn.functional.interpolate(pixels, (size, size), mode="bilinear", antialias=False)[0].numpy()


@pytest.mark.parametrize(("width", "height"), [(50, 31), (9, 12), (100, 16), (16, 16)])
def test_bilinear_is_torchs_without_antialiasing(tmp_path, width, height):
    noise(3, width, height).save(tmp_path / "a.png")
    array = data.decode(tmp_path / "a.png", 16, resize="bilinear", enlarge=True)
    assert np.abs(array - torchs_bilinear(noise(3, width, height), 16)).max() <= 1


@pytest.fixture(scope="module")
def large_jpeg(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "large.jpg"
    texture = noise(4, 1024, 1024).filter(ImageFilter.GaussianBlur(1))
    smooth = noise(5, 12, 12).resize((1024, 1024), Image.Resampling.BICUBIC)
    Image.blend(texture, smooth, 0.7).save(path, quality=92)
    return path


@pytest.mark.parametrize("size", [64, 128, 500])
def test_a_large_jpeg_decoded_at_a_fraction_is_nearly_the_same(large_jpeg, size):
    with Image.open(large_jpeg) as picture:
        full = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert full.std() > 20, "not flat"
    assert np.abs(data.decode(large_jpeg, size) - full.astype(float)).mean() < 2.0


def test_the_other_filters_look_at_the_full_jpeg(large_jpeg):
    with Image.open(large_jpeg) as picture:
        full = np.asarray(picture)
    middles = np.arange(8, 1024, 16)
    assert np.array_equal(data.decode(large_jpeg, 64, resize="nearest"), full[middles][:, middles].transpose(2, 0, 1))
    assert np.abs(data.decode(large_jpeg, 64, resize="bilinear") - torchs_bilinear(full, 64)).max() <= 1


@pytest.mark.parametrize("resize", ["bicubic", "bilinear", "nearest"])
def test_crop_is_the_middle_of_a_wide_and_of_a_tall_picture(tmp_path, resize):
    square = noise(6, 16, 16)
    for width, height in ((40, 16), (16, 40)):
        picture = Image.new("RGB", (width, height), "white")
        picture.paste(square, ((width - 16) // 2, (height - 16) // 2))
        picture.save(tmp_path / "a.png")
        array = data.decode(tmp_path / "a.png", 16, resize=resize, aspect="crop")
        assert np.array_equal(array, np.asarray(square).transpose(2, 0, 1))
        assert not np.array_equal(data.decode(tmp_path / "a.png", 16, resize=resize), array), "squashed"


def test_a_crop_of_a_picture_on_its_side_is_the_middle_of_the_turned_one(tmp_path):
    picture = Image.new("L", (60, 20), 0)
    picture.paste(255, (20, 0, 40, 10))
    exif = picture.getexif()
    exif[0x0112] = 6  # turn clockwise to view: what was above is at the right
    picture.save(tmp_path / "a.png", exif=exif)
    array = data.decode(tmp_path / "a.png", 20, colour=False, aspect="crop")[0]
    assert (array[:, 10:] == 255).all()
    assert (array[:, :10] == 0).all()


def test_only_enlarge_takes_pictures_that_are_smaller(tmp_path):
    noise(7, 15, 40).save(tmp_path / "a.png")
    with pytest.raises(TooSmall, match="15x40 is smaller than size=16"):
        data.decode(tmp_path / "a.png", 16)
    expected = np.asarray(noise(7, 15, 40).resize((16, 16), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.array_equal(data.decode(tmp_path / "a.png", 16, enlarge=True), expected)


def test_decode_gives_contiguous_bytes_of_its_own_from_a_path_or_an_open_file(tmp_path):
    noise(8).save(tmp_path / "a.png")
    for colour in (True, False):
        array = data.decode(tmp_path / "a.png", 16, colour=colour)
        assert (array.dtype, array.shape) == (np.uint8, (3 if colour else 1, 16, 16))
        assert array.flags.c_contiguous
        assert array.flags.writeable
    with (tmp_path / "a.png").open("rb") as file:
        assert np.array_equal(data.decode(file, 16), data.decode(tmp_path / "a.png", 16))


# --- Pictures ---

ROWS = [7, 0, 3, 5, 8, 1]


@pytest.fixture(params=["all at once", "in pieces"])
def shelf(request, tmp_path, monkeypatch):
    """Six rows of an array of nine on disk, and the same in memory."""
    if request.param == "in pieces":
        monkeypatch.setattr(pictures, "ROWS", 4)  # pictures at a time
    whole = np.random.default_rng(0).integers(0, 256, (9, 3, 8, 8), dtype=np.uint8)
    whole.tofile(tmp_path / "pixels.u8")
    return pictures.Pictures(tmp_path / "pixels.u8", whole.shape, ROWS), torch.from_numpy(whole[ROWS])


@pytest.mark.parametrize(
    "wanted",
    [
        2,
        -1,
        np.int64(3),
        torch.tensor(4),
        slice(1, 4),
        slice(None),
        slice(None, None, 2),
        slice(10, 20),
        [3, 0, 0],
        [],
        np.array([5, 2]),
        torch.tensor([1, -1, 4]),
        torch.tensor([True, False, False, True, True, False]),
    ],
    ids=str,
)
def test_pictures_are_indexed_like_a_tensor(shelf, wanted):
    stored, tensor = shelf
    expected = tensor[wanted]
    got = stored[wanted]
    assert (got.dtype, got.shape) == (torch.uint8, expected.shape)
    assert torch.equal(got, expected)


def test_pictures_have_the_shape_and_the_end_of_a_tensor(shelf):
    stored, tensor = shelf
    assert len(stored) == 6
    assert stored.shape == tensor.shape
    assert (stored.dtype, stored.device.type, stored.ndim) == (torch.uint8, "cpu", 4)
    rows = list(stored)
    assert len(rows) == 6
    assert torch.equal(torch.stack(rows), tensor)
    for wrong in (6, -7, [0, 6], torch.tensor([6]), torch.ones(7, dtype=torch.bool)):
        with pytest.raises(IndexError):
            stored[wrong]


def test_pictures_as_a_whole(shelf):
    stored, tensor = shelf
    assert torch.equal(stored.float(), tensor.float())
    assert stored.float().dtype == torch.float32
    assert stored.to("cpu") is stored
    moved = stored.to("meta")
    assert (moved.device.type, moved.dtype, moved.shape) == ("meta", torch.uint8, tensor.shape)
    assert stored.fingerprint() == runtime.fingerprint(tensor)
    assert stored.fingerprint() == stored.fingerprint()


def test_some_of_the_pictures_stay_on_disk(shelf):
    stored, tensor = shelf
    some = stored.take([4, 0, 2])
    assert isinstance(some, pictures.Pictures)
    assert torch.equal(some[:], tensor[[4, 0, 2]])
    assert torch.equal(some.take([1])[0], tensor[0])
    assert some.fingerprint() == runtime.fingerprint(tensor[[4, 0, 2]])


def test_an_array_that_was_cut_after_it_was_opened_is_told(shelf, tmp_path):
    stored, tensor = shelf
    os.truncate(tmp_path / "pixels.u8", 8 * 3 * 8 * 8 + 5)
    assert torch.equal(stored[[0, 1]], tensor[[0, 1]])
    with pytest.raises(OSError, match=r"pixels\.u8 ends before picture 8: delete its folder"):
        stored[4]


def test_moving_pictures_moves_every_one_to_its_place(shelf, monkeypatch):
    stored, tensor = shelf
    real = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *shape, device, **named: real(*shape, **named))  # a device that is none
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device: self)
    assert torch.equal(stored.to("cuda"), tensor)


def test_writing_into_a_batch_changes_no_file(shelf, tmp_path):
    stored, tensor = shelf
    before = hashlib.sha256((tmp_path / "pixels.u8").read_bytes()).digest()
    for wanted in (0, slice(None), [1, 2]):
        stored[wanted].zero_()
    assert torch.equal(stored[:], tensor)
    assert hashlib.sha256((tmp_path / "pixels.u8").read_bytes()).digest() == before


def test_train_and_test_share_no_picture(tmp_path):
    folder = fill(tmp_path / "photos", 12)
    fill(folder / "again", 5)  # the same five
    images = opened(folder, n_test=5)
    assert images.notes["exact duplicates left out"] == 5
    assert not set(images.names["train"]) & set(images.names["test"])
    rows = [runtime.fingerprint(row) for row in [*images.train, *images.test]]
    assert len(set(rows)) == len(rows) == 12
    assert is_what_decode_gives(images, folder)


# --- splits ---


def part(plan, names, n_train=None, n_test=None, seed=0, folder="pictures", rows=None):
    rows = list(range(len(names))) if rows is None else rows
    chosen, said = splits.part(plan, folder, names, rows, n_train, n_test, seed)
    assert not set(chosen["train"]) & set(chosen["test"])
    assert all(len(set(side)) == len(side) for side in chosen.values())
    return chosen, said


def hundred(n=100):
    return [f"{i:03}.png" for i in range(n)]


def counts(chosen):
    return len(chosen["train"]), len(chosen["test"])


@pytest.mark.parametrize(("n_train", "n_test"), [(70, 30), (10, 20), (99, 1), (1, 1)])
@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_a_drawn_split_is_the_beginning_and_the_end_of_numpys_permutation(n_train, n_test, seed):
    """The recorded runs depend on it."""
    order = np.random.default_rng(seed).permutation(100).tolist()
    chosen, said = part(splits.Plan("drawn"), hundred(), n_train, n_test, seed)
    assert chosen == {"train": order[:n_train], "test": order[-n_test:]}
    assert said == f"drawn, seed {seed}"


def test_a_drawn_split_depends_on_the_seed_alone():
    seeds = [part(splits.Plan("drawn"), hundred(), seed=seed)[0] for seed in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]
    assert counts(seeds[0]) == (70, 30)


TWINS = splits.Plan(
    "drawn", 41, 13, files=r"(?P<class>[a-z_]+)/image_\d{4}\.jpg", twins=("Faces_easy/", "Faces/"), without=""
)


def test_twins_are_on_one_side_and_the_numbers_are_kept():
    names = [f"{kind}/image_{i:04}.jpg" for kind in ("Faces", "Faces_easy") for i in range(20)]
    names += [f"{kind}/image_{i:04}.jpg" for kind in ("Not_Faces", "Not_Faces_easy") for i in range(10)]
    apart = parted = 0
    for seed in range(60):
        chosen, _ = part(TWINS, names, seed=seed)
        assert counts(chosen) == (41, 13)
        scenes = {side: {re.sub("^Faces_easy/", "Faces/", names[i]) for i in rows} for side, rows in chosen.items()}
        assert not scenes["train"] & scenes["test"]
        others = [{names[i][-8:] for i in rows if names[i][0] == "N"} for rows in chosen.values()]
        parted += len(others[0] & others[1])
        plain = np.random.default_rng(seed).permutation(60).tolist()
        apart += chosen["train"] != plain[:41]
    assert apart == 60, "without care they would not be"
    assert parted > 60, "names that only look alike are no twins"


def test_each_gives_as_many_of_every_class_and_without_leaves_one_out():
    plan = {"files": r"(?P<class>[a-z]+)/\d+\.jpg"}
    names = [f"{kind}/{i}.jpg" for kind in ("ants", "bees", "clutter") for i in range(12)]
    for seed in range(10):
        chosen, _ = part(splits.Plan("drawn", 15, 20, each=5, **plan), names, seed=seed)
        assert Counter(names[i].split("/")[0] for i in chosen["train"]) == {"ants": 5, "bees": 5, "clutter": 5}
        assert len(chosen["test"]) == 20
        chosen, _ = part(splits.Plan("drawn", 14, 10, without="clutter", **plan), names, seed=seed)
        assert counts(chosen) == (14, 10)
        assert not [i for side in chosen.values() for i in side if names[i].startswith("clutter")]


def test_without_leaves_nothing_for_those_who_ask_for_all():
    names = [f"{kind}/{i}.jpg" for kind in ("ants", "clutter") for i in range(10)]
    plan = splits.Plan("drawn", files=r"(?P<class>[a-z]+)/\d+\.jpg", without="clutter")
    assert sorted(i for side in part(plan, names)[0].values() for i in side) == list(range(10))
    with pytest.raises(ValueError, match="holds 10 usable pictures"):
        part(plan, names, 15, 5)


def test_last_takes_the_test_from_the_end_and_the_training_from_the_beginning():
    chosen, said = part(splits.Plan("last", test=30), hundred())
    assert chosen == {"train": list(range(70)), "test": list(range(70, 100))}
    assert said == "the last by name are the test"
    assert part(splits.Plan("last"), hundred(), 5, 4)[0] == {"train": list(range(5)), "test": list(range(96, 100))}


@pytest.mark.parametrize(
    ("papers", "there", "asked", "expected"),
    [
        ((60, 40), 100, (None, None), (60, 40)),
        ((60, 40), 200, (None, None), (60, 40)),
        ((60, 40), 100, (10, 5), (10, 5)),
        ((60, 40), 100, (80, 20), (80, 20)),
        ((60, 40), 200, (90, None), (90, 40)),
        ((60, 40), 200, (None, 90), (60, 90)),
        ((None, None), 100, (None, None), (70, 30)),
        ((None, None), 10, (None, None), (7, 3)),
        ((None, None), 2, (None, None), (1, 1)),
        ((None, None), 100, (10, None), (10, 90)),
        ((None, None), 100, (None, 10), (90, 10)),
        ((None, 30), 100, (None, None), (70, 30)),
        ((None, 30), 100, (10, None), (10, 30)),
    ],
)
def test_the_numbers_are_the_papers_or_the_callers(papers, there, asked, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert counts(part(splits.Plan("drawn", *papers), hundred(there), *asked)[0]) == expected


@pytest.mark.parametrize(("asked", "expected"), [((80, None), (80, 20)), ((None, 70), (30, 70))])
def test_the_papers_number_gives_way_to_the_callers_and_that_is_said(asked, expected):
    with pytest.warns(UserWarning, match=r"too few for yours and the 60 \+ 40 of the paper"):
        chosen, _ = part(splits.Plan("drawn", 60, 40), hundred(100), *asked)
    assert counts(chosen) == expected


def test_a_few_street_views_of_ones_own_leave_some_to_train_on():
    with pytest.warns(UserWarning, match="fewer than the 300 for the test of the paper"):
        chosen, _ = part(splits.Plan("last", None, 300), hundred(100))
    assert counts(chosen) == (70, 30)


@pytest.mark.parametrize(
    ("there", "expected"), [(99, (60, 39)), (80, (60, 20)), (79, (47, 32)), (50, (30, 20)), (2, (1, 1))]
)
@pytest.mark.parametrize("rule", ["drawn", "last"])
def test_where_fewer_exist_the_test_shrinks_to_half_and_then_both_shrink_alike(rule, there, expected):
    said = (
        rf"holds {there} pictures, fewer than the 60 \+ 40 of the paper: {expected[0]} are for .* and {expected[1]} for"
    )
    with pytest.warns(UserWarning, match=said):
        chosen, _ = part(splits.Plan(rule, 60, 40), hundred(there))
    assert counts(chosen) == expected
    assert sum(counts(chosen)) == there


@pytest.mark.parametrize("asked", [(101, None), (None, 101), (100, None), (None, 100), (60, 41), (100, 1)])
@pytest.mark.parametrize("papers", [(None, None), (60, 40)])
def test_the_caller_cannot_have_more_than_there_are(papers, asked):
    with pytest.raises(ValueError, match=r"holds 100 usable pictures, too few for n_.*: lower (them|it), or leave"):
        part(splits.Plan("drawn", *papers), hundred(), *asked)


@pytest.mark.parametrize(("asked", "unasked"), [((101, None), "n_test"), ((None, 100), "n_train")])
def test_an_error_names_no_number_that_nobody_gave(asked, unasked):
    with pytest.raises(ValueError, match="usable pictures") as caught:
        part(splits.Plan("drawn", 60, 40), hundred(), *asked)
    assert unasked not in str(caught.value)


FLOWERS = {"files": r"(?:(?P<class>\d+)/)?image_\d{5}\.jpg"}


def flowers(numbers):
    return [f"image_{number:05}.jpg" for number in numbers]


def chosen_names(names, chosen):
    return {side: [names[i] for i in indices] for side, indices in chosen.items()}


@pytest.mark.parametrize("above", [0, 1, 2])
def test_setid_is_found_beside_and_above_the_pictures(tmp_path, above):
    folder = tmp_path / "a" / "b" / "jpg"
    folder.mkdir(parents=True)
    place = [folder, *folder.parents][above] / "setid.mat"
    scipy.io.savemat(place, {"trnid": [[5, 2, 7]], "valid": [[3, 4]], "tstid": [[9, 1]]})
    names = flowers(range(1, 10))
    chosen, said = part(splits.Plan("setid.mat", 3, 2, **FLOWERS), names, folder=folder)
    assert chosen_names(names, chosen) == {"train": flowers([5, 2, 7]), "test": flowers([9, 1])}
    assert said == "the authors' own (setid.mat)"
    fewer = [part(splits.Plan("setid.mat", 3, 2, **FLOWERS), names, 2, 1, s, folder)[0] for s in (0, 0, *range(1, 9))]
    assert all(counts(one) == (2, 1) for one in fewer)
    assert all(set(one[side]) < set(chosen[side]) for one in fewer for side in one)
    assert fewer[0] == fewer[1]
    assert any(one != fewer[0] for one in fewer)


def test_setid_of_pictures_that_are_partly_missing(tmp_path):
    scipy.io.savemat(tmp_path / "setid.mat", {"trnid": [[5, 2, 77]], "valid": [[3]], "tstid": [[9, 1, 88, 99]]})
    names = flowers(range(1, 10))
    with pytest.warns(UserWarning, match="usable ones of the") as caught:
        chosen, _ = part(splits.Plan("setid.mat", 3, 4, **FLOWERS), names, folder=tmp_path)
    assert [str(warning.message).removeprefix(f"{tmp_path} ") for warning in caught] == [
        "holds 2 usable ones of the 3 pictures that are the paper's train part.",
        "holds 2 usable ones of the 4 pictures that are the paper's test part.",
    ]
    assert chosen_names(names, chosen) == {"train": flowers([5, 2]), "test": flowers([9, 1])}
    with pytest.raises(ValueError, match="holds 2 pictures for n_test, and 3 are asked for: lower it"):
        part(splits.Plan("setid.mat", 3, 4, **FLOWERS), names, 2, 3, folder=tmp_path)


def test_lists_that_are_absent_or_name_nothing_make_a_drawn_split_that_says_so(tmp_path):
    folder = tmp_path / "a" / "b" / "c" / "jpg"  # away from what other tests left above
    folder.mkdir(parents=True)
    names, plan = flowers(range(1, 10)), splits.Plan("setid.mat", 5, 4, **FLOWERS)
    drawn = part(splits.Plan("drawn", 5, 4, **FLOWERS), names, seed=2)[0]
    with pytest.warns(UserWarning, match=r"has no setid\.mat that parts its pictures: they are drawn instead"):
        assert part(plan, names, seed=2, folder=folder) == (drawn, "drawn, seed 2, for want of setid.mat")
    scipy.io.savemat(folder / "setid.mat", {"trnid": [[5, 2]], "valid": [[3]], "tstid": [[88, 99]]})
    with pytest.warns(UserWarning, match="they are drawn instead"):
        assert part(plan, names, seed=2, folder=folder)[0] == drawn
    named = [f"0/{name}" for name in names[:5]] + [f"1/{name}" for name in names[5:]]
    (folder / "setid.mat").unlink()
    with pytest.warns(UserWarning, match="they are drawn instead"):
        chosen, _ = part(splits.Plan("setid.mat", 4, 4, each=2, **FLOWERS), named, folder=folder)
    assert Counter(named[i][0] for i in chosen["train"]) == {"0": 2, "1": 2}


@pytest.mark.parametrize("above", [0, 1, 2])
def test_the_lists_of_pets_are_found_beside_and_above_the_pictures(tmp_path, above):
    folder = tmp_path / "a" / "b" / "images"
    lists = [folder, *folder.parents][above] / "annotations"
    lists.mkdir(parents=True)
    names = [f"{kind}_{i}.jpg" for kind in ("Abyssinian", "great_pyrenees") for i in (1, 2, 100)]
    plan = splits.Plan("trainval.txt", 3, 2, files=r"(?P<class>[a-z_]+)_\d+\.jpg")
    (lists / "trainval.txt").write_text("great_pyrenees_100 2 2 1\nAbyssinian_1 1 1 1\n\nAbyssinian_100 1 1 1\n")
    with pytest.warns(UserWarning, match=r"has no trainval\.txt that parts its pictures"):
        assert part(plan, names, folder=folder)[1] == "drawn, seed 0, for want of trainval.txt"
    (lists / "test.txt").write_text("great_pyrenees_1 2 2 1\nAbyssinian_2 1 1 1\nnot_here_1 1 1 1\n")
    chosen, said = part(plan, names, folder=folder)
    assert chosen_names(names, chosen) == {
        "train": ["great_pyrenees_100.jpg", "Abyssinian_1.jpg", "Abyssinian_100.jpg"],
        "test": ["great_pyrenees_1.jpg", "Abyssinian_2.jpg"],
    }
    assert said == "the authors' own (trainval.txt)"


PARTED = {"files": r"(?:(?P<part>train|val)/wild/)?[a-z]+_wild_\d+\.jpg"}


def test_the_authors_folders_part_the_pictures_and_their_test_is_never_drawn_from():
    names = [f"train/wild/flickr_wild_{i}.jpg" for i in range(30)] + [f"val/wild/flickr_wild_{i}.jpg" for i in range(9)]
    chosen, said = part(splits.Plan("folders", 30, 9, **PARTED), names)
    assert chosen == {"train": list(range(30)), "test": list(range(30, 39))}
    assert said == "the authors' own (folders)"
    for rule in ("drawn", "last"):
        for seed in range(5):
            chosen, _ = part(splits.Plan(rule, 20, 10, **PARTED), names[::-1], seed=seed)
            assert counts(chosen) == (20, 10)
            assert all(names[::-1][i].startswith("train/") for side in chosen.values() for i in side)
        with pytest.raises(ValueError, match="holds 30 usable pictures"):
            part(splits.Plan(rule, **PARTED), names, 30, 9)
    with pytest.warns(UserWarning, match="has no folders that parts its pictures"):
        chosen, said = part(splits.Plan("folders", 20, 9, **PARTED), names[:30])
    assert (counts(chosen), said) == ((20, 9), "drawn, seed 0, for want of folders")


@pytest.mark.parametrize("n", [3, pictures.FEW + 1])
def test_a_disk_that_fails_while_reading_is_not_kept_as_a_broken_picture(tmp_path, monkeypatch, cache, n):
    folder, opens = fill(tmp_path / "photos", n), Image.open

    def fails(path, *arguments):
        if str(path).endswith("001.png"):
            raise OSError(errno.EIO, "Input/output error", str(path))
        return opens(path, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Image, "open", fails)
        with pytest.raises(OSError, match=r"001\.png could not be read \(Input/output error\); mend that, or move it"):
            opened(folder)
    assert not parts_left(cache)
    assert sum(map(len, opened(folder).names.values())) == n, "it was only for a while"


def test_a_script_that_worker_processes_run_again_is_told_how_to_guard_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(RuntimeError, match="below `if __name__ == '__main__':`"):
        opened(fill(tmp_path / "photos"))


def test_a_part_of_the_authors_own_says_that_it_was_drawn(tmp_path):
    names = [f"{side}/{i}.png" for side in ("train", "val") for i in range(9)]
    plan = splits.Plan("folders", files=r"(?P<part>train|val)/\d\.png")
    assert part(plan, names)[1] == "the authors' own (folders)"
    assert part(plan, names, 4, seed=7)[1] == "the authors' own (folders), a part of it drawn, seed 7"


def test_a_file_that_cannot_be_used_moves_at_most_one_picture_to_the_other_side():
    names, plan = hundred(), splits.Plan("drawn")
    before = set(part(plan, names)[0]["test"])
    for bad in (0, 31, 99):
        after = set(part(plan, names, rows=[i for i in range(100) if i != bad])[0]["test"])
        assert len(before ^ after) <= 2, "itself, and one at the border between the parts"


def test_so_many_of_every_class_holds_for_the_papers_number_only():
    names = [f"{kind}/{i}.png" for kind in "ab" for i in range(20)]
    plan = splits.Plan("drawn", 6, 4, files=r"(?P<class>[ab])/\d+\.png", each=3)
    assert sorted(names[i][0] for i in part(plan, names)[0]["train"]) == list("aaabbb")
    assert len(part(plan, names, 30, 4)[0]["train"]) == 30


def test_a_picture_in_both_lists_is_for_the_test_alone(tmp_path):
    (tmp_path / "annotations").mkdir()
    for name, stems in {"trainval": ("cat_1", "cat_2", "cat_3"), "test": ("cat_3", "cat_4")}.items():
        (tmp_path / "annotations" / f"{name}.txt").write_text("".join(f"{stem} 1 1 1\n" for stem in stems))
    plan = splits.Plan("trainval.txt")
    chosen, _ = part(plan, [f"cat_{i}.jpg" for i in range(1, 6)], folder=tmp_path)
    assert chosen == {"train": [0, 1], "test": [2, 3]}


def test_the_names_have_the_same_fingerprint_at_another_place(tmp_path):
    folder = fill(tmp_path / "photos", 6)
    fill(folder / "below", 2, first=10)
    shutil.copytree(folder, tmp_path / "elsewhere" / "renamed")
    one, two = opened(folder).describe(), opened(tmp_path / "elsewhere" / "renamed").describe()
    assert one["names"] == two["names"]
    assert one["names"]["train"] != one["names"]["test"]
    assert splits.fingerprint(["a", "b"]) == hashlib.sha256(b"a\nb").hexdigest()[:12]
    assert splits.fingerprint(["a", "b"]) != splits.fingerprint(["b", "a"])


@pytest.mark.parametrize(
    "lists",
    [False, True],
)
def test_warnings_about_a_named_set_point_at_the_line_that_opened_it(tmp_path, lists):
    folder = tmp_path / "a" / "b" / "jpg"
    folder.mkdir(parents=True)
    for i, name in enumerate(flowers(range(1, 21))):
        noise(i).save(folder / name)
    if lists:
        scipy.io.savemat(folder / "setid.mat", {"trnid": [[1, 2, 3]], "valid": [[4]], "tstid": [[5, 6]]})
    with pytest.warns(UserWarning, match="pictures") as caught:
        images = data.open("flowers102", data_dir=folder, size=16)
    assert len(caught) == 3
    assert {warning.filename for warning in caught} == {__file__}
    assert is_what_decode_gives(images, folder)
