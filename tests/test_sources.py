"""Data sets by name, against a server on this machine: torchvision's classes and kagglehub are the real ones."""

import base64
import hashlib
import inspect
import io
import json
import re
import shutil
import socket
import tarfile
import threading
import warnings
import zipfile
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.io
from PIL import Image
from torchvision import datasets
from torchvision.datasets import caltech
from torchvision.datasets import utils as torchvision_utils

from inpaintkit import __main__, data
from inpaintkit.data import download, pictures, sources
from inpaintkit.papers import vae

CONTENT = np.random.default_rng(0).bytes(3_500_000)  # more than three of the pieces that are written at a time
CUT = 2_500_000
SOURCES = sources.known()


# --- a server, and what it serves ---


class Server:
    """Serves ``files`` {path: bytes}; ``log`` holds what was asked for, (path, first byte or None).

    ``cuts`` {path: [n, ...]} breaks one answer each after n bytes; a path in ``no_ranges`` is always sent whole;
    answers wait for ``gate``. It also speaks as much of Kaggle's protocol as kagglehub needs for one archive.
    """

    def __init__(self):
        self.files, self.cuts, self.no_ranges, self.headers, self.log = {}, {}, set(), {}, []
        self.asked, self.gate = threading.Event(), threading.Event()
        self.gate.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server._get(self)

            def do_POST(self):
                server._kaggle(self)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self):
        self.gate.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def url(self, path: str, content: bytes | None = None) -> str:
        if content is not None:
            self.files[path] = content
        return f"{self.address}/{path}"

    def asked_for(self, path: str) -> list:
        return [first for asked, first in self.log if asked == path]

    def _get(self, request):
        path = request.path.partition("?")[0].lstrip("/")
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        first = int(wanted[1]) if wanted else None
        self.log.append((path, first))
        self.asked.set()
        self.gate.wait(30)
        content, start = self.files.get(path), 0
        if content is None:
            return request.send_error(404)
        if first is not None and path not in self.no_ranges:
            start = first
            if start >= len(content):
                return self._answer(request, 416, b"", {"Content-Range": f"bytes */{len(content)}"})
        headers = {"Accept-Ranges": "bytes"} | self.headers.get(path, {})
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = self.cuts[path].pop(0) if self.cuts.get(path) else None
        self._answer(request, 206 if start else 200, content[start:], headers, cut)

    def _answer(self, request, status, content, headers, cut=None):
        request.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content[:cut])

    def _kaggle(self, request):
        wanted = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        what = request.path.rpartition("/")[2]
        self.log.append((what, wanted["datasetSlug"]))
        if what == "GetDataset":
            content = json.dumps({"currentVersionNumber": 3}).encode()
            return self._answer(request, 200, content, {"Content-Type": "application/json"})
        assert (what, wanted["datasetVersionNumber"]) == ("DownloadDataset", 3)
        self._answer(request, 302, b"", {"Location": self.url(f"{wanted['datasetSlug']}.zip")})


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    for variable in ("KAGGLE_KERNEL_RUN_TYPE", "KAGGLE_API_ENVIRONMENT", "KAGGLE_USERNAME", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in {
        "INPAINTKIT_CACHE": tmp_path / "cache",
        "KAGGLEHUB_CACHE": tmp_path / "kagglehub",
        "KAGGLE_CONFIG_DIR": tmp_path,
        "HOME": tmp_path,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }.items():
        monkeypatch.setenv(variable, str(value))
    monkeypatch.setattr(torchvision_utils, "_get_redirect_url", lambda url, **_: pytest.fail(f"torchvision asks {url}"))


@pytest.fixture
def known(monkeypatch):
    """A copy of the list of data sets that a test may change; nothing in it leads off this machine."""
    copy = deepcopy(sources.known())
    for table in copy.values():
        if "sources" in table:
            table["sources"] = []
    monkeypatch.setattr(sources, "known", lambda: copy)
    return copy


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    coarse = np.random.default_rng(seed).integers(0, 255, (3, 3, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((24, 20), Image.Resampling.BILINEAR).save(file, "JPEG")
    return file.getvalue()


def jpegs(*names: str) -> dict[str, bytes]:
    return {name: jpeg(int(md5(name.encode())[:6], 16)) for name in names}


def tar_of(members: dict[str, bytes], mode: str = "w:gz") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def mat_of(**arrays) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, arrays)
    return file.getvalue()


def write(folder: Path, members: dict[str, bytes]) -> Path:
    for name, content in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def closed_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def archive_source(*urls: str) -> dict:
    return {"archive": [{"name": Path(urls[0]).name, "urls": list(urls)}]}


# --- download ---


def test_a_file_is_downloaded_once(tmp_path, server):
    url, path = server.url("set.zip", CONTENT), tmp_path / "deep" / "set.zip"
    for _ in range(2):
        download.download([url], path, md5=md5(CONTENT))
        assert path.read_bytes() == CONTENT
        assert server.log == [("set.zip", None)]
        assert tree(path.parent) == ["set.zip"]


def test_a_file_that_is_there_but_wrong_is_replaced(tmp_path, server):
    (tmp_path / "set.zip").write_bytes(b"half of it")
    download.download([server.url("set.zip", CONTENT)], tmp_path / "set.zip", md5=md5(CONTENT))
    assert (tmp_path / "set.zip").read_bytes() == CONTENT


def test_a_broken_connection_is_taken_up_where_it_broke(tmp_path, server):
    server.cuts["set.zip"] = [CUT]
    download.download([server.url("set.zip", CONTENT)], tmp_path / "set.zip", md5=md5(CONTENT))
    start, again = server.asked_for("set.zip")
    assert start is None
    assert 0 < again <= CUT
    assert (tmp_path / "set.zip").read_bytes() == CONTENT
    assert tree(tmp_path) == ["set.zip"]


def test_a_second_call_goes_on_where_the_first_was_stopped(tmp_path, server):
    server.cuts["set.zip"] = [CUT, 0]
    url, path = server.url("set.zip", CONTENT), tmp_path / "set.zip"
    with pytest.raises(OSError, match=r"set\.zip could not be downloaded from http"):
        download.download([url], path, md5=md5(CONTENT))
    (part,) = tmp_path.iterdir()
    assert part.suffix == ".part"
    have = part.stat().st_size
    assert have > 0
    download.download([url], path, md5=md5(CONTENT))
    assert server.asked_for("set.zip")[-1] == have
    assert path.read_bytes() == CONTENT
    assert tree(tmp_path) == ["set.zip"]


def test_a_server_that_cannot_resume_sends_it_all_again(tmp_path, server):
    server.cuts["set.zip"], server.no_ranges = [CUT], {"set.zip"}
    download.download([server.url("set.zip", CONTENT)], tmp_path / "set.zip")
    assert len(server.asked_for("set.zip")) == 2
    assert (tmp_path / "set.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("left", [CONTENT, CONTENT + b"of a longer one"])
def test_a_server_that_has_nothing_left_to_send(tmp_path, server, left):
    server.cuts["set.zip"] = [CUT, 0]
    url, path = server.url("set.zip", CONTENT), tmp_path / "set.zip"
    with pytest.raises(OSError, match="could not be downloaded"):
        download.download([url], path)
    (part,) = tmp_path.iterdir()
    part.write_bytes(left)
    server.log.clear()
    download.download([url], path)
    whole = left == CONTENT
    assert server.asked_for("set.zip") == ([len(left)] if whole else [len(left), None])
    assert path.read_bytes() == CONTENT
    assert tree(tmp_path) == ["set.zip"]


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_other_content_is_refused_and_the_next_address_taken(tmp_path, server, kind):
    wrong, right = server.url("wrong.zip", b"an error page"), server.url("set.zip", CONTENT)
    checksum = {kind: hashlib.new(kind, CONTENT).hexdigest()}
    path = tmp_path / "set.zip"
    with pytest.raises(OSError, match=f"wrong {kind}") as caught:
        download.download([wrong], path, **checksum)
    assert wrong in str(caught.value)
    assert tree(tmp_path) == []
    download.download([wrong, right], path, **checksum)
    assert path.read_bytes() == CONTENT


def test_a_mirror_is_used_where_the_first_address_has_nothing(tmp_path, server):
    gone, mirror = server.url("gone/set.zip"), server.url("set.zip", CONTENT)
    download.download([gone, mirror], tmp_path / "set.zip", md5=md5(CONTENT))
    assert server.log == [("gone/set.zip", None), ("set.zip", None)]
    assert (tmp_path / "set.zip").read_bytes() == CONTENT


def test_nothing_reachable_is_one_sentence_with_every_address(tmp_path, server):
    urls = [f"{closed_address()}/set.zip", server.url("gone/set.zip"), f"{closed_address()}/set.zip"]
    with pytest.raises(OSError, match=r"set\.zip could not be downloaded from ") as caught:
        download.download(urls, tmp_path / "set.zip")
    message = str(caught.value)
    assert all(url in message for url in urls)
    assert "404" in message
    assert message.count("efused") == 2
    assert "\n" not in message
    assert "Max retries" not in message
    assert tree(tmp_path) == []


# --- archives ---


def tar_with_link(kind: bytes, target: str) -> bytes:
    file = io.BytesIO(tar_of({"harmless.txt": b"x"}, "w"))
    with tarfile.open(fileobj=file, mode="a") as archive:
        link = tarfile.TarInfo("folder")
        link.type, link.linkname = kind, target
        archive.addfile(link)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("up.tar.gz", tar_of({"harmless.txt": b"x", "../evil": b"x"})),
        ("deep.tar", tar_of({"harmless.txt": b"x", "a/b/../../../evil": b"x"}, "w")),
        ("absolute.tar", tar_of({"harmless.txt": b"x", "/tmp/inpaintkit-evil": b"x"}, "w")),
        ("symlink.tar", tar_with_link(tarfile.SYMTYPE, "../..")),
        ("absolute-symlink.tar", tar_with_link(tarfile.SYMTYPE, "/etc")),
        ("hardlink.tar", tar_with_link(tarfile.LNKTYPE, "../secret")),
        ("up.zip", zip_of({"harmless.txt": b"x", "../evil": b"x"})),
        ("windows-up.zip", zip_of({"harmless.txt": b"x", "..\\evil": b"x"})),
        ("drive.zip", zip_of({"harmless.txt": b"x", "C:\\evil": b"x"})),
    ],
)
def test_an_archive_that_leads_outside_its_folder_is_not_unpacked(tmp_path, name, content):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "secret").write_text("s")
    (tmp_path / name).write_bytes(content)
    before = tree(tmp_path)
    with pytest.raises(ValueError, match="leads outside its folder: it was not unpacked"):
        download.unpack(tmp_path / name, tmp_path / "a" / "b")
    assert tree(tmp_path) == before
    assert not Path("/tmp/inpaintkit-evil").exists()


