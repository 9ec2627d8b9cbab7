"""The user's own photograph: known pixels bit for bit, every kind of hole, every bad input in one sentence."""

import subprocess
import sys
import warnings

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from inpaintkit import data, masking, repair
from inpaintkit.models import classical

SIZE = 64
PHOTO = data.photograph("chelsea").permute(1, 2, 0).numpy()[:200, :260].copy()
HEIGHT, WIDTH = PHOTO.shape[:2]


def holes(*boxes, shape=(HEIGHT, WIDTH)):
    """A mask with rectangles (top, left, bottom, right)."""
    mask = np.zeros(shape, bool)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


def stroke(width, *points, shape=(HEIGHT, WIDTH)):
    return cv2.polylines(np.zeros(shape, np.uint8), [np.array(points)], False, 1, width) > 0


class White(masking.Filler):
    """Paints white and keeps what it was shown."""

    name = "white"

    def __init__(self):
        self.seen = []

    def __call__(self, masked, mask):
        self.seen.append((masked.clone(), mask.clone()))
        return torch.ones_like(masked)


class Network(masking.Filler):
    """Takes pictures of one size only, like a network, and paints with ``draw(masked, mask)``."""

    name = "stub network"

    def __init__(self, head, draw=lambda masked, mask: torch.ones_like(masked), size=SIZE):
        self.size, self.side, self.draw, self.seen = size, size // 2 if head == "patch" else None, draw, []

    def accepts(self, shape, mask):
        return None if tuple(shape[1:]) == (3, self.size, self.size) else "takes RGB pictures of its size"

    def __call__(self, masked, mask):
        self.seen.append((masked.clone(), mask.clone()))
        return self.draw(masked, mask)


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
FILLERS = {"classic": White, "patch": lambda: Network("patch"), "full": lambda: Network("full")}


@pytest.mark.filterwarnings("ignore:the hole at row")
@pytest.mark.parametrize("filler", FILLERS)
@pytest.mark.parametrize("name", HOLES)
@pytest.mark.parametrize("channels", [0, 1, 3])
def test_every_pixel_of_the_hole_is_written_and_no_other(name, filler, channels):
    mask = HOLES[name]
    photo = {0: PHOTO[..., 0], 1: PHOTO[..., :1], 3: PHOTO}[channels] // 2 + 100
    photo[mask] = 0
    before = photo.copy()
    result = repair.repair(photo, mask, FILLERS[filler](), progress=False)
    assert result.shape == photo.shape
    assert result.dtype == np.uint8
    assert np.array_equal(photo, before)
    assert np.array_equal(result[~mask], photo[~mask])
    # A full head's picture is enlarged together with what is known around the hole, which is never darker than 100.
    assert result[mask].min() >= (60 if filler == "full" else 255)


