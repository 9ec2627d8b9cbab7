"""The papers' data sets: which picture is on which side, and how a set is found or fetched."""

import io
import shutil
import tarfile
import threading
import warnings
import zipfile
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import kagglehub
import numpy as np
import pytest
import scipy.io
import torchvision
from PIL import Image
from torchvision.datasets import caltech, flowers102, oxford_iiit_pet
from torchvision.datasets.utils import extract_archive

from inpaintkit import data
from inpaintkit.data import sets, splits

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INPAINTKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))
    return tmp_path / "cache" / "sets"


# --- splits ---

HUNDRED = [f"{i:03}.jpg" for i in range(100)]
FLOWERS = [f"image_{i:05}.jpg" for i in range(1, 31)]


def part(split, names=HUNDRED, rows=None, asked=(None, None), seed=0, folder="pictures", **how):
    """The names of both sides, and the split in words."""
    rows = list(range(len(names))) if rows is None else rows
    parts, words = split(splits.Files(Path(folder), names, rows, asked, seed), **how)
    assert not set(parts["train"]) & set(parts["test"])
    assert set(parts["train"] + parts["test"]) <= set(rows)
    return {side: [names[i] for i in chosen] for side, chosen in parts.items()}, words


def counts(parts):
    return len(parts["train"]), len(parts["test"])


def test_a_draw_depends_on_the_seed_alone_and_a_bad_file_moves_one_picture_at_most():
    (a, words), (again, _), (other, _) = (part(splits.drawn, seed=seed) for seed in (3, 3, 4))
    assert a == again != other
    assert words == "drawn, seed 3"
    order = np.random.default_rng(3).permutation(100)
    assert a == {"train": [HUNDRED[i] for i in order[:70]], "test": [HUNDRED[i] for i in order[70:]]}
    without, _ = part(splits.drawn, rows=[i for i in range(100) if i != 50], seed=3)
    assert len(set(without["train"]) - set(a["train"])) <= 1


@pytest.mark.parametrize(
    ("paper", "there", "asked", "expected", "warns"),
    [
        ((None, None), 100, (None, None), (70, 30), False),
        ((None, None), 100, (10, None), (10, 90), False),
        ((60, 40), 100, (None, None), (60, 40), False),
        ((60, 40), 100, (10, 20), (10, 20), False),
        ((60, 40), 100, (80, None), (80, 20), True),  # the paper's number gives way to the caller's
        ((60, 40), 100, (None, 70), (30, 70), True),
        ((60, 40), 90, (None, None), (60, 30), True),  # the training keeps its number while half of the test is left
        ((60, 40), 50, (None, None), (30, 20), True),  # then both shrink
        ((None, 30), 100, (None, None), (70, 30), False),
        ((None, 3000), 10, (None, None), (7, 3), True),
        ((60, 40), 100, (101, None), "n_train=101: lower", False),
        ((60, 40), 100, (60, 41), "n_train=60 and n_test=41: lower", False),
        ((None, None), 1, (None, None), "holds 1 usable picture, too few", False),
    ],
)
@pytest.mark.parametrize("split", [splits.drawn, splits.last])
def test_the_numbers_are_the_callers_or_the_papers_as_far_as_they_go(split, paper, there, asked, expected, warns):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if isinstance(expected, str):
            with pytest.raises(ValueError, match=expected):
                part(split, HUNDRED[:there], asked=asked, paper=paper)
        else:
            parts, _ = part(split, HUNDRED[:there], asked=asked, paper=paper)
            assert counts(parts) == expected
            assert split is splits.drawn or parts["test"] == HUNDRED[there - expected[1] : there]
    assert bool(said) == warns


