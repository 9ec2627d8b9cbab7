"""The user's own photograph: known pixels bit for bit, every kind of hole and run, bad input in one sentence."""

import re
import warnings
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from inpaintkit import __main__, contracts, data, fills, masking, papers, training
from inpaintkit.apps import repair
from inpaintkit.experiments import run as runs

SIZE = 64
PHOTO = data.photograph("chelsea").permute(1, 2, 0).numpy()[:200, :260].copy()
HEIGHT, WIDTH = PHOTO.shape[:2]
pytestmark = pytest.mark.filterwarnings("ignore:the hole at row")


def holes(*boxes, shape=(HEIGHT, WIDTH)):
    """A mask with rectangles (top, left, bottom, right)."""
    mask = np.zeros(shape, bool)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


def stroke(width, *points):
    return cv2.polylines(np.zeros((HEIGHT, WIDTH), np.uint8), [np.array(points)], False, 1, width) > 0


class Painter(contracts.Filler):
    """Paints with ``draw(masked, mask)`` and keeps what it was shown."""

    id, label = "painter", "painter"

    def __init__(self, draw=lambda masked, mask: torch.ones_like(masked)):
        self.draw, self.seen = draw, []

    def __call__(self, masked, mask):
        self.seen.append((masked.clone(), mask.clone()))
        return self.draw(masked, mask)


class Network(Painter):
    """Takes pictures of one size only, like a context encoder."""

    def __init__(self, head, *draw):
        super().__init__(*draw)
        self.size, self.side = SIZE, SIZE // 2 if head == "patch" else None

    def accepts(self, shape, mask):
        return None if tuple(shape[1:]) == (3, SIZE, SIZE) else "takes RGB pictures of its size"


class Tiler(Painter):
    """Takes RGB pictures of any size, like SSRGAN."""

    net = None

    def accepts(self, shape, mask):
        return None if shape[1] == 3 else "takes RGB pictures"


HOLES = {
    "one": holes((80, 90, 100, 120)),
    "border and corner": holes((0, 0, 17, 23), (0, 100, 9, 130), (180, 240, 200, 260), (90, 0, 110, 12)),
    "near": holes((50, 50, 70, 70), (50, 72, 70, 92), (73, 50, 90, 60)),
    "thin": stroke(5, (5, 5), (250, 60), (20, 190), (259, 150)),
    "thick": holes((20, 30, 150, 158), (0, 200, 199, 220)),
    "long and thick": holes((30, 0, 110, 260)),
    "pixels": np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.5,
    "all but one pixel": ~holes((77, 31, 78, 32)),
}
FILLERS = {"classic": Painter, "patch": lambda: Network("patch"), "full": lambda: Network("full"), "tiles": Tiler}


def repaired(photo, mask, filler):
    return repair.repair(photo, mask, filler, progress=False)


