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


def part(split, names=HUNDRED, rows=None, asked=(None, None), seed=0, **how):
    rows = list(range(len(names))) if rows is None else rows
    parts, words = split(splits.Files(Path("pictures"), names, rows, asked, seed), **how)
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
        ((60, 40), 100, (None, None), (60, 40), False),
        ((60, 40), 100, (10, 20), (10, 20), False),
        ((60, 40), 100, (80, None), (80, 20), True),  # the paper's number gives way to the caller's
        ((60, 40), 100, (None, 70), (30, 70), True),
        ((60, 40), 90, (None, None), (60, 30), True),  # the training keeps its number while half of the test is left
        ((60, 40), 50, (None, None), (30, 20), True),  # then both shrink
        ((None, 30), 100, (None, None), (70, 30), False),
        ((None, 3000), 10, (None, None), (7, 3), False),
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


def test_faces_and_their_crops_are_on_one_side_and_objects_have_no_background():
    names = [
        f"{kind}/image_{i:04}.jpg"
        for kind in ("BACKGROUND_Google", "Faces", "Faces_easy", "yin_yang")
        for i in range(9)
    ]
    for seed in range(8):
        for variant in sets.SPLITS["caltech101"].values():
            parts, _ = part(variant, names, asked=(14, 9), seed=seed)
            faces = [{Path(name).name for name in side if name.startswith("Faces")} for side in parts.values()]
            assert not faces[0] & faces[1]
        assert not any("BACKGROUND" in name for side in parts.values() for name in side)


def test_afhq_never_draws_from_the_authors_test():
    names = [f"{side}/wild/flickr_wild_{i:06}.jpg" for side in ("train", "val") for i in range(20)]
    parts, _ = part(sets.SPLITS["afhq-wild"]["code"], names, asked=(12, 8))
    assert all(name.startswith("train/") for side in parts.values() for name in side)


def flower_names(n=30):
    return [f"image_{i:05}.jpg" for i in range(1, n + 1)]


@pytest.mark.parametrize("above", [0, 1, 2])
@pytest.mark.filterwarnings("ignore:.* of the paper's")
def test_the_authors_lists_are_found_beside_and_above_the_pictures(tmp_path, above):
    folder = tmp_path / "a" / "b"
    (folder / "annotations").mkdir(parents=True)
    place = (folder, *folder.parents)[above]
    lists = {"trnid": [[3, 1, 40]], "tstid": [[2, 1, 7]]}  # 40 is not there; 1 is in both, so it is for the test
    scipy.io.savemat(place / "setid.mat", lists)
    names = flower_names()
    parts, words = sets.flowers102(splits.Files(folder, names, list(range(30))))
    assert {side: [names[i] for i in rows] for side, rows in parts.items()} == {
        "train": ["image_00003.jpg"],
        "test": ["image_00002.jpg", "image_00001.jpg", "image_00007.jpg"],
    }
    assert words == "the authors' own (setid.mat)"
    (place / "annotations").mkdir(exist_ok=True)
    (place / "annotations" / "trainval.txt").write_text("cat_1 1 1 1\ngone_1 1 1 1\n\n")
    (place / "annotations" / "test.txt").write_text("dog_2 2 2 1\ncat_9 1 1 1\n")
    parts, words = sets.oxford_pet(splits.Files(folder, ["cat_1.jpg", "cat_9.jpg", "dog_2.jpg"], [0, 1, 2], (1, 1)))
    assert parts["train"] == [0]
    assert parts["test"][0] in (1, 2)
    assert "drawn, seed 0" in words
    with pytest.raises(ValueError, match=r"n_test.*lower"):
        sets.oxford_pet(splits.Files(folder, ["cat_1.jpg", "cat_9.jpg", "dog_2.jpg"], [0, 1, 2], (1, 3)))