@pytest.mark.filterwarnings("ignore:.*too few for the paper's numbers")
@pytest.mark.parametrize(
    ("name", "there", "expected"),
    [
        ("afhq-wild", 4738, (3341, 1397)),
        ("afhq-wild:code", 4738, (3317, 1421)),
        ("afhq-cat", 5153, (3341, 1400)),
        ("ffhq", 70_000, (25_000, 2000)),
        ("ffhq:poster", 70_000, (39_000, 2000)),
        ("animals10", 26_179, (25_000, 1179)),
        ("paris-streetview", 14_900, (11_900, 3000)),
        ("caltech101", 9144, (7315, 1829)),
        ("caltech101:objects", 8677, (6942, 1735)),
    ],
)
def test_the_numbers_of_a_whole_set_are_those_of_the_readme(name, there, expected):
    assert counts(part(sets.SPLITS[name], [f"{i:05}.jpg" for i in range(there)])[0]) == expected


@pytest.mark.parametrize("case", [str, str.lower])  # some copies have folders in small letters
def test_a_scene_is_on_one_side_and_folders_that_are_left_out_are_not_drawn_from(case):
    kinds = ("BACKGROUND_Google", "Faces", "Faces_easy", "yin_yang")
    names = [case(f"{kind}/image_{i:04}.jpg") for kind in kinds for i in range(9)]
    for seed in range(8):
        for variant in ("caltech101", "caltech101:objects"):
            parts, _ = part(sets.SPLITS[variant], names, asked=(14, 9), seed=seed)
            faces = [{Path(name).name for name in side if name.lower().startswith("f")} for side in parts.values()]
            assert not faces[0] & faces[1]
        assert not any(name.lower().startswith("background") for side in parts.values() for name in side)
    names = [f"{case(side)}/wild/flickr_wild_{i:06}.jpg" for side in ("Train", "Val") for i in range(20)]
    parts, _ = part(sets.SPLITS["afhq-wild:code"], names, asked=(12, 8))
    assert all(name.startswith(case("Train")) for side in parts.values() for name in side)


@pytest.mark.parametrize("above", [0, 1, 2])
@pytest.mark.filterwarnings("ignore:.* of the paper's")
def test_the_authors_lists_are_found_beside_and_above_the_pictures(tmp_path, above):
    folder = tmp_path / "a" / "b"
    place = (folder, *folder.parents)[above]
    for path in (folder, place / "annotations"):
        path.mkdir(parents=True)
    lists = {"trnid": [[3, 1, 40]], "tstid": [[2, 1, 7]]}  # 40 is not there; 1 is in both, so it is for the test
    scipy.io.savemat(place / "setid.mat", lists)
    assert part(sets.flowers102, FLOWERS, folder=folder) == (
        {"train": ["image_00003.jpg"], "test": ["image_00002.jpg", "image_00001.jpg", "image_00007.jpg"]},
        "the authors' own (setid.mat)",
    )
    (place / "annotations" / "trainval.txt").write_text("cat_1 1 1 1\ngone_1 1 1 1\n\n")
    (place / "annotations" / "test.txt").write_text("dog_2 2 2 1\ncat_9 1 1 1\n")
    pets = partial(part, sets.oxford_pet, ["cat_1.jpg", "cat_9.jpg", "dog_2.jpg"], folder=folder)
    parts, words = pets(asked=(1, 1))
    assert parts["train"] == ["cat_1.jpg"]
    assert parts["test"] in (["cat_9.jpg"], ["dog_2.jpg"])
    assert "drawn, seed 0" in words
    with pytest.raises(ValueError, match=r"n_test.*lower"):
        pets(asked=(1, 3))


@pytest.mark.parametrize("classes", [True, False])
def test_without_lists_flowers_are_drawn_ten_of_each_class_and_that_is_said(tmp_path, classes):
    names = [f"{i % 102}/image_{i:05}.jpg" if classes else f"image_{i:05}.jpg" for i in range(8160)]
    with pytest.warns(UserWarning, match=r"setid\.mat"):
        parts, words = part(sets.flowers102, names, folder=tmp_path)
    assert "for want of setid.mat" in words
    assert counts(parts) == (1020, 6149)
    assert not classes or set(Counter(name.split("/")[0] for name in parts["train"]).values()) == {10}