@pytest.mark.parametrize("filler", FILLERS)
@pytest.mark.parametrize(("name", "channels"), [(name, 3) for name in HOLES] + [("near", 0), ("near", 1)])
def test_the_hole_is_written_and_nothing_else_and_what_is_hidden_is_never_seen(name, filler, channels):
    known, mask = {0: PHOTO[..., 0], 1: PHOTO[..., :1], 3: PHOTO}[channels] // 2 + 100, HOLES[name]
    seen = []
    for hidden in (0, 255):
        photo, fill = known.copy(), FILLERS[filler]()
        photo[mask] = hidden
        before = photo.copy()
        result = repaired(photo, mask, fill)
        assert (result.shape, result.dtype) == (photo.shape, np.uint8)
        assert np.array_equal(photo, before)
        assert np.array_equal(result[~mask], photo[~mask])
        # A full head's picture is enlarged together with what is known around the hole, which is never below 100.
        assert result[mask].min() >= (60 if filler == "full" else 255)
        seen.append(fill.seen)
    for (masked, mask), (other, same) in zip(*seen, strict=True):
        assert torch.equal(masked, other)
        assert torch.equal(mask, same)
        assert masked.isfinite().all()
        assert not mask.flatten(1).all(1).any()
        if filler == "patch":
            assert torch.equal(mask, masking.square(len(mask), SIZE, SIZE // 2, "centre"))


def test_a_crop_and_a_window_mark_the_pixels_of_all_holes_in_them():
    """Though each is there to fill one hole."""
    fill, net = Painter(), Network("full")
    mask = holes((0, 0, 600, 40), (90, 54, 100, 58), shape=(700, 700))  # long and short: on crops of their own
    repaired(np.full((700, 700), 7, np.uint8), mask, fill)
    assert sorted(int(mask.sum()) for _, mask in fill.seen) == [74 * 18 + 10 * 4, 600 * 40 + 10 * 4]
    assert all(torch.equal(mask, masked == 0) for masked, mask in fill.seen)
    repaired(PHOTO, holes((40, 60, 130, 150), (85, 152, 87, 154)), net)  # a third of the scale: 30 pixels wide
    assert max(int(mask.sum()) for _, masks in net.seen for mask in masks) > 30 * 30


@pytest.mark.parametrize("name", [name for name in repair.METHODS if name not in ("patch", "network")])
def test_classic_fills_do_on_crops_what_they_do_on_the_whole_photograph(name):
    mask, filler = HOLES["border and corner"] | HOLES["near"], repair.method(name)
    if filler.accepts((1, 3, HEIGHT, WIDTH), torch.from_numpy(mask)[None, None]):
        pytest.skip("this OpenCV has no contrib modules")
    result = repaired(PHOTO, mask, filler)
    assert mse(result[mask], PHOTO[mask]) < mse(np.uint8(255), PHOTO[mask]) / 2
    if name in ("ring", "box", "harmonic", "biharmonic"):  # the local ones
        x, m = torch.from_numpy(PHOTO).permute(2, 0, 1)[None].float() / 255, torch.from_numpy(mask)[None, None]
        whole = (255 * filler(masking.apply(x, m), m)[0].permute(1, 2, 0)).round().clamp(0, 255).numpy()
        assert np.abs(whole[mask] - result[mask]).max() <= 1


def test_the_patch_based_fill_gets_a_crop_with_patches_in_it_or_refuses(monkeypatch):
    monkeypatch.setattr(repair, "MARGIN", 2)  # too little for patches of 7x7
    assert (repaired(PHOTO, holes((90, 90, 96, 99)), fills.Exemplar()) != PHOTO).any()
    with pytest.raises(ValueError, match="7x7 patch without a hole"):
        repaired(PHOTO, np.indices((HEIGHT, WIDTH)).sum(0) % 6 == 0, fills.Exemplar())
    monkeypatch.setattr(repair, "PATCHES", 10_000)
    with pytest.raises(ValueError, match="10,000 pixels"):
        repaired(PHOTO, HOLES["thin"], fills.Exemplar())


def test_a_million_tiny_holes_are_no_million_calls():
    mask, photo = np.zeros((2000, 2000), bool), np.zeros((2000, 2000), np.uint8)
    mask[::2, ::2] = True
    fill, net = Painter(), Network("patch")
    assert (repaired(photo, mask, fill)[mask] == 255).all()
    assert len(fill.seen) <= (2000 // repair.CELL + 1) ** 2
    assert (repaired(photo[:500, :500], mask[:500, :500], net)[::2, ::2] == 255).all()
    assert sum(len(masked) for masked, _ in net.seen) <= 2 * (500 // 32 + 1) ** 2


@pytest.mark.parametrize(("head", "wide"), [("patch", (32, 32)), ("full", (20, 31))])
def test_a_compact_hole_is_seen_in_the_middle_of_one_window_and_of_its_reflection_at_the_border(head, wide):
    around = np.pad(PHOTO, ((SIZE, SIZE), (SIZE, SIZE), (0, 0)), "reflect")
    outside = ~masking.square(1, SIZE, 32, "centre").expand(1, 3, SIZE, SIZE)
    for box, top, left, missing in (((81, 90, 101, 110), 59, 68, wide[0]), ((0, 0, 16, 16), -31, -31, wide[1])):
        net = Network(head)
        repaired(PHOTO, holes(box), net)
        ((masked, mask),) = net.seen
        window = around[top + SIZE : top + 2 * SIZE, left + SIZE : left + 2 * SIZE].transpose(2, 0, 1)[None] / 255
        assert np.allclose(masked[outside], window[outside.numpy()], atol=1e-6)
        assert mask.sum() == missing**2


@pytest.mark.parametrize(("side", "blocks"), [(30, 30), (50, 26)])  # 50 pixels in the middle of 128 start at an odd one
def test_a_shrunk_pixel_is_missing_if_any_of_its_pixels_is(side, blocks):
    net = Network("full")
    repaired(PHOTO, holes((60, 70, 60 + side, 70 + side)), net)
    assert net.seen[0][1].sum() == blocks**2


# --- the reduced scale ------------------------------------------------------------------------------------------------


def mse(a, b):
    return ((a.astype(float) - b) ** 2).mean()


@pytest.mark.parametrize(("head", "levels"), [("patch", 25), ("full", 5)])  # the patch redraws more than the hole
@pytest.mark.parametrize("f", [1, 2, 3])
@pytest.mark.parametrize("place", ["centre", "top left", "bottom right"])
def test_predictions_are_put_where_they_belong(place, f, head, levels):
    """A smooth picture that its reflection continues: the harmonic fill of a window comes near that of the whole."""
    y, x = np.meshgrid(np.linspace(0, 3 * np.pi, 200), np.linspace(0, 4 * np.pi, 300), indexing="ij")
    photo = np.stack([128 + 100 * np.cos(y), 128 + 100 * np.cos(x), 128 + 50 * np.cos(y + x)], 2).astype(np.uint8)
    side = 30 * f if place == "centre" else 14 * f
    top, left = {"centre": (60, 61), "top left": (0, 0), "bottom right": (200 - side, 300 - side)}[place]
    mask = holes((top, left, top + side, left + side), shape=photo.shape[:2])
    result = repaired(photo, mask, Network(head, fills.Harmonic()))
    assert mse(result[mask], repaired(photo, mask, fills.Harmonic())[mask]) ** 0.5 < levels


@pytest.mark.parametrize("head", ["patch", "full"])
def test_a_thick_hole_gets_a_picture_that_is_the_networks_own_when_it_is_shrunk_again(head):
    texture = 0.25 + 0.5 * torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    mask, net = (
        holes((128, 128, 256, 256), shape=(400, 400)),
        Network(head, lambda masked, _: texture.expand_as(masked)),
    )
    result = repaired(np.full((400, 400, 3), 128, np.uint8), mask, net)
    middle = 255 * texture[:, 16:48, 16:48].permute(1, 2, 0).numpy()
    shrunk = result[128:256, 128:256].reshape(32, 4, 32, 4, 3).mean((1, 3))
    assert mse(shrunk, middle) ** 0.5 < 6  # of 37 grey levels that the texture varies by


@pytest.mark.parametrize("head", ["patch", "full"])
@pytest.mark.parametrize("mask", [holes((80, 0, 100, 260)), holes((0, 40, 200, 110))])  # in windows' scale, and shrunk
def test_windows_that_disagree_join_without_a_seam(head, mask):
    in_turn = lambda masked, _: (torch.arange(len(masked)) % 2.0)[:, None, None, None].expand_as(masked)  # noqa: E731
    result = repaired(PHOTO, mask, Network(head, in_turn)).astype(int)
    steps = [np.diff(np.where(mask[..., None], result, 0), axis=axis) for axis in (0, 1)]
    inside = [mask[1:] & mask[:-1], mask[:, 1:] & mask[:, :-1]]
    assert max(np.abs(step[both]).max() for step, both in zip(steps, inside, strict=True)) < 40
    assert np.ptp(result[mask]) > 200


@pytest.mark.parametrize(
    ("filler", "mask", "words"),
    [
        (Network("patch"), holes((20, 30, 130, 140), (0, 200, 70, 259)), r"row 7[45], column 8[45] .* 110 pixels"),
        (Tiler(), holes((20, 30, 130, 140)), r"row 7[45], column 8[45] .* 110 pixels"),
        (fills.Harmonic(), HOLES["one"], "600"),
    ],
)
def test_a_soft_patch_a_hole_too_thick_and_a_slow_fill_are_announced_once(filler, mask, words, monkeypatch):
    monkeypatch.setattr(fills.Harmonic, "slow_from", 100)
    with pytest.warns(UserWarning, match=words) as said:
        repaired(PHOTO, mask, filler)
    assert len(said) == 1


def test_thin_holes_are_not_announced():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        repaired(PHOTO, HOLES["thin"] | holes((70, 100, 134, 164)), Network("patch"))
        repaired(PHOTO, HOLES["pixels"], Tiler())
    assert not said


# --- trained networks -------------------------------------------------------------------------------------------------


def trained(folder, paper, **given):
    """A folder with the weights of a work, as a run leaves it."""
    paper = papers.get(paper)
    cfg = paper.Parameters.resolve({"profile": "smoke"} | given)
    modules = paper.build(cfg)
    runs.save_weights(folder, paper, cfg, modules, SimpleNamespace(name="x", fingerprint={"train": "0"}))
    return paper.filler(modules, cfg)


@pytest.mark.parametrize(
    ("paper", "given"),
    [("context_encoder", {"head": "full", "fill": "grey"}), ("ssrgan", {"p": 0.5}), ("ssrgan", {"fill": "mean"})],
)
def test_a_run_of_any_work_that_takes_photographs_repairs(tmp_path, paper, given):
    photo, mask = PHOTO[:100, :100], HOLES["pixels"][:100, :100]
    wanted = repaired(photo, mask, trained(tmp_path, paper, **given))
    for named in (tmp_path, tmp_path / "weights.safetensors"):
        assert np.array_equal(repaired(photo, mask, repair.method("network", named)), wanted)


def test_tiles_join_without_a_seam(tmp_path):
    """A network that takes any size makes the same of tiles and of the whole photograph."""
    filler = trained(tmp_path, "ssrgan")
    photo, mask = np.tile(PHOTO, (2, 2, 1)), np.tile(HOLES["pixels"], (2, 2))
    x, m = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255, torch.from_numpy(mask)[None, None]
    whole = (255 * filler(masking.apply(x, m), m)[0].permute(1, 2, 0)).round().clamp(0, 255).numpy()
    assert np.abs(whole[mask] - repaired(photo, mask, filler)[mask]).max() <= 1


@pytest.mark.parametrize("paper", ["autoencoder", "vae"])
def test_a_run_of_another_work_is_refused_with_those_that_can(tmp_path, paper):
    trained(tmp_path, paper)
    with pytest.raises(ValueError, match=rf"run .* {paper}.* context_encoder, ssrgan"):
        repair.method("network", tmp_path)


@pytest.mark.parametrize(
    ("name", "left", "words"),
    [
        ("x", b"", "no finished run"),
        ("checkpoint.pt", b"", "not finished"),
        (repair.WEIGHTS, b"x", "damaged"),
        (repair.WEIGHTS, {}, "version"),
        (repair.WEIGHTS, {"paper": "x", "parameters": "{}"}, "version"),
        (repair.WEIGHTS, {"paper": "vae", "parameters": '{"x": 1}'}, "version"),
        (repair.WEIGHTS, {"paper": "vae", "parameters": "["}, "version"),
    ],
)
def test_what_is_no_finished_run_is_refused(tmp_path, name, left, words):
    if isinstance(left, dict):
        training.save_weights(tmp_path / name, torch.nn.ModuleDict(), (), left)
    else:
        (tmp_path / name).write_bytes(left)
    with pytest.raises((FileNotFoundError, ValueError), match=words):
        repair.method("network", tmp_path)


def test_methods_have_names_and_folders_and_may_refuse(tmp_path):
    assert repair.method("box").id == "box"
    for name, folder in (("tela", None), ("nothing", None), ("telea", "runs")):
        with pytest.raises(ValueError, match="method"):
            repair.method(name, folder)
    with pytest.raises(FileNotFoundError, match="run"):
        repair.method("network", tmp_path / "nowhere")
    net = Network("patch")
    net.accepts = lambda shape, mask: "takes nothing"
    with pytest.raises(ValueError, match="painter takes nothing"):
        repaired(PHOTO, HOLES["one"], net)


# --- files ------------------------------------------------------------------------------------------------------------


def write_files(folder):
    Image.fromarray(PHOTO).save(folder / "photo.png")
    Image.fromarray(HOLES["near"]).save(folder / "mask.png")
    return folder


@pytest.fixture
def files(tmp_path):
    """A folder with photo.png, mask.png and room for out.png."""
    return write_files(tmp_path)


def run(folder, photo="photo.png", mask="mask.png", out="out.png", **options):
    return repair.repair_file(folder / photo, folder / mask, folder / out, Painter(), progress=False, **options)


@pytest.mark.parametrize("suffix", [".png", ".TIFF", ".bmp", ".webp"])
def test_a_file_keeps_its_known_pixels(files, suffix):
    done = run(files, out=f"new/out{suffix}")
    assert (done["holes"], done["share"]) == (3, HOLES["near"].mean())
    result = np.array(Image.open(files / f"new/out{suffix}"))
    assert np.array_equal(result, np.where(HOLES["near"][..., None], 255, PHOTO))
    assert len([*(files / "new").iterdir()]) == 1


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "P with transparency", "RGB with transparency"])
def test_modes_transparency_and_colour_profile_are_kept(files, mode):
    photo = Image.open(files / "photo.png").convert(mode.split()[0] if mode != "LA" else "L")
    if mode in ("LA", "RGBA"):
        photo.putalpha(Image.fromarray(np.tile(np.arange(WIDTH, dtype=np.uint8), (HEIGHT, 1))))
    colour = {"P": 7, "R": photo.getpixel((0, 0))}[mode[0]] if "with" in mode else None
    photo.save(files / "in.png", icc_profile=b"profile" * 40, **({} if colour is None else {"transparency": colour}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(files, "in.png")
    result = Image.open(files / "out.png")
    wanted = {"L": "L", "LA": "LA", "P": "RGB"}.get(mode, "RGBA")
    before, after = np.array(Image.open(files / "in.png").convert(wanted)), np.array(result)
    assert result.mode == wanted
    assert result.info["icc_profile"] == b"profile" * 40
    assert np.array_equal(before[~HOLES["near"]], after[~HOLES["near"]])
    if wanted.endswith("A"):
        assert np.array_equal(before[..., -1], after[..., -1])
        assert (after[HOLES["near"]][:, :-1] == 255).all()


def test_a_turned_photograph_is_repaired_as_it_is_seen(files):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(PHOTO).save(files / "photo.jpg", exif=exif)
    seen, mask = np.rot90(np.array(Image.open(files / "photo.jpg")), -1), np.rot90(HOLES["near"], -1)
    Image.fromarray(mask).save(files / "turned.png")
    run(files, "photo.jpg", "turned.png")
    result = Image.open(files / "out.png")
    assert np.array_equal(np.array(result), np.where(mask[..., None], 255, seen))
    assert 0x0112 not in result.getexif()
    Image.fromarray(HOLES["near"]).save(files / "mask.png", exif=exif)  # a mask that is to be turned, too
    run(files, "photo.jpg")
    assert np.array_equal(np.array(Image.open(files / "out.png")), np.array(result))
    Image.fromarray(HOLES["near"]).save(files / "mask.png")
    with pytest.raises(ValueError, match=r"mask\.png .*turn the mask"):
        run(files, "photo.jpg")


def test_a_mask_may_be_painted_on_a_transparent_layer(files):
    layer = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)  # what was not painted is no hole, whatever its colour
    layer[..., 3] = 255 * HOLES["near"]
    run(files)
    expected = Image.open(files / "out.png")
    Image.fromarray(layer).save(files / "mask.png")
    run(files)
    assert np.array_equal(np.array(Image.open(files / "out.png")), np.array(expected))


def test_black_may_be_what_is_repaired_and_whoever_takes_the_wrong_one_is_told(files):
    run(files)
    expected = Image.open(files / "out.png")
    Image.fromarray(~HOLES["near"]).save(files / "mask.png")
    run(files, invert=True)
    assert np.array_equal(np.array(Image.open(files / "out.png")), np.array(expected))
    layer = np.zeros((HEIGHT, WIDTH, 4), np.uint8)  # painted black, and transparent elsewhere
    layer[..., 3] = 255 * HOLES["near"]
    Image.fromarray(layer).save(files / "mask.png")
    run(files, invert=True)
    assert np.array_equal(np.array(Image.open(files / "out.png")), np.array(expected))
    Image.fromarray(HOLES["near"]).save(files / "mask.png")
    with pytest.raises(ValueError, match=r"98 % of mask\.png is black.*leave --invert out"):
        run(files, invert=True)


def test_a_hole_may_grow_by_some_pixels(files):
    Image.fromarray(holes((100, 100, 110, 120))).save(files / "mask.png")
    run(files, dilate=3)
    written = (np.array(Image.open(files / "out.png")) == 255).all(2)
    assert np.array_equal(written.any(1).nonzero()[0], np.arange(97, 113))
    assert np.array_equal(written.any(0).nonzero()[0], np.arange(97, 123))
    for dilate in (-1, 101):
        with pytest.raises(ValueError, match=f"dilate .* {dilate}"):
            run(files, dilate=dilate)
    Image.fromarray(np.indices((HEIGHT, WIDTH)).sum(0) % 4 == 0).save(files / "mask.png")
    with pytest.raises(ValueError, match="dilate 9"):
        run(files, dilate=9)


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    """A folder that has photographs and masks, too, that cannot be used."""
    folder = write_files(tmp_path_factory.mktemp("bad"))
    (folder / "cut.png").write_bytes((folder / "photo.png").read_bytes()[:20_000])
    Image.fromarray(PHOTO).convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257).save(folder / "grey16.png")
    cv2.imwrite(str(folder / "colour16.tif"), PHOTO.astype(np.uint16) * 257)
    photo = Image.fromarray(PHOTO)
    photo.save(folder / "moving.png", save_all=True, append_images=[Image.fromarray(PHOTO[::-1])])
    photo.save(folder / "profile.png", icc_profile=b"profile" * 40)
    Image.fromarray(HOLES["near"][:-1]).save(folder / "small.png")
    Image.fromarray(HOLES["near"] & False).save(folder / "empty.png")
    Image.fromarray(HOLES["near"] | True).save(folder / "full.png")
    Image.fromarray(np.dstack([PHOTO, np.uint8(255) * ~HOLES["near"]])).save(folder / "erased.png")
    Image.fromarray(~HOLES["near"]).save(folder / "exchanged.png")
    Image.fromarray(HOLES["thick"] * np.uint8(128)).save(folder / "grey.png")
    (folder / "nothing.png").touch()
    (folder / "words.jpg").write_text("a letter")
    photo.save(folder / "moving.gif", save_all=True, append_images=[Image.fromarray(PHOTO[::-1])])
    Image.new("1", (10_000, 10_000)).save(folder / "huge.png")
    return folder


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"photo": "nowhere.png"}, "does not exist"),
        ({"photo": "cut.png"}, "not a readable picture"),
        ({"photo": "cmyk.jpg"}, "CMYK"),
        ({"photo": "grey16.png"}, "8 bits"),
        ({"photo": "colour16.tif"}, "8 bits"),
        ({"photo": "moving.png"}, "2 frames"),
        ({"photo": "moving.gif"}, "2 frames"),
        ({"photo": "nothing.png"}, "not a readable picture"),
        ({"photo": "words.jpg"}, "not a readable picture"),
        ({"photo": "huge.png"}, "shrink"),
        ({"mask": "huge.png"}, "shrink"),
        ({"mask": "nowhere.png"}, "does not exist"),
        ({"mask": "small.png"}, "260 wide and 200 high"),
        ({"mask": "empty.png"}, "no hole"),
        ({"mask": "full.png"}, "nothing but hole"),
        ({"mask": "exchanged.png"}, "98 % of exchanged.png is white"),
        ({"mask": "grey.png"}, "no mask"),
        ({"mask": "photo.png"}, "no mask"),
        ({"mask": "erased.png"}, "erased"),
        ({"out": "out.jpg"}, ".png, .tif, .tiff, .bmp, .webp"),
        ({"out": "photo.png"}, "overwrite"),
        ({"out": "mask.png"}, "overwrite"),
        ({"photo": "profile.png", "out": "out.bmp"}, "colour profile"),
    ],
)
@pytest.mark.filterwarnings("error")  # a warning would be a second sentence
def test_files_that_cannot_be_used_end_with_one_sentence_and_nothing_is_written(bad_files, given, words):
    before = {path.name: path.read_bytes() for path in bad_files.iterdir()}
    with pytest.raises((ValueError, OSError)) as caught:
        run(bad_files, **given)
    assert next(reversed(given.values())) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert before == {path.name: path.read_bytes() for path in bad_files.iterdir()}