@pytest.mark.parametrize("name", ["set.zip", "set.tar", "set.tar.gz", "set.tgz"])
def test_whole_archives_are_unpacked_and_truncated_ones_are_named(tmp_path, name):
    members = {f"{i}.bin": CONTENT[i * 40_000 : (i + 1) * 40_000] for i in range(3)}
    content = zip_of(members) if name.endswith("zip") else tar_of(members, "w" if name.endswith("tar") else "w:gz")
    (tmp_path / name).write_bytes(content)
    download.unpack(tmp_path / name, tmp_path / "whole")
    assert {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()} == members
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(OSError, match=f"{name} is damaged"):
        download.unpack(tmp_path / name, tmp_path / "half")


# --- the real classes of torchvision ---

FLOWERS = [f"image_{i:05}.jpg" for i in range(1, 13)]


def publish(server, table: dict, name: str, contents: dict[str, bytes]) -> dict[str, str]:
    """Lets the first torchvision source of ``name`` lead to ``server``. Returns {file: md5}."""
    real = next(deepcopy(source) for source in SOURCES[name]["sources"] if "torchvision" in source)
    for file in real["files"]:
        content = contents[file["name"]]
        file |= {"urls": [server.url(file["name"], content)], "md5": md5(content)}
    table["sources"].append(real)
    table["bytes"] = 1000
    return {file["name"]: file["md5"] for file in real["files"]}