def test_the_names_have_one_fingerprint_wherever_they_lie():
    assert splits.fingerprint(["a/b/c.jpg", "d.png"]) == splits.fingerprint(["c.png", "x/d.jpg"])
    assert splits.fingerprint(["c", "d"]) != splits.fingerprint(["d", "c"])


# --- what the list says ---


def test_every_set_says_what_it_is_and_the_readme_names_it():
    readme = (ROOT / "data" / "README.md").read_text(encoding="utf8")
    assert set(sets.known()) == {name.partition(":")[0] for name in sets.SPLITS}
    for name, table in sets.known().items():
        assert {"about", "pictures", "bytes", "files", "below", "by_hand", "sources"} == set(table)
        row = next(line for line in readme.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"{table['pictures']:,}" in row or name.startswith("afhq")
        assert table["about"].split("Licence: ")[1].split()[0] in row or "the same" in row
        for kind, _, rest in (source.partition(":") for source in table["sources"]):
            assert kind in ("kaggle", "https") or hasattr(torchvision.datasets, rest)


PICTURES = {  # a picture of each set
    "afhq-wild": "train/wild/flickr_wild_000002.jpg",
    "afhq-cat": "val/cat/pixabay_cat_000276.jpg",
    "ffhq": "00000/00012.png",
    "animals10": "cane/OIP-abc.jpeg",
    "paris-streetview": "48.84_2.34_90_-004.JPG",
    "oxford-pet": "yorkshire_terrier_30.jpg",
    "caltech101": "BACKGROUND_Google/image_0001.jpg",
    "flowers102": "image_00001.jpg",
}


@pytest.mark.parametrize("name", [*PICTURES.values(), "IMG_0001.JPG", "image_1.jpg", "DSC_1.jpg", "photo.jpg"])
def test_the_pictures_of_a_set_are_recognized_and_no_others(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    found = {known for known in sets.known() if sets.find(known, tmp_path)}
    assert found == {known for known, example in PICTURES.items() if example == name}


# --- fetching ---


def jpeg(seed):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


def archive(path, names, more=()):
    """A .zip, or a .tgz, of pictures at ``names``, and ``more`` members (name, content)."""
    members = [*((name, jpeg(i)) for i, name in enumerate(names)), *more]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            for name, content in members:
                file.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz") as file:
            for name, content in members:
                info = tarfile.TarInfo(name) if isinstance(name, str) else name
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def server(tmp_path):
    """The address of a server of the files in tmp_path / "served"."""
    (tmp_path / "served").mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    handler.func.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{http.server_port}"
        http.shutdown()


TWELVE = [f"jpg/{name}" for name in FLOWERS[:12]]


@pytest.fixture
def flowers(tmp_path, server, monkeypatch):
    """The table of flowers102, with twelve pictures at an address of this machine."""
    archive(tmp_path / "served" / "flowers.tgz", TWELVE)
    table = sets.known()["flowers102"]
    monkeypatch.setitem(table, "pictures", 12)
    monkeypatch.setitem(table, "sources", [f"http://{server}/flowers.tgz"])
    return table


def open_flowers(n_train=8, n_test=4, **given):
    return data.open("flowers102", size=16, n_train=n_train, n_test=n_test, **given)


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) if folder.exists() else []


@pytest.mark.filterwarnings("ignore:.*setid")
def test_a_set_is_fetched_once_and_data_dir_wins_over_the_cache(tmp_path, cache, flowers, capsys):
    images = open_flowers()
    assert flowers["about"] in capsys.readouterr().out
    assert tree(cache) == ["fetching.lock", "flowers102", "flowers102/jpg", *(f"flowers102/{name}" for name in TWELVE)]
    shutil.rmtree(tmp_path / "served")
    assert open_flowers().describe() == images.describe()
    (tmp_path / "empty").mkdir()
    assert open_flowers(data_dir=tmp_path / "empty").names == images.names
    extract_archive(archive(tmp_path / "more.zip", TWELVE[:5]), tmp_path / "own")
    with pytest.warns(UserWarning, match="5 of its 12"):
        assert counts(open_flowers(3, 2, data_dir=tmp_path / "own").names) == (3, 2)
    with pytest.raises(FileNotFoundError, match="data_dir"):
        open_flowers(data_dir=tmp_path / "missing")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "asked", "expected"),
    [("flowers102", None, (2, 3)), ("oxford-pet", None, (1, 1)), ("caltech101", {"n_train": 6, "n_test": 4}, (6, 4))],
)
def test_the_real_classes_of_torchvision_lay_out_what_is_looked_for(
    tmp_path, cache, monkeypatch, name, asked, expected
):
    """Their downloads are replaced; what they unpack, and where, is theirs."""
    made = tmp_path / "made"
    lists = [("annotations/trainval.txt", b"beagle_1 1 1 1\n"), ("annotations/test.txt", b"beagle_2 1 1 1\n")]
    kinds = ("Faces", "BACKGROUND_Google")
    faces = [f"101_ObjectCategories/{kind}/image_{i:04}.jpg" for kind in kinds for i in range(5)]
    inner = archive(made / "101_ObjectCategories.tar.gz", faces).read_bytes()
    archive(made / "caltech-101.zip", [], [("caltech-101/101_ObjectCategories.tar.gz", inner)])
    archive(made / "images.tar.gz", [f"images/beagle_{i}.jpg" for i in range(6)])
    archive(made / "annotations.tar.gz", [], lists)
    archive(made / "102flowers.tgz", TWELVE)
    scipy.io.savemat(made / "setid.mat", {"trnid": [[1, 5]], "valid": [[2]], "tstid": [[3, 4, 7]]})
    scipy.io.savemat(made / "imagelabels.mat", {"labels": [[1] * 12]})

    def downloaded(url, root=None, filename=None, md5=None, download_root=None):
        assert md5
        Path(root or download_root).mkdir(parents=True, exist_ok=True)
        return shutil.copy(made / url.rsplit("/", 1)[1], root or download_root)

    def extracted(*given, **named):
        path = Path(downloaded(*given, **named))
        extract_archive(path, path.parent)

    for module in (flowers102, oxford_iiit_pet, caltech):
        monkeypatch.setattr(module, "download_and_extract_archive", extracted)
    monkeypatch.setattr(flowers102, "download_url", downloaded)
    monkeypatch.setattr(flowers102, "check_integrity", lambda path, md5: Path(path).exists())
    images = data.open(name, size=16, **asked or {})
    assert counts(images.names) == expected
    assert ("the authors' own" in images.split) == (not asked)
    assert not [path for path in tree(cache) if path.endswith(("gz", "zip", "part"))]