@pytest.mark.parametrize(
    ("photo", "mask", "error", "name"),
    [
        (PHOTO / 255, HOLES["one"], TypeError, "photo"),
        (PHOTO, HOLES["one"] * 255, TypeError, "mask"),
        (PHOTO[..., :2], HOLES["one"], ValueError, "photo"),
        (PHOTO, HOLES["one"][1:], ValueError, "mask"),
        (PHOTO, HOLES["one"] & False, ValueError, "mask is False"),
        (PHOTO, HOLES["one"] | True, ValueError, "mask is True"),
    ],
)
def test_arrays_that_cannot_be_used_are_named(photo, mask, error, name):
    with pytest.raises(error, match=name):
        repaired(photo, mask, Painter())


# --- a folder ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def album(tmp_path):
    """Folders photos and masks: two that can be repaired, a broken photograph, and one without a mask."""
    for name in ("photos", "masks"):
        (tmp_path / name).mkdir()
    for name in ("a.png", "b.jpg", "lonely.png"):
        Image.fromarray(PHOTO).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "broken.jpg").write_text("no picture")
    (tmp_path / "photos" / "notes.txt").write_text("no picture either, and nobody thinks so")
    for name in ("a", "b", "broken"):
        Image.fromarray(HOLES["near"]).save(tmp_path / "masks" / f"{name}.png")
    return tmp_path