@pytest.mark.filterwarnings("ignore:the hole at row")
@pytest.mark.parametrize("head", ["patch", "full"])
@pytest.mark.parametrize("name", HOLES)
def test_windows_write_each_pixel_once_and_always_see_something_known(name, head, monkeypatch):
    written, write = [], repair._write

    def counting(pixels, own, values):
        written.append(int(own.sum()))
        write(pixels, own, values)

    monkeypatch.setattr(repair, "_write", counting)
    net = Network(head)
    repair.repair(PHOTO, HOLES[name], net, progress=False)
    assert sum(written) == HOLES[name].sum()  # all are written, as the test above shows, so none is twice
    assert all(written)  # no window for nothing
    assert all(torch.isfinite(masked).all() and not mask.flatten(1).all(1).any() for masked, mask in net.seen)
    if head == "patch":
        assert all(torch.equal(m, masking.square(len(m), SIZE, SIZE // 2, "centre")) for _, m in net.seen)


@pytest.mark.filterwarnings("ignore:the hole at row")
@pytest.mark.parametrize("filler", FILLERS)
@pytest.mark.parametrize("name", HOLES)
def test_no_filler_sees_what_is_hidden_in_any_hole(name, filler):
    seen = []
    for hidden in (0, 255):
        fill = FILLERS[filler]()
        repair.repair(np.where(HOLES[name][..., None], np.uint8(hidden), PHOTO), HOLES[name], fill, progress=False)
        seen.append(fill.seen)
    for (masked, mask), (other, same) in zip(*seen, strict=True):
        assert torch.equal(masked, other)
        assert torch.equal(mask, same)


def test_a_crop_marks_the_pixels_of_all_holes_in_it():
    fill = White()
    mask = holes((0, 0, 600, 40), (90, 54, 100, 58), shape=(700, 700))  # long and short: on crops of their own
    repair.repair(np.full((700, 700), 7, np.uint8), mask, fill, progress=False)
    assert sorted(int(mask.sum()) for _, mask in fill.seen) == [74 * 18 + 10 * 4, 600 * 40 + 10 * 4]
    assert all(torch.equal(mask, masked == 0) for masked, mask in fill.seen)


@pytest.mark.filterwarnings("ignore:the hole at row")
@pytest.mark.parametrize("f", [1, 3])
def test_a_full_network_is_told_of_all_holes_in_its_window(f):
    """Two holes near each other: the mask of each window marks both, though each window writes only its own."""
    size = 30 * f
    mask = holes((40, 60, 40 + size, 60 + size), (40 + size // 2, 62 + size, 42 + size // 2, 64 + size))
    net = Network("full")
    repair.repair(PHOTO, mask, net, progress=False)
    masks = torch.cat([seen for _, seen in net.seen])
    small = masks.flatten(1).sum(1)
    assert (small > 30 * 30).any()


@pytest.mark.parametrize("name", [name for name in repair.METHODS if name != "patch"])
def test_classic_fills_do_on_crops_what_they_do_on_the_whole_photograph(name):
    mask, filler = HOLES["border and corner"] | HOLES["near"], repair.method(name)
    result = repair.repair(PHOTO, mask, filler, progress=False)
    assert np.array_equal(result[~mask], PHOTO[~mask])
    assert mse(result[mask], PHOTO[mask]) < mse(np.uint8(255), PHOTO[mask]) / 2
    if name in ("ring", "box", "harmonic", "biharmonic"):  # the local ones
        x, m = torch.from_numpy(PHOTO).permute(2, 0, 1)[None].float() / 255, torch.from_numpy(mask)[None, None]
        whole = (255 * filler(masking.apply(x, m), m)[0].permute(1, 2, 0)).round().clamp(0, 255).numpy()
        assert np.abs(whole[mask] - result[mask]).max() <= 1


def test_the_patch_based_fill_gets_a_crop_with_patches_in_it_or_refuses(monkeypatch):
    monkeypatch.setattr(repair, "MARGIN", 2)  # too little for patches of 7x7
    result = repair.repair(PHOTO, holes((90, 90, 96, 99)), classical.Exemplar(), progress=False)
    assert (result != PHOTO).any()
    with pytest.raises(ValueError, match=r"^patch-based, 7x7 needs a 7x7 patch without a hole in every image: choose"):
        repair.repair(PHOTO, np.indices((HEIGHT, WIDTH)).sum(0) % 6 == 0, classical.Exemplar(), progress=False)
    monkeypatch.setattr(repair, "PATCHES", 10_000)
    with pytest.raises(ValueError, match=r"^patch-based, 7x7 takes 10,000 pixels at once, and this hole spreads over"):
        repair.repair(PHOTO, HOLES["thin"], classical.Exemplar(), progress=False)


def test_a_million_tiny_holes_are_no_million_calls():
    mask = np.zeros((2000, 2000), bool)
    mask[::2, ::2] = True
    photo, fill, net = np.zeros((2000, 2000), np.uint8), White(), Network("patch")
    assert (repair.repair(photo, mask, fill, progress=False)[mask] == 255).all()
    assert len(fill.seen) <= (2000 // repair.CELL + 1) ** 2
    assert (repair.repair(photo[:500, :500], mask[:500, :500], net, progress=False)[::2, ::2] == 255).all()
    assert sum(len(masked) for masked, _ in net.seen) <= 2 * (500 // 32 + 1) ** 2


@pytest.mark.parametrize("head", ["patch", "full"])
def test_a_compact_hole_gets_one_window_centred_on_it(head):
    net = Network(head)
    repair.repair(PHOTO, holes((81, 90, 101, 110)), net, progress=False)
    ((masked, mask),) = net.seen
    known = torch.from_numpy(PHOTO[59:123, 68:132].copy()).permute(2, 0, 1)[None].float() / 255
    hole = masking.square(1, SIZE, 20, "centre")
    assert torch.equal(mask, hole if head == "full" else masking.square(1, SIZE, 32, "centre"))
    assert torch.allclose(masked, masking.apply(known, hole, "mean"), atol=1e-6)


@pytest.mark.parametrize("head", ["patch", "full"])
def test_a_hole_at_the_border_is_seen_in_the_middle_of_its_reflection(head):
    net = Network(head)
    repair.repair(PHOTO, holes((0, 0, 16, 16)), net, progress=False)
    ((masked, mask),) = net.seen
    seen = np.pad(PHOTO, ((SIZE, 0), (SIZE, 0), (0, 0)), "reflect")[33:97, 33:97]  # the hole's corner is at 32, 32
    seen = torch.from_numpy(seen.copy()).permute(2, 0, 1)[None].float() / 255
    outside = ~masking.square(1, SIZE, 32, "centre").expand_as(masked)
    assert torch.allclose(masked[outside], seen[outside], atol=1e-6)
    assert mask.sum() == (32**2 if head == "patch" else 31**2)


@pytest.mark.filterwarnings("ignore:the hole at row")
@pytest.mark.parametrize(("head", "levels"), [("patch", 25), ("full", 5)])  # the patch redraws more than the hole
@pytest.mark.parametrize("f", [1, 2, 3])
@pytest.mark.parametrize("place", ["centre", "top left", "bottom right", "right"])
def test_predictions_are_put_where_they_belong(place, f, head, levels):
    """A smooth picture that its reflection continues: the harmonic fill of a window comes near that of the whole."""
    y, x = np.meshgrid(np.linspace(0, 3 * np.pi, 200), np.linspace(0, 4 * np.pi, 300), indexing="ij")
    photo = np.stack([128 + 100 * np.cos(y), 128 + 100 * np.cos(x), 128 + 50 * np.cos(y + x)], 2).astype(np.uint8)
    side = 30 * f if place == "centre" else 14 * f
    bottom, right = 200 - side, 300 - side
    top, left = {"centre": (60, 61), "top left": (0, 0), "bottom right": (bottom, right), "right": (83, right)}[place]
    mask = holes((top, left, top + side, left + side), shape=photo.shape[:2])
    result = repair.repair(photo, mask, Network(head, harmonic), progress=False)
    plain = repair.repair(photo, mask, classical.Harmonic(), progress=False)
    assert mse(result[mask], plain[mask]) ** 0.5 < levels


@pytest.mark.parametrize(("f", "blocks"), [(1, 30), (2, 26)])
def test_a_shrunk_pixel_is_missing_if_any_of_its_pixels_is(f, blocks):
    side = {1: 30, 2: 50}[f]  # 50 pixels in the middle of 128, from the odd pixel 39 on
    net = Network("full")
    repair.repair(PHOTO, holes((60, 70, 60 + side, 70 + side)), net, progress=False)
    assert net.seen[0][1].sum() == blocks**2


# --- the reduced scale ------------------------------------------------------------------------------------------------


def mse(a, b):
    return ((a.astype(float) - b) ** 2).mean()


def shrink(picture, f):
    h, w = picture.shape[0] // f, picture.shape[1] // f
    return picture[: h * f, : w * f].reshape(h, f, w, f, -1).astype(float).mean((1, 3))


def harmonic(masked, mask):
    return classical.Harmonic()(masked, mask)


def textured(masked, mask):
    waves = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    return (0.25 + 0.5 * waves).expand_as(masked)


@pytest.mark.parametrize("draw", [harmonic, textured])
@pytest.mark.parametrize("head", ["patch", "full"])
def test_a_thick_hole_is_as_good_as_the_filler_at_its_own_scale(draw, head):
    photo = data.photograph("astronaut").permute(1, 2, 0).numpy()[:400, :400].copy()
    side = 4 * SIZE // 2
    top = left = 128
    mask = holes((top, left, top + side, left + side), shape=photo.shape[:2])
    with pytest.warns(UserWarning, match="soft") as said:
        result = repair.repair(photo, mask, Network(head, draw), progress=False)
    assert len(said) == 1
    # The filler's own error: the window that is to be seen, shrunk by hand.
    window = photo[64 : 64 + 4 * SIZE, 64 : 64 + 4 * SIZE]
    truth = torch.from_numpy(shrink(window, 4)).permute(2, 0, 1)[None].float() / 255
    hole = masking.square(1, SIZE, SIZE // 2, "centre")
    pred = draw(masking.apply(truth, hole, "mean"), hole)
    own = ((pred - truth)[hole.expand_as(truth)] ** 2).mean().item()
    inside = slice(top, top + side), slice(left, left + side)
    repaired = mse(shrink(result[inside], 4), shrink(photo[inside], 4)) / 255**2
    assert repaired == pytest.approx(own, rel=0.05)


def test_a_soft_patch_is_announced_once_and_a_thin_hole_is_not():
    mask = holes((20, 30, 130, 140), (0, 200, 70, 259))
    with pytest.warns(
        UserWarning, match=r"row 7[45], column 8[45] is about 110 pixels thick, .* 32x32 pixels for each"
    ) as said:
        repair.repair(PHOTO, mask, Network("patch"), progress=False)
    assert len(said) == 1
    assert str(said[0].message).endswith("choose a classic fill, or a network trained for larger pictures.")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repair.repair(PHOTO, HOLES["thin"] | holes((70, 100, 134, 164)), Network("patch"), progress=False)


def test_a_slow_fill_is_announced(monkeypatch):
    monkeypatch.setitem(repair.SLOW, classical.Harmonic, 100)
    with pytest.warns(
        UserWarning, match=r"harmonic takes more than 10 s from about 100 missing pixels on, and 600 are"
    ):
        repair.repair(PHOTO, HOLES["one"], classical.Harmonic(), progress=False)


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """A folder with photo.png, mask.png and room for out.png."""
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    Image.fromarray(HOLES["near"]).save(tmp_path / "mask.png")
    return tmp_path


def run(folder, photo="photo.png", mask="mask.png", out="out.png"):
    return repair.repair_file(folder / photo, folder / mask, folder / out, White(), progress=False)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".bmp", ".webp"])
def test_a_file_keeps_its_known_pixels(files, suffix):
    done = run(files, out=f"new/out{suffix}")
    assert done["holes"] == 3
    assert done["share"] == HOLES["near"].mean()
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
    seen = np.rot90(np.array(Image.open(files / "photo.jpg")), -1)
    mask = np.rot90(HOLES["near"], -1)
    Image.fromarray(mask).save(files / "turned.png")
    run(files, "photo.jpg", "turned.png")
    result = Image.open(files / "out.png")
    assert result.size == (HEIGHT, WIDTH)
    assert np.array_equal(np.array(result), np.where(mask[..., None], 255, seen))
    assert 0x0112 not in result.getexif()
    with pytest.raises(
        ValueError, match=r"^mask.png fits the photo only before it is turned .* 200 wide and 260 high\.$"
    ):
        run(files, "photo.jpg")


def bad_files(folder):
    """Photographs and masks that cannot be used."""
    whole = (folder / "photo.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "words.png").write_text("no picture")
    Image.fromarray(PHOTO).convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257).save(folder / "grey16.png")
    cv2.imwrite(str(folder / "colour16.png"), PHOTO.astype(np.uint16) * 257)
    cv2.imwrite(str(folder / "colour16.tif"), PHOTO.astype(np.uint16) * 257)
    frames = [Image.fromarray(PHOTO), Image.fromarray(PHOTO[::-1])]
    frames[0].save(folder / "moving.png", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "profile.png", icc_profile=b"profile" * 40)
    Image.fromarray(HOLES["near"][:-1]).save(folder / "small.png")
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(folder / "empty.png")
    Image.fromarray(np.full((HEIGHT, WIDTH), 255, np.uint8)).save(folder / "full.png")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"photo": "nowhere.png"}, "nowhere.png does not exist or is no file: name the photograph"),
        ({"photo": "cut.png"}, "cut.png cannot be read as a picture"),
        ({"photo": "words.png"}, "words.png cannot be read as a picture"),
        ({"photo": "cmyk.jpg"}, "cmyk.jpg has the colour mode CMYK: save it as RGB or grey"),
        ({"photo": "grey16.png"}, "grey16.png has more than 8 bits per channel: save it with 8"),
        ({"photo": "colour16.png"}, "colour16.png has more than 8 bits per channel: save it with 8"),
        ({"photo": "colour16.tif"}, "colour16.tif has more than 8 bits per channel: save it with 8"),
        ({"photo": "moving.png"}, "moving.png holds several pictures: save one of them as a file of its own"),
        ({"mask": "nowhere.png"}, "nowhere.png cannot be read as a picture"),
        ({"mask": "words.png"}, "words.png cannot be read as a picture"),
        ({"mask": "small.png"}, "small.png is 260 wide and 199 high, the image 260 wide and 200 high: save the mask"),
        ({"mask": "empty.png"}, "empty.png is all black, so there is no hole"),
        ({"mask": "full.png"}, "full.png is all white, so there is nothing but hole"),
        (
            {"out": "out.jpg"},
            "out.jpg must end in .png, .tif, .tiff, .bmp, .webp: other formats change known pixels too",
        ),
        ({"out": "photo.png"}, "photo.png would overwrite photo.png: choose another name"),
        ({"out": "mask.png"}, "mask.png would overwrite mask.png: choose another name"),
        (
            {"photo": "profile.png", "out": "out.bmp"},
            "out.bmp could not hold the photo's transparency or colour profile",
        ),
    ],
)
def test_files_that_cannot_be_used_end_with_one_sentence(files, given, sentence):
    bad_files(files)
    before = {path.name: path.read_bytes() for path in files.iterdir()}
    with pytest.raises((ValueError, OSError)) as caught:
        run(files, **given)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert before == {path.name: path.read_bytes() for path in files.iterdir()}


@pytest.mark.parametrize(
    ("photo", "mask", "error", "sentence"),
    [
        (PHOTO / 255, HOLES["one"], TypeError, "photo must be uint8"),
        (PHOTO, HOLES["one"] * 255, TypeError, "mask bool"),
        (PHOTO[..., :2], HOLES["one"], ValueError, "photo must have the shape"),
        (PHOTO, HOLES["one"][1:], ValueError, "mask must have the photo's shape"),
        (PHOTO, HOLES["one"] & False, ValueError, "mask is False everywhere"),
        (PHOTO, HOLES["one"] | True, ValueError, "mask is True everywhere"),
    ],
)
def test_arrays_that_cannot_be_used_end_with_one_sentence(photo, mask, error, sentence):
    with pytest.raises(error, match=sentence):
        repair.repair(photo, mask, White())


def test_fillers_are_found_by_name_and_may_refuse():
    assert [repair.method(name).name for name in ("telea", "box")] == ["Telea", "normalised 5x5 box"]
    with pytest.raises(ValueError, match=r"^method must be one of mean, .*, network, and 'tela' is not\.$"):
        repair.method("tela")
    for name, folder in (("network", None), ("telea", "runs")):
        with pytest.raises(ValueError, match=r'^method "network" and run go together'):
            repair.method(name, folder)
    net = Network("patch")
    net.accepts = lambda shape, mask: "takes nothing"
    with pytest.raises(ValueError, match=r"^stub network takes nothing: choose another method"):
        repair.repair(PHOTO, HOLES["one"], net, progress=False)


@pytest.mark.parametrize("method", ["telea", "tela"])
def test_the_command_line(files, method):
    command = [sys.executable, "-m", "inpaintkit", "repair", "photo.png", "mask.png", "--method", method]
    done = subprocess.run(command, cwd=files, capture_output=True, text=True, check=False)
    if method == "telea":
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(
            "Inpainted_Output.png is written: 3 holes, 1.87% of the picture, filled by Telea in "
        )
        result = np.array(Image.open(files / "Inpainted_Output.png"))
        assert np.array_equal(result[~HOLES["near"]], PHOTO[~HOLES["near"]])
    else:
        assert done.returncode == 2
        assert done.stderr.startswith("inpaintkit: method must be one of mean, ring,")
        assert done.stderr.count("\n") == 1
        assert not (files / "Inpainted_Output.png").exists()