def test_without_lists_flowers_are_drawn_ten_of_each_class_and_that_is_said(tmp_path):
    names = [f"{i % 102}/image_{i:05}.jpg" for i in range(6120)]
    with pytest.warns(UserWarning, match=r"setid\.mat"):
        parts, words = sets.flowers102(splits.Files(tmp_path, names, list(range(6120))))
    assert "for want of setid.mat" in words
    assert set(Counter(names[i].split("/")[0] for i in parts["train"]).values()) == {10}


def test_the_names_have_one_fingerprint_wherever_they_lie():
    assert splits.fingerprint(["a/b/c.jpg", "d.png"]) == splits.fingerprint(["c.png", "x/d.jpg"])
    assert splits.fingerprint(["c", "d"]) != splits.fingerprint(["d", "c"])


# --- what the list says ---


def test_every_set_says_what_it_is_and_the_readme_names_it():
    readme = (ROOT / "data" / "README.md").read_text(encoding="utf8")
    assert set(sets.known()) == set(sets.SPLITS)
    for name, table in sets.known().items():
        assert {"about", "pictures", "bytes", "files", "below", "by_hand", "sources"} == set(table)
        row = next(line for line in readme.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"{table['pictures']:,}" in row or name.startswith("afhq")
        assert table["about"].split("Licence: ")[1].split()[0] in row or "the same" in row
        for source in table["sources"]:
            kind, _, rest = source.partition(":")
            assert kind in ("kaggle", "https") or hasattr(__import__("torchvision").datasets, rest)


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


PACKS = ROOT.parent / "shared" / "datasets"
COUNTS = {  # folder, pictures in it, training and test pictures of the paper's split
    "caltech101": ("caltech101", 9144, (7315, 1829)),
    "caltech101:objects": ("caltech101", 9144, (6942, 1735)),
    "flowers102": ("flowers102", 7366, (1020, 6149)),
    "afhq-cat": ("afhq_cat", 5153, (3341, 1400)),
    "ffhq": ("ffhq", 1100, (1018, 82)),
    "animals10": ("animals10", 320, (296, 24)),
    "oxford-pet": ("oxford_pet", 370, (185, 185)),
}


@pytest.mark.slow
@pytest.mark.skipif(not PACKS.is_dir(), reason="the packs of real pictures are not on this machine")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", COUNTS)
def test_real_packs(name):
    folder, there, expected = COUNTS[name]
    assert len(sets.find(name.split(":")[0], PACKS / folder)[1]) == there
    images = data.open(name, data_dir=PACKS / folder, size=16)
    assert counts(images.names) == expected
    assert not set(images.names["train"]) & set(images.names["test"])
    assert not images.notes["files skipped"]


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
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    yield f"127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


FLOWERS = [f"jpg/{name}" for name in flower_names(12)]


@pytest.fixture
def flowers(tmp_path, server, monkeypatch):
    """flowers102 with twelve pictures at an address of this machine."""
    archive(tmp_path / "served" / "flowers.tgz", FLOWERS)
    known = sets.known() | {
        "flowers102": sets.known()["flowers102"] | {"pictures": 12, "sources": [f"http://{server}/flowers.tgz"]}
    }
    monkeypatch.setattr(sets, "known", lambda: known)
    return known["flowers102"]


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) if folder.exists() else []


@pytest.mark.filterwarnings("ignore:.*setid|.*fewer than")
def test_a_set_is_fetched_once_and_data_dir_wins_over_the_cache(tmp_path, cache, server, flowers, capsys):
    images = data.open("flowers102", size=16, n_train=8, n_test=4)
    assert flowers["about"] in capsys.readouterr().out
    assert tree(cache) == ["fetching.lock", "flowers102", "flowers102/jpg", *(f"flowers102/{name}" for name in FLOWERS)]
    shutil.rmtree(tmp_path / "served")
    assert data.open("flowers102", size=16, n_train=8, n_test=4).describe() == images.describe()
    (tmp_path / "empty").mkdir()
    assert data.open("flowers102", data_dir=tmp_path / "empty", size=16, n_train=8, n_test=4).names == images.names
    archive(tmp_path / "served" / "more.zip", FLOWERS[:5])
    sets.unpack(tmp_path / "served" / "more.zip", tmp_path / "own")
    with pytest.warns(UserWarning, match="5 of its 12"):
        own = data.open("flowers102", data_dir=tmp_path / "own", size=16, n_train=3, n_test=2)
    assert counts(own.names) == (3, 2)
    with pytest.raises(FileNotFoundError, match="data_dir"):
        data.open("flowers102", data_dir=tmp_path / "missing", size=16)