def run_all(folder, filler=None, masks="masks", **options):
    """{picture: what became of it}"""
    filler = filler or Painter()
    outcomes = repair.repair_folder(folder / "photos", folder / masks, folder / "new/out", filler, False, **options)
    return {outcome.name: outcome.what for outcome in outcomes}


def test_a_folder_is_repaired_and_what_fails_stops_nothing(album):
    assert run_all(album) == {"a.png": "repaired", "b.jpg": "repaired", "broken.jpg": "failed", "lonely.png": "failed"}
    for name in ("a.png", "b.jpg"):
        run(album, f"photos/{name}", "masks/a.png")
        result = np.array(Image.open((album / "new/out" / name).with_suffix(".png")))
        assert np.array_equal(result, np.array(Image.open(album / "out.png")))
    assert len([*(album / "new/out").iterdir()]) == 2


def test_a_folder_that_is_repaired_again_keeps_what_would_become_the_same(album):
    for name in ("broken.jpg", "lonely.png"):
        (album / "photos" / name).unlink()
    again = lambda *given, **options: [*run_all(album, *given, **options).values()]  # noqa: E731
    assert again() == ["repaired", "repaired"]
    written = {path: path.stat().st_mtime_ns for path in (album / "new/out").iterdir()}
    assert again() == ["kept", "kept"]
    assert {path: path.stat().st_mtime_ns for path in written} == written, "what is kept is not written again"
    Image.fromarray(HOLES["one"]).save(album / "masks/a.png")
    assert again() == ["repaired", "kept"]
    assert again(dilate=1) == ["repaired", "repaired"]
    assert again(fills.Box()) == ["repaired", "repaired"]
    torch.manual_seed(0)
    for _ in range(2):  # two networks of one name
        net = Network("full")
        net.net = torch.nn.Linear(2, 2)
        assert again(net) == ["repaired", "repaired"]
    assert again(net) == ["kept", "kept"]
    Image.fromarray(PHOTO).save(album / "new/out/a.png")  # by somebody else, under the same name
    before = (album / "new/out/a.png").read_bytes()
    assert again() == ["failed", "repaired"]
    assert (album / "new/out/a.png").read_bytes() == before