def test_two_sets_of_one_kaggle_archive_are_linked_and_not_copied(tmp_path, cache, monkeypatch):
    names = [f"afhq/train/{kind}/flickr_{kind}_{i:06}.jpg" for kind in ("wild", "cat") for i in range(6)]
    downloaded, asked = tmp_path / "kagglehub" / "versions" / "3", []
    extract_archive(archive(tmp_path / "a.zip", names), downloaded)
    monkeypatch.setattr(kagglehub, "dataset_download", lambda handle: asked.append(handle) or str(downloaded))
    for name in ("afhq-wild", "afhq-cat"):
        with pytest.warns(UserWarning, match="6 of its"):
            assert counts(data.open(name, size=16, n_train=4, n_test=2).names) == (4, 2)
        assert (cache / name).is_symlink()
    assert asked == ["andrewmvd/animal-faces"] * 2
    shutil.rmtree(tmp_path / "kagglehub")
    monkeypatch.setattr(kagglehub, "dataset_download", lambda handle: 1 / 0)
    monkeypatch.setitem(sets.known()["afhq-cat"], "sources", ["kaggle:andrewmvd/animal-faces"])
    with pytest.raises(FileNotFoundError, match="Three ways on"):
        data.open("afhq-cat", size=16)


def test_where_nothing_can_be_reached_three_ways_on_are_said_and_no_secret(cache, server, flowers, monkeypatch):
    address = f"//user:secret@secret@{server}/gone.zip?token=hidden"
    flowers["sources"] = [f"http:{address}", "http://127.0.0.1:9/closed.zip", "torchvision:Nothing"]
    with pytest.raises(FileNotFoundError) as nowhere:
        open_flowers()
    ways = ("fetch flowers102 --source", "by hand", "portraits")
    for words in (server, "404", "127.0.0.1:9", "torchvision:Nothing", *ways):
        assert words in str(nowhere.value)
    with pytest.raises(FileNotFoundError) as gone:
        sets.fetch("flowers102", f"http:{address}")
    assert tree(cache) == ["fetching.lock"]
    with pytest.raises(ValueError, match="source must be") as refused:
        sets.fetch("flowers102", f"ftp:{address}")
    monkeypatch.setattr(sets, "_fetch_from", lambda *_: (_ for _ in ()).throw(OSError("x" * 587 + address)))
    with pytest.raises(FileNotFoundError) as long:
        open_flowers()
    for message in (str(caught.value) for caught in (nowhere, gone, refused, long)):
        assert "secret" not in message
        assert "hidden" not in message
        assert "\n" not in message
    with pytest.raises(FileNotFoundError, match="on request only"):
        data.open("paris-streetview", size=16)