@pytest.fixture
def flowers(server, known, monkeypatch):
    contents = {
        "102flowers.tgz": tar_of(jpegs(*(f"jpg/{name}" for name in FLOWERS))),
        "imagelabels.mat": mat_of(labels=np.arange(12)[None] // 4 + 1),
        "setid.mat": mat_of(trnid=[[1, 5, 9]], valid=[[2, 6, 10]], tstid=[[3, 4, 7, 8, 11, 12]]),
    }
    sums = publish(server, known["flowers102"], "flowers102", contents)
    table = {key: (name, sums[name]) for key, (name, _) in datasets.Flowers102._file_dict.items()}
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", table)
    known["flowers102"]["pictures"] = 12
    known["flowers102"]["splits"]["paper"] |= {"train": 3, "test": 6}
    return known["flowers102"]


@pytest.fixture
def pets(server, known, monkeypatch):
    names = [f"{breed}_{i}" for breed in ("Abyssinian", "beagle", "yorkshire_terrier") for i in (1, 2, 30)]
    lines = [f"{name} {i // 3 + 1} {1 + (i > 2)} {i // 3 + 1}\n" for i, name in enumerate(names[:8])]  # one is in none
    images = jpegs(*(f"images/{name}.jpg" for name in names)) | {"images/Abyssinian_100.mat": b"not a picture"}
    lists = {"trainval.txt": lines[::2], "test.txt": lines[1::2], "list.txt": ["#Image CLASS-ID SPECIES BREED\n"]}
    annotations = {f"annotations/{file}": "".join(text).encode() for file, text in lists.items()}
    contents = {"images.tar.gz": tar_of(images), "annotations.tar.gz": tar_of(annotations)}
    sums = publish(server, known["oxford-pet"], "oxford-pet", contents)
    table = tuple((url, sums[Path(url).name]) for url, _ in datasets.OxfordIIITPet._RESOURCES)
    monkeypatch.setattr(datasets.OxfordIIITPet, "_RESOURCES", table)
    known["oxford-pet"]["pictures"] = 9
    known["oxford-pet"]["splits"]["paper"] |= {"train": 4, "test": 4}
    return known["oxford-pet"]


CALTECH = {"Faces": 6, "Faces_easy": 6, "BACKGROUND_Google": 4, "wild_cat": 3, "yin_yang": 3}


@pytest.fixture
def caltech101(server, known, monkeypatch):
    names = [f"101_ObjectCategories/{c}/image_{i:04}.jpg" for c, n in CALTECH.items() for i in range(1, n + 1)]
    inner = tar_of(jpegs(*names) | {"101_ObjectCategories/BACKGROUND_Google/tmp": b"not a picture"})
    annotations = tar_of({"Annotations/wild_cat/annotation_0001.mat": b"x"}, "w")
    members = {"101_ObjectCategories.tar.gz": inner, "Annotations.tar": annotations, "show_annotation.m": b"%"}
    outer = zip_of({f"caltech-101/{name}": content for name, content in members.items()})
    sums = publish(server, known["caltech101"], "caltech101", {"caltech-101.zip": outer})
    real = caltech.download_and_extract_archive
    patched = lambda *given, md5, **named: real(*given, md5=sums["caltech-101.zip"], **named)  # noqa: E731
    monkeypatch.setattr(caltech, "download_and_extract_archive", patched)
    known["caltech101"]["pictures"] = sum(CALTECH.values())
    known["caltech101"]["splits"]["paper"] |= {"train": 14, "test": 6}
    known["caltech101"]["splits"]["objects"] |= {"train": 10, "test": 6}
    return known["caltech101"]


def assert_fetched_and_tidy(name, tmp_path, server):
    """Nothing but the pictures is left, and a second `data.open` asks nobody."""
    shelf = tmp_path / "cache" / "sets"
    assert {path.name for path in shelf.iterdir()} - {"fetching.lock"} == {name, f"{name}.json"}
    assert not [path for path in shelf.rglob("*") if path.suffix in (".zip", ".gz", ".tgz", ".part")]
    note = json.loads((shelf / f"{name}.json").read_text(encoding="utf8"))
    assert note["source"].startswith("torchvision.datasets.")
    asked = len(server.log)
    assert len({path for path, _ in server.log}) == asked, "every file once"
    again = data.open(name, size=16)
    assert len(server.log) == asked
    return again


def test_flowers_come_by_torchvision_with_the_official_split(tmp_path, server, flowers, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        images = data.open("flowers102", size=16)
    said = capsys.readouterr().out
    assert "flowers102: Oxford Flowers-102. Nilsback" in said
    assert "Licence: none stated." in said
    assert "setid.mat" in images.split
    assert images.names == {
        "train": [FLOWERS[i - 1] for i in (1, 5, 9)],
        "test": [FLOWERS[i - 1] for i in (3, 4, 7, 8, 11, 12)],
    }
    assert images.train.shape == (3, 3, 16, 16)
    expected = data.decode(io.BytesIO(jpegs(f"jpg/{FLOWERS[4]}").popitem()[1]), 16)
    assert (images.train[1].numpy() == expected).all()
    again = assert_fetched_and_tidy("flowers102", tmp_path, server)
    assert again.describe() == images.describe()


def test_pets_come_by_torchvision_with_the_official_split(tmp_path, server, pets):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        images = data.open("oxford-pet", size=16)
    assert "trainval.txt" in images.split
    assert images.names == {
        "train": ["Abyssinian_1.jpg", "Abyssinian_30.jpg", "beagle_2.jpg", "yorkshire_terrier_1.jpg"],
        "test": ["Abyssinian_2.jpg", "beagle_1.jpg", "beagle_30.jpg", "yorkshire_terrier_2.jpg"],
    }
    assert images.notes["files skipped"] == 0, "the .mat file among them is not even looked at"
    assert assert_fetched_and_tidy("oxford-pet", tmp_path, server).names == images.names


def test_caltech_comes_by_torchvision_with_its_background_class(tmp_path, server, caltech101):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        images = data.open("caltech101", size=16)
    assert images.split == "drawn, seed 0"
    assert (len(images.names["train"]), len(images.names["test"])) == (14, 6)
    assert not set(images.names["train"]) & set(images.names["test"])
    assert any("BACKGROUND_Google" in name for side in images.names.values() for name in side)
    assert sum(assert_fetched_and_tidy("caltech101", tmp_path, server).notes.values()) == 0


def test_the_two_crops_of_a_face_are_on_one_side_and_objects_leave_the_background_out(tmp_path, caltech101):
    for seed in range(8):
        for dataset in ("caltech101", "caltech101:objects"):
            images = data.open(dataset, size=16, seed=seed)
            faces = {
                side: {Path(name).name for name in names if name.startswith("Faces")}
                for side, names in images.names.items()
            }
            assert not faces["train"] & faces["test"], (dataset, seed)
    assert not any("BACKGROUND" in name for side in images.names.values() for name in side)
    assert images.name == "caltech101:objects"
    assert not list((tmp_path / "cache").rglob("*:*")), "Windows has no such names"


def serve_flowers(server, table, members):
    """Another archive, and the checksums to it."""
    tgz = server.files["102flowers.tgz"] = tar_of(members)
    table["sources"][0]["files"][0]["md5"] = md5(tgz)
    datasets.Flowers102._file_dict["image"] = ("102flowers.tgz", md5(tgz))  # the fixture's copy


def test_torchvision_gets_no_archive_that_leads_outside(tmp_path, server, flowers):
    serve_flowers(server, flowers, jpegs("jpg/image_00001.jpg") | {"../../../evil": b"x"})
    with pytest.raises(FileNotFoundError, match="leads outside its folder: it was not unpacked"):
        data.open("flowers102", size=16)
    assert not list(tmp_path.rglob("evil")) + list((tmp_path / "cache").rglob("*.jpg"))


def test_torchvision_gets_whole_archives_after_a_broken_connection(server, flowers):
    serve_flowers(server, flowers, jpegs(*(f"jpg/{name}" for name in FLOWERS)) | {"jpg/x": CONTENT})
    server.cuts["102flowers.tgz"] = [CUT, 0]
    with pytest.raises(FileNotFoundError, match="could not be downloaded"):
        data.open("flowers102", size=16)
    assert len(data.open("flowers102", size=16).train) == 3
    starts = server.asked_for("102flowers.tgz")
    assert starts[0] is None
    assert all(starts[1:]), "never from the beginning again"


# --- kagglehub ---

ANIMALS = jpegs(
    *(f"afhq/train/wild/flickr_wild_{i:06}.jpg" for i in range(2, 7)),
    *(f"afhq/val/wild/flickr_wild_{i:06}.jpg" for i in range(3)),
    *(f"afhq/train/cat/{source}_cat_{i:06}.jpg" for i, source in enumerate(["flickr", "pixabay", "flickr", "pixabay"])),
    "afhq/val/cat/flickr_cat_000008.jpg",
    "afhq/train/dog/flickr_dog_000001.jpg",
)


@pytest.fixture
def kaggle(server, known, monkeypatch):
    from kagglesdk import kaggle_env

    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, server.address)
    archive = zip_of(ANIMALS | {"afhq/ballast.bin": CONTENT})
    checksum = base64.b64encode(hashlib.md5(archive).digest()).decode()
    server.headers["animal-faces.zip"] = {"x-goog-hash": f"crc32c=AAAAAA==,md5={checksum}"}
    server.files["animal-faces.zip"] = archive
    for name, numbers, official in (("afhq-wild", 8, (5, 3)), ("afhq-cat", 5, (4, 1))):
        known[name] |= {"sources": [{"kaggle": "andrewmvd/animal-faces"}], "pictures": numbers, "bytes": 1000}
        known[name]["splits"]["official"] |= dict(zip(("train", "test"), official, strict=True))
    return server


def folders_of(images) -> dict[str, list[str]]:
    return {side: sorted(name.rpartition("/")[0] for name in names) for side, names in images.names.items()}


def test_animal_faces_come_from_kaggle_and_their_own_test_is_never_drawn(tmp_path, kaggle):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        images = data.open("afhq-wild", size=16, n_train=3, n_test=2)
        official = data.open("afhq-wild:official", size=16)
    assert images.split == "drawn, seed 0"
    assert folders_of(images) == {"train": ["train/wild"] * 3, "test": ["train/wild"] * 2}
    assert not set(images.names["train"]) & set(images.names["test"])
    assert "folders" in official.split
    assert folders_of(official) == {"train": ["train/wild"] * 5, "test": ["val/wild"] * 3}
    with pytest.raises(ValueError, match="holds 5 usable pictures"):
        data.open("afhq-wild", size=16, n_train=5, n_test=1)
    assert [what for what, _ in kaggle.log] == ["GetDataset", "DownloadDataset", "animal-faces.zip"]
    note = json.loads((tmp_path / "cache" / "sets" / "afhq-wild.json").read_text(encoding="utf8"))
    assert note["source"] == "Kaggle andrewmvd/animal-faces"
    assert note["pictures"] == 8
    assert Path(note["folder"]).is_relative_to(tmp_path / "kagglehub")


def test_cats_are_found_in_the_same_archive_without_another_download(kaggle):
    data.open("afhq-wild:official", size=16)
    cats = data.open("afhq-cat:official", size=16)
    assert folders_of(cats) == {"train": ["train/cat"] * 4, "test": ["val/cat"]}
    assert [what for what, _ in kaggle.log].count("animal-faces.zip") == 1


def test_an_interrupted_download_from_kaggle_is_resumed(kaggle):
    kaggle.cuts["animal-faces.zip"] = [CUT]
    with pytest.raises(FileNotFoundError, match="Kaggle andrewmvd/animal-faces: "):
        data.open("afhq-wild:official", size=16)
    assert len(data.open("afhq-wild:official", size=16).train) == 5
    starts = kaggle.asked_for("animal-faces.zip")
    assert starts[0] is None
    assert 0 < starts[-1] <= CUT


def test_another_data_set_of_kaggle_can_be_named(kaggle):
    kaggle.files["copy.zip"] = zip_of(ANIMALS)
    folder, files = sources.fetch("afhq-wild", "kaggle:someone/copy")
    assert len(files) == 8
    assert folder.match("someone/copy/versions/3/afhq")


# --- when it does not work ---


def test_no_source_works_and_three_ways_on_are_said(server, flowers):
    del server.files["102flowers.tgz"]
    gone = f"{closed_address()}/oxford-102-flowers.tgz"
    flowers["sources"].append(archive_source(gone))
    with pytest.raises(FileNotFoundError) as caught:
        data.open("flowers102", size=16)
    message = str(caught.value)
    assert message.startswith("flowers102 is not here and could not be fetched (torchvision.datasets.Flowers102: ")
    for part in (
        server.url("102flowers.tgz"),
        gone,
        "404",
        "; 127.0.0.1: ",
        "python -m inpaintkit fetch flowers102 --source SOURCE",
        "by hand: unpack 102flowers.tgz of www.robots.ox.ac.uk",
        "data_dir",
        "dataset='embedded'",
    ):
        assert part in message, part
    assert "\n" not in message


def test_a_set_on_request_says_so(known):
    with pytest.raises(FileNotFoundError, match=r"on request only.*ask the authors of Context Encoders"):
        data.open("paris-streetview", size=16)


def test_unknown_splits_and_sources_name_what_there_is(server, flowers):
    with pytest.raises(ValueError, match="flowers102:foo is not known: there are flowers102:paper"):
        data.open("flowers102:foo", size=16)
    for source in ("ftp://example.org/flowers.zip", "flowers.zip", "someone/flowers"):
        with pytest.raises(ValueError, match="must be kaggle:OWNER/NAME or the address of an archive"):
            sources.fetch("flowers102", source)
    assert server.log == []


@pytest.mark.parametrize("name", ["flowers102", "afhq-wild"])
def test_a_disk_that_is_too_small_is_noticed_before_anything_is_downloaded(server, flowers, kaggle, monkeypatch, name):
    sources.known()[name]["bytes"] = 344_878_000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * 10**8))
    with pytest.raises(FileNotFoundError, match=r"needs \d\.\d\d GB in .*, where 0\.50 GB are free: make room"):
        data.open(name, size=16)
    assert server.log == []