def test_an_interrupted_folder_keeps_what_is_finished(album):
    class Interrupted(Painter):
        def __call__(self, masked, mask):
            if self.seen:
                raise KeyboardInterrupt
            return super().__call__(masked, mask)

    with pytest.raises(KeyboardInterrupt):
        run_all(album, Interrupted())
    assert [path.name for path in (album / "new/out").iterdir()] == ["a.png"]
    done = run_all(album)
    assert (done["a.png"], done["b.jpg"]) == ("kept", "repaired")


def test_one_mask_may_be_for_all_and_names_must_not_clash(album):
    Image.fromarray(PHOTO[:-1]).save(album / "photos/small.png")
    Image.fromarray(PHOTO).save(album / "photos/b.png")
    done = run_all(album, masks="masks/a.png")
    assert [name for name, what in done.items() if what == "repaired"] == ["a.png", "lonely.png"]


@pytest.mark.parametrize(
    ("folder", "masks", "out", "named"),
    [
        ("photos", "nowhere", "out", "nowhere"),
        ("new", "masks", "out", "new holds no picture"),
        ("photos", "masks", "photos", "photos"),
        ("photos", "masks", "masks", "masks"),
        ("photos", "masks", "masks/a.png", "a.png"),
    ],
)
def test_folders_that_cannot_be_used_are_named(album, folder, masks, out, named):
    (album / "new").mkdir()
    before = sorted(album.rglob("*"))
    with pytest.raises((ValueError, OSError), match=named):
        repair.repair_folder(album / folder, album / masks, album / out, Painter(), False)
    assert sorted(album.rglob("*")) == before