LINK = tarfile.TarInfo("jpg/link")
LINK.type, LINK.linkname = tarfile.SYMTYPE, "../../.."
ZIP_LINK = zipfile.ZipInfo("jpg/link")
ZIP_LINK.external_attr = 0o120777 << 16
BAD_ARCHIVES = {  # more members, other bytes, and what is said
    "up.tgz": ([("../../../evil", b"x")], None, "outside"),
    "link.tgz": ([(LINK, b"")], None, "outside"),
    "up.zip": ([("../../../evil", b"x")], None, "outside"),
    "link.zip": ([(ZIP_LINK, b"../../.."), ("jpg/link/evil", b"x")], None, "outside"),
    "cut.tgz": ([], lambda content: content[: len(content) // 2], "Error"),
    "cut.zip": ([], lambda content: content[: len(content) // 2], "Error"),
    "changed.zip": ([], lambda content: content[:2000] + bytes(64) + content[2064:], "BadZipFile"),
    "page.tgz": ([], lambda content: b"<html>", "ReadError"),
    "wrong.tgz#sha256=" + "0" * 64: ([], None, "hash"),
    "other.zip": ([], None, "no pictures named like those"),
}


@pytest.mark.filterwarnings("ignore:.*setid")
@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_a_bad_archive_is_refused_and_the_good_set_stays(tmp_path, cache, server, flowers, name):
    images = open_flowers()
    more, spoilt, said = BAD_ARCHIVES[name]
    path = tmp_path / "served" / name.partition("#")[0]
    archive(path, ["dog.jpg"] if name == "other.zip" else TWELVE, more)
    path.write_bytes(spoilt(path.read_bytes()) if spoilt else path.read_bytes())
    with pytest.raises(FileNotFoundError, match=f"flowers102 is not here.*{said}"):
        sets.fetch("flowers102", f"http://{server}/{name}")
    assert not list(tmp_path.rglob("evil"))
    assert open_flowers().describe() == images.describe()
    archive(tmp_path / "served" / "good.zip", TWELVE[:6], [("jpg/a..b.txt", b"two points lead nowhere")])
    assert len(sets.fetch("flowers102", f"http://{server}/good.zip")[1]) == 6
    assert not [path for path in tree(cache) if path.endswith(("gz", "zip", "part"))]


@pytest.mark.parametrize("name", ["flowers102", "animals10"])
def test_a_disk_that_is_too_small_is_told_before_anything_is_downloaded(cache, monkeypatch, name):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * 10**8))
    with pytest.raises(FileNotFoundError, match=r"needs \d\.\d\d GB in .*, where 0\.50 GB are free"):
        data.open(name, size=16)
    assert tree(cache) == ["fetching.lock"]