def test_a_second_source_is_used_where_the_first_fails_and_is_noted(tmp_path, server, flowers):
    del server.files["102flowers.tgz"]
    mirror = tar_of(jpegs(*(f"oxford-102-flowers/jpg/{name}" for name in FLOWERS)))
    flowers["sources"].append(archive_source(server.url("oxford-102-flowers.tgz", mirror)))
    with pytest.warns(UserWarning, match=r"has no setid\.mat that parts its pictures: they are drawn instead"):
        images = data.open("flowers102", size=16)
    assert images.split == "drawn, seed 0, for want of setid.mat"
    assert (len(images.train), len(images.test)) == (3, 6)
    note = json.loads((tmp_path / "cache" / "sets" / "flowers102.json").read_text(encoding="utf8"))
    assert (note["source"], note["pictures"]) == ("127.0.0.1", 12)


def test_an_archive_without_the_pictures_of_the_set_is_refused(tmp_path, server, flowers):
    other = server.url("other.zip", zip_of(jpegs("jpg/dog.jpg")))
    with pytest.raises(FileNotFoundError, match=r"127\.0\.0\.1: it holds no pictures named like those of this set"):
        sources.fetch("flowers102", other)
    assert sources.cached("flowers102") is None
    assert len(data.open("flowers102", size=16).train) == 3, "the usual sources still work"