@pytest.mark.filterwarnings("ignore:.*fewer than")
@pytest.mark.parametrize("name", ["flowers102", "oxford-pet", "caltech101"])
def test_the_real_classes_of_torchvision_lay_out_what_is_looked_for(tmp_path, cache, monkeypatch, name):
    """Their downloads are replaced; what they unpack, and where, is theirs."""
    made = tmp_path / "made"
    setid = io.BytesIO()
    scipy.io.savemat(setid, {"trnid": [[1, 5]], "valid": [[2]], "tstid": [[3, 4, 7]]})
    pets = [f"images/beagle_{i}.jpg" for i in range(6)]
    lists = [("annotations/trainval.txt", b"beagle_1 1 1 1\n"), ("annotations/test.txt", b"beagle_2 1 1 1\n")]
    faces = [
        f"101_ObjectCategories/{kind}/image_{i:04}.jpg" for kind in ("Faces", "BACKGROUND_Google") for i in range(5)
    ]
    inner = archive(made / "101_ObjectCategories.tar.gz", faces).read_bytes()
    archive(made / "102flowers.tgz", FLOWERS)
    archive(made / "images.tar.gz", pets)
    archive(made / "annotations.tar.gz", [], lists)
    archive(made / "caltech-101.zip", [], [("caltech-101/101_ObjectCategories.tar.gz", inner)])
    (made / "setid.mat").write_bytes(setid.getvalue())
    scipy.io.savemat(made / "imagelabels.mat", {"labels": [[1] * 12]})

    def downloaded(url, root=None, filename=None, md5=None, download_root=None):
        assert md5
        Path(root or download_root).mkdir(parents=True, exist_ok=True)
        return shutil.copy(made / url.rsplit("/", 1)[1], root or download_root)

    def extracted(*given, **named):
        path = Path(downloaded(*given, **named))
        extract_archive(str(path), str(path.parent))

    for module in (flowers102, oxford_iiit_pet, caltech):
        monkeypatch.setattr(module, "download_and_extract_archive", extracted)
    monkeypatch.setattr(flowers102, "download_url", downloaded)
    monkeypatch.setattr(flowers102, "check_integrity", lambda path, md5: Path(path).exists())
    monkeypatch.setitem(sets.known()[name], "pictures", 1)
    given = {} if name != "caltech101" else {"n_train": 6, "n_test": 4}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = data.open(name, size=16, **given)
    assert counts(images.names) == {"flowers102": (2, 3), "oxford-pet": (1, 1), "caltech101": (6, 4)}[name]
    assert ("the authors' own" in images.split) == (name != "caltech101")
    assert not [path for path in tree(cache) if path.endswith(("gz", "zip", "part"))]


def test_two_sets_of_one_kaggle_archive_are_linked_and_not_copied(tmp_path, cache, monkeypatch):
    names = [f"afhq/train/{kind}/flickr_{kind}_{i:06}.jpg" for kind in ("wild", "cat") for i in range(6)]
    sets.unpack(archive(tmp_path / "a.zip", names), tmp_path / "kagglehub" / "versions" / "3")
    asked = []
    monkeypatch.setattr(
        kagglehub,
        "dataset_download",
        lambda handle: asked.append(handle) or str(tmp_path / "kagglehub" / "versions" / "3"),
    )
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