def test_the_command_line(files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    assert __main__.main(["repair", "photo.png", "mask.png", "--method", "tela"]) == 2
    assert re.fullmatch("inpaintkit: method .*\n", capsys.readouterr().err)
    assert not (files / "Inpainted_Output.png").exists()
    assert __main__.main(["repair", "photo.png", "mask.png"]) == 0
    assert re.match("Inpainted_Output.png .* 3 holes, 1.87% .* Telea", capsys.readouterr().out)
    result = np.array(Image.open("Inpainted_Output.png"))
    assert np.array_equal(result[~HOLES["near"]], PHOTO[~HOLES["near"]])


def test_the_command_line_lists_what_failed_in_a_folder(album, monkeypatch, capsys):
    monkeypatch.chdir(album)
    assert __main__.main(["repair", "photos", "masks", "--dilate", "101"]) == 2
    assert __main__.main(["repair", "photos", "masks", "--dilate", "2"]) == 1
    said = capsys.readouterr()
    assert re.search("^repaired: 2 repaired .* 0 kept, 2 failed", said.out)
    assert re.search(r"^broken.jpg: failed: .*\nlonely.png: failed: masks .*\n", said.err, flags=re.MULTILINE)
    for name in ("broken.jpg", "lonely.png"):
        (album / "photos" / name).unlink()
    assert __main__.main(["repair", "photos", "masks", "--dilate", "2"]) == 0
    assert "2 kept" in capsys.readouterr().out


def test_the_command_line_says_what_each_method_does(capsys):
    with pytest.raises(SystemExit, match="0"):
        __main__.main(["repair", "--list-methods"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*repair.METHODS]
    assert all(len(line.split()) > 4 for line in lines)