def test_an_archive_that_leads_outside_is_refused_by_name(tmp_path, server, known):
    evil = server.url("evil.zip", zip_of(jpegs("image_00001.jpg") | {"../../../evil": b"x"}))
    with pytest.raises(FileNotFoundError, match=r"evil\.zip holds '\.\./\.\./\.\./evil', which leads outside"):
        sources.fetch("flowers102", evil)
    assert not list(tmp_path.rglob("evil"))
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_a_damaged_archive_is_not_kept_and_taken_for_whole_the_next_time(tmp_path, server, known):
    known["flowers102"] |= {
        "pictures": 12,
        "sources": [archive_source(server.url("set.zip", b"<html>try later</html>"))],
    }
    with pytest.raises(FileNotFoundError, match=r"set\.zip is damaged"):
        sources.fetch("flowers102")
    assert tree(tmp_path / "cache" / "sets") in ([], ["fetching.lock"])
    server.url("set.zip", zip_of(jpegs(*(f"jpg/{name}" for name in FLOWERS))))
    assert len(sources.fetch("flowers102")[1]) == 12


def test_the_address_of_an_archive_can_be_named(server, known):
    known["flowers102"]["pictures"] = 12
    url = server.url("my.zip", zip_of(jpegs(*(f"jpg/{name}" for name in FLOWERS))))
    folder, files = sources.fetch("flowers102", f"{url}?dl=1")
    assert folder.name == "jpg"
    assert [name for name, *_ in files] == FLOWERS
    assert sources.obtain("flowers102") == (folder, files)