def test_where_nothing_can_be_reached_three_ways_on_are_said_and_no_secret(tmp_path, cache, server, flowers):
    secret = f"http://user:secret@{server}/gone.zip?token=hidden"
    flowers["sources"] = [secret, "http://127.0.0.1:9/closed.zip", "torchvision:Nothing"]
    with pytest.raises(FileNotFoundError) as caught:
        data.open("flowers102", size=16)
    for words in (
        server,
        "404",
        "127.0.0.1:9",
        "torchvision:Nothing",
        "fetch flowers102 --source",
        "by hand",
        "portraits",
    ):
        assert words in str(caught.value)
    with pytest.raises(FileNotFoundError) as again:
        sets.fetch("flowers102", secret)
    for message in (str(caught.value), str(again.value)):
        assert "secret" not in message
        assert "hidden" not in message
        assert "\n" not in message
    assert tree(cache) == ["fetching.lock"]
    with pytest.raises(FileNotFoundError, match="on request only"):
        data.open("paris-streetview", size=16)
    with pytest.raises(ValueError, match="source"):
        sets.fetch("flowers102", "ftp://example.org/flowers.zip")


LINK = tarfile.TarInfo("jpg/link")
LINK.type, LINK.linkname = tarfile.SYMTYPE, "../../.."
ZIP_LINK = zipfile.ZipInfo("jpg/link")
ZIP_LINK.external_attr = 0o120777 << 16
BAD_ARCHIVES = {
    "up.tgz": [("../../../evil", b"x")],
    "link.tgz": [(LINK, b"")],
    "up.zip": [("../../../evil", b"x")],
    "link.zip": [(ZIP_LINK, b"../../.."), ("jpg/link/evil", b"x")],
    "cut.tgz": "cut",
    "cut.zip": "cut",
    "changed.zip": "changed",
    "other.zip": "other",
    "wrong.tgz": "wrong checksum",
}


@pytest.mark.filterwarnings("ignore:.*setid|.*fewer than")
@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_a_bad_archive_is_refused_and_the_good_set_stays(tmp_path, cache, server, flowers, name):
    images = data.open("flowers102", size=16, n_train=8, n_test=4)
    what = BAD_ARCHIVES[name]
    path = archive(
        tmp_path / "served" / name, ["dog.jpg"] if what == "other" else FLOWERS, [] if isinstance(what, str) else what
    )
    content = path.read_bytes()
    if what in ("cut", "changed"):
        half = len(content) // 2
        path.write_bytes(content[:half] + (b"" if what == "cut" else bytes(64) + content[half + 64 :]))
    checksum = f"#sha256={'0' * 64}" if what == "wrong checksum" else ""
    with pytest.raises(FileNotFoundError, match="flowers102 is not here"):
        sets.fetch("flowers102", f"http://{server}/{name}{checksum}")
    assert not list(tmp_path.rglob("evil"))
    assert data.open("flowers102", size=16, n_train=8, n_test=4).describe() == images.describe()
    archive(tmp_path / "served" / "good.zip", FLOWERS[:6])
    _, files = sets.fetch("flowers102", f"http://{server}/good.zip")
    assert len(files) == 6
    assert not [path for path in tree(cache) if path.endswith(("tgz", "zip", "part"))]


@pytest.mark.parametrize("name", ["flowers102", "animals10"])
def test_a_disk_that_is_too_small_is_told_before_anything_is_downloaded(cache, monkeypatch, name):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * 10**8))
    with pytest.raises(FileNotFoundError, match=r"needs \d\.\d\d GB in .*, where 0\.50 GB are free"):
        data.open(name, size=16)
    assert tree(cache) == ["fetching.lock"]


def test_a_cache_that_cannot_be_made_is_told_with_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "a file").touch()
    monkeypatch.setenv("INPAINTKIT_CACHE", str(tmp_path / "a file"))
    with pytest.raises(OSError, match="INPAINTKIT_CACHE"):
        data.open("caltech101", size=16)