# --- where it is looked for ---


def test_data_dir_wins_over_the_cache_and_the_network(tmp_path, server, flowers):
    data.open("flowers102", size=16)
    asked = len(server.log)
    mine = jpegs(*(f"jpg/{name}" for name in FLOWERS[:8])) | {"setid.mat": server.files["setid.mat"]}
    write(tmp_path / "mine", mine)
    with pytest.warns(UserWarning, match="holds") as caught:
        images = data.open("flowers102", data_dir=tmp_path / "mine", size=16, n_train=2, n_test=4)
    assert str(caught[0].message) == f"flowers102: {tmp_path}/mine/jpg holds 8 of its 12 pictures."
    assert images.names["test"] == [FLOWERS[i - 1] for i in (3, 4, 7, 8)]
    cfg = vae.Parameters.resolve({"dataset": "flowers102", "data_dir": str(tmp_path / "mine"), "n_test": 4})
    with pytest.warns(UserWarning, match="holds"):
        assert data.open_for(cfg).names == data.open("flowers102", data_dir=tmp_path / "mine", size=16, n_test=4).names
    assert len(server.log) == asked


def test_a_data_dir_without_the_set_leads_to_the_cache(tmp_path, server, flowers, capsys):
    images = data.open("flowers102", size=16)
    asked = len(server.log)
    capsys.readouterr()
    write(tmp_path / "mine", {"holiday.jpg": jpeg(0)})
    again = data.open("flowers102", data_dir=tmp_path / "mine", size=16)
    assert f"flowers102 is not in {tmp_path}/mine; looking in the cache." in capsys.readouterr().out
    assert again.describe() == images.describe()
    assert len(server.log) == asked


def test_a_data_dir_that_is_missing_or_a_file_is_an_error_even_if_the_cache_has_the_set(tmp_path, flowers):
    data.open("flowers102", size=16)
    with pytest.raises(FileNotFoundError, match="missing does not exist"):
        data.open("flowers102", data_dir=tmp_path / "missing", size=16)
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError, match="is a file"):
        data.open("flowers102", data_dir=tmp_path / "file", size=16)


def test_a_set_with_pictures_missing_says_how_many_and_who_asked(tmp_path):
    lists = mat_of(trnid=[[1]], valid=[[4]], tstid=[[2, 3]])
    write(tmp_path / "mine", jpegs(*(f"jpg/{name}" for name in FLOWERS[:3])) | {"setid.mat": lists})
    with pytest.warns(UserWarning, match=r"holds 3 of its 8,189 pictures\.") as caught:
        images = data.open("flowers102", data_dir=tmp_path / "mine", size=16, n_train=1, n_test=2)
    assert [warning.filename for warning in caught] == [__file__]
    assert sum(map(len, images.names.values())) == 3


def test_a_cache_whose_folder_is_gone_is_fetched_again(tmp_path, server, flowers):
    data.open("flowers102", size=16)
    shutil.rmtree(tmp_path / "cache" / "sets" / "flowers102")
    assert len(data.open("flowers102", size=16).train) == 3
    assert len(server.asked_for("102flowers.tgz")) == 2


def test_two_that_want_the_same_set_at_once_fetch_it_once(server, flowers, monkeypatch):
    waits, found, errors = threading.Event(), [], []

    def fetch():
        try:
            found.append(sources.fetch("flowers102"))
        except BaseException as error:
            errors.append(error)

    monkeypatch.setattr(pictures, "print", lambda text: "fetching a data set" in text and waits.set(), raising=False)
    server.gate.clear()
    threads = [threading.Thread(target=fetch) for _ in range(2)]
    threads[0].start()
    assert server.asked.wait(20)
    threads[1].start()
    assert waits.wait(20), "the second says that it waits"
    server.gate.set()
    for thread in threads:
        thread.join(30)
    assert not errors
    assert found[0] == found[1]
    assert sorted(path for path, _ in server.log) == ["102flowers.tgz", "imagelabels.mat", "setid.mat"]


# --- sources.toml ---


@pytest.mark.parametrize("name", list(sources.known()))
def test_every_set_says_what_it_is_and_where_it_comes_from(name):
    table = sources.known()[name]
    for key in ("title", "work", "citation", "licence", "pixels", "by_hand"):
        assert isinstance(table[key], str)
        assert table[key]
    assert table["pictures"] > 0
    assert table["below"]
    pattern = re.compile(table["files"], re.IGNORECASE)
    assert not pattern.fullmatch("notes.txt")
    for variant, split in table["splits"].items():
        plan = sources.plan(name, variant)
        assert plan.rule == split["rule"]
        assert plan.rule != "folders" or "part" in pattern.groupindex
        assert not plan.without or "class" in pattern.groupindex
    assert "paper" in table["splits"]
    for source in table.get("sources", []):
        assert table["bytes"] > 0
        assert sum(kind in source for kind in ("torchvision", "kaggle", "archive")) == 1
        assert re.fullmatch(r"[\w-]+/[\w-]+", source.get("kaggle", "owner/name"))
        for file in source.get("files", []) + source.get("archive", []):
            assert file["urls"]
            assert all(url.startswith("https://") for url in file["urls"])
            assert re.fullmatch("[0-9a-f]{32}", file.get("md5", 32 * "0"))
            assert re.fullmatch("[0-9a-f]{64}", file.get("sha256", 64 * "0"))


@pytest.mark.parametrize(
    ("name", "examples"),
    [
        (
            "afhq-wild",
            ["train/wild/flickr_wild_000002.jpg", "val/wild/flickr_wild_000014.jpg", "flickr_wild_000002.png"],
        ),
        ("afhq-cat", ["train/cat/pixabay_cat_000002.jpg", "flickr_cat_000002.jpg"]),
        ("ffhq", ["00000/00012.png", "69000.png"]),
        ("animals10", ["cane/OIP-_0aBc.jpeg", "scoiattolo/e83cb80a2af1053e.jpg", "Gatto/1.JPG"]),
        ("paris-streetview", ["48.842502_2.344968_90_-004.JPG", "-33.86_151.2_0_0.jpeg"]),
        ("oxford-pet", ["Abyssinian_100.jpg", "yorkshire_terrier_9.jpg"]),
        ("caltech101", ["BACKGROUND_Google/image_0001.jpg", "Faces_easy/image_0435.jpg", "car_side/image_0002.jpg"]),
        ("flowers102", ["image_00001.jpg", "17/image_08189.jpg"]),
    ],
)
def test_the_names_of_a_set_are_recognized_and_no_others(name, examples):
    files = re.compile(sources.known()[name]["files"], re.IGNORECASE)
    assert all(files.fullmatch(example) for example in examples)
    others = ["train/dog/flickr_dog_000001.jpg", "Abyssinian_100.mat", "BACKGROUND_Google/tmp", "image_00001.jpg.part"]
    assert not [other for other in others if files.fullmatch(other)]


def test_the_checksums_and_addresses_are_those_of_torchvision():
    flowers, pets = datasets.Flowers102, datasets.OxfordIIITPet
    prefix = flowers._download_url_prefix
    theirs = {
        "Flowers102": {name: (checksum, prefix + name) for name, checksum in flowers._file_dict.values()},
        "OxfordIIITPet": {url.rpartition("/")[2]: (checksum, url) for url, checksum in pets._RESOURCES},
    }
    ours = {}
    for table in sources.known().values():
        for source in table.get("sources", []):
            if "torchvision" in source:
                files = {file["name"]: (file["md5"], file["urls"][0]) for file in source["files"]}
                ours[source["torchvision"]] = files
    ((name, (checksum, url)),) = ours.pop("Caltech101").items()
    assert all(f'"{part}"' in inspect.getsource(datasets.Caltech101.download) for part in (name, checksum, url))
    assert ours == theirs


@pytest.mark.parametrize("name", list(sources.known()))
def test_every_set_is_named_in_the_readme_of_the_data(name):
    readme = (Path(__file__).parents[1] / "data" / "README.md").read_text(encoding="utf8")
    assert re.search(rf"(?<![\w-]){name}(?![\w-])", readme)


# --- what servers and disks do ---


@pytest.mark.parametrize("cuts", [[70_000], [90_000, 90_000, 90_000]])
def test_a_connection_that_breaks_early_or_often_is_taken_up(tmp_path, server, cuts):
    server.cuts["set.zip"] = list(cuts)
    download.download([server.url("set.zip", CONTENT)], tmp_path / "set.zip", md5=md5(CONTENT))
    assert len(server.asked_for("set.zip")) == len(cuts) + 1


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_a_tgz_that_a_server_calls_a_compressed_tar_comes_as_it_is(tmp_path, server, encoding):
    content = tar_of({"a": CONTENT})
    server.headers["set.tgz"] = {"Content-Encoding": encoding}
    download.download([server.url("set.tgz", content)], tmp_path / "set.tgz", md5=md5(content))
    assert (tmp_path / "set.tgz").read_bytes() == content


def test_a_part_of_another_file_is_dropped_and_the_download_starts_anew(tmp_path, server):
    server.cuts["set.zip"] = [CUT, 0]
    url, path = server.url("set.zip", CONTENT), tmp_path / "set.zip"
    with pytest.raises(OSError, match="could not"):
        download.download([url], path)
    (part,) = tmp_path.iterdir()
    part.write_bytes(b"y" * 1_000_000)
    download.download([url], path, md5=md5(CONTENT))
    assert server.asked_for("set.zip")[-2:] == [1_000_000, None]


@pytest.mark.parametrize("name", ["set.zip", "set.tar.gz"])
@pytest.mark.parametrize("where", [0.3, 0.8])
def test_changed_bytes_in_the_middle_of_an_archive_are_noticed(tmp_path, name, where):
    members = {f"{i}.bin": (b"abcdefgh%d" % i) * 9000 + CONTENT[:30_000] for i in range(3)}
    content = tar_of(members)
    if name.endswith("zip"):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, inside in members.items():
                archive.writestr(member, inside)
        content = file.getvalue()
    k = int(len(content) * where)
    (tmp_path / name).write_bytes(content[:k] + bytes(64 * [255]) + content[k + 64 :])
    with pytest.raises(download.Damaged, match="is damaged"):
        download.unpack(tmp_path / name, tmp_path / "unpacked")


def test_a_damaged_archive_is_not_taken_for_whole_the_next_time(server, known):
    good = zip_of(jpegs(*(f"jpg/{name}" for name in FLOWERS)))
    known["flowers102"]["sources"] = [archive_source(server.url("set.zip", b"<html>too many downloads</html>"))]
    with pytest.raises(FileNotFoundError, match="damaged"):
        sources.fetch("flowers102")
    server.files["set.zip"] = good
    assert len(sources.fetch("flowers102")[1]) == len(FLOWERS)


def test_an_address_without_a_suffix_will_do_and_is_not_taken_for_another(server, known):
    with pytest.raises(FileNotFoundError, match="leads outside"):
        sources.fetch("flowers102", server.url("files/1/download", zip_of({"../evil": b"x"})))
    sources.fetch("flowers102", server.url("files/2/download", zip_of(jpegs(*(f"jpg/{name}" for name in FLOWERS)))))
    assert len(sources.cached("flowers102")[1]) == len(FLOWERS)


def test_a_bad_source_of_the_users_leaves_the_good_set_alone(server, flowers):
    first = sources.fetch("flowers102")
    with pytest.raises(FileNotFoundError, match="holds no pictures named like"):
        sources.fetch("flowers102", server.url("other.zip", zip_of(jpegs("jpg/dog.jpg"))))
    assert sources.cached("flowers102") == first


def test_what_a_killed_process_has_left_is_removed(server, flowers, tmp_path):
    write(tmp_path / "cache/sets/flowers102.abc.part", jpegs("x.jpg"))
    sources.fetch("flowers102")
    assert not list((tmp_path / "cache/sets").glob("*.part"))


def test_a_note_that_is_not_ours_is_no_set(server, flowers, tmp_path):
    sources.fetch("flowers102")
    (tmp_path / "cache/sets/flowers102.json").write_text("")
    assert sources.cached("flowers102") is None
    assert len(data.open("flowers102", size=16, n_test=1).test) == 1


@pytest.mark.parametrize(("full", "works"), [("kagglehub", False), ("cache", True)])
def test_kaggle_needs_room_where_kagglehub_keeps_it(kaggle, monkeypatch, full, works):
    sources.known()["afhq-wild"]["bytes"] = 344_878_000
    free = lambda path: SimpleNamespace(free=5 * 10**8 if full in Path(path).parts else 10**12)  # noqa: E731
    monkeypatch.setattr(shutil, "disk_usage", free)
    if works:
        assert len(data.open("afhq-wild:official", size=16).test)
    else:
        with pytest.raises(FileNotFoundError, match="set KAGGLEHUB_CACHE to a folder on another disk"):
            data.open("afhq-wild:official", size=16)


def test_animal_faces_are_no_pets(tmp_path):
    write(tmp_path, jpegs("flickr_wild_000001.jpg"))
    assert sources.find("oxford-pet", tmp_path) is None


def test_a_cache_that_was_moved_still_holds_its_sets(server, flowers, tmp_path, monkeypatch):
    sources.fetch("flowers102")
    (tmp_path / "cache").rename(tmp_path / "moved")
    monkeypatch.setenv("INPAINTKIT_CACHE", str(tmp_path / "moved"))
    folder, files = sources.cached("flowers102")
    assert folder.is_relative_to(tmp_path / "moved")
    assert len(files) == len(FLOWERS)


def test_a_source_of_the_users_replaces_what_is_cached(server, flowers):
    flowers["pictures"] = 1
    sources.fetch("flowers102")
    better = server.url("better.zip", zip_of(jpegs(*(f"jpg/{name}" for name in FLOWERS[:2]))))
    assert __main__.main(["fetch", "flowers102", "--source", better]) == 0
    assert len(sources.cached("flowers102")[1]) == 2


@pytest.mark.parametrize("name", ["IMG_0001.JPG", "image_00001.jpg", "DSC_1.jpg"])
def test_a_cameras_pictures_are_no_ones_data_set(tmp_path, name):
    write(tmp_path, jpegs(name))
    found = {known for known in SOURCES if sources.find(known, tmp_path)}
    assert found == ({"flowers102"} if name == "image_00001.jpg" else set())


@pytest.mark.parametrize(
    ("name", "numbers"),
    {
        "afhq-wild:paper": (3341, 1400),
        "afhq-wild:code": (3317, 1421),
        "afhq-wild:official": (4738, 500),
        "afhq-cat:paper": (3341, 1400),
        "ffhq:paper": (25_000, 2000),
        "ffhq:poster": (39_000, 2000),
        "animals10:paper": (25_000, 2000),
        "paris-streetview:paper": (None, 3000),
        "oxford-pet:paper": (3680, 3669),
        "caltech101:paper": (7315, 1829),
        "caltech101:objects": (6942, 1735),
        "flowers102:paper": (1020, 6149),
    }.items(),
)
def test_the_numbers_of_the_papers(name, numbers):
    plan = sources.plan(*name.split(":"))
    assert (plan.train, plan.test) == numbers


@pytest.mark.filterwarnings("ignore:.*has no setid.mat")
def test_small_pictures_of_a_named_set_are_enlarged_as_the_papers_do_and_counted(tmp_path):
    for i in range(4):
        Image.fromarray(np.full((10, 40, 3), 50 * i, np.uint8)).save(tmp_path / f"image_{i:05}.jpg")
    with pytest.warns(UserWarning, match="holds 4 of its 8,189"):
        images = data.open("flowers102", data_dir=tmp_path, size=16, n_train=3, n_test=1)
    assert images.notes == {"files skipped": 0, "exact duplicates left out": 0, "smaller pictures enlarged": 4}


def test_a_cache_that_cannot_be_made_is_told_with_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in its place")
    monkeypatch.setenv("INPAINTKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"cannot be made \(Not a directory\): set INPAINTKIT_CACHE to a folder"):
        sources.fetch("flowers102")
