"""The explorers without a browser: what each answers to a move, and to what it cannot take."""

import base64
import io
import time

import pytest
import torch
from PIL import Image

from inpaintkit import fills, masking, papers
from inpaintkit.apps import play
from inpaintkit.apps.exercises.notebook_01 import stamped
from inpaintkit.apps.panel import Panel, Tile, png, slider
from inpaintkit.experiments import run

FACES = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def network(name):
    return run.shipped_filler(papers.get(name), torch.device("cpu"))


def move(panel, event="change", data=None, hole=None, **values):
    """Sends what the front would send; returns the reply."""
    more = {name: values.pop(name) for name in ("name", "extra") if name in values}
    painted = hole if hole is not None else panel.hole if panel.paints else None
    buffer = data if data is not None else png(painted[0].float()) if painted is not None else b""
    panel.heard({"event": event, "serial": time.time(), "values": panel.values | values, **more}, [buffer])
    return panel.reply


def picture(kind="PNG", size=(64, 64), mode="RGB", colour=None) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, kind)
    return buffer.getvalue()


def opened(tile) -> Image.Image:
    return Image.open(io.BytesIO(tile["picture"]))


def grey_vae():
    net = network("vae").net
    faces = torch.rand(6, 1, 52, 52, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return net, faces, net.encode(faces)[0]


def walk():
    net, faces, codes = grey_vae()
    return play.Walk(net.decode, codes, faces)


def moving_hole():
    net, faces, _ = grey_vae()
    return play.Move(lambda masked: net.encode(masked)[0], net.decode, faces, 21)


def tiny_game(head_start, seed, turns):
    torch.manual_seed(head_start + 10 * seed + turns)
    return torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)


MOVES = {  # an explorer, and moves after which its pictures must differ
    "stamps": (lambda: play.Stamps(stamped, FACES[0]), [{"edge": 0.5}, {"corner": 0.25}, {"input": "a face"}]),
    "shift": (lambda: play.Shift(FACES, fills.fills("ring"), 32), [{"down": 2}, {"right": -1}, {"face": "picture 1"}]),
    "holes": (lambda: play.holes(size=64), [{"picture": "coins"}, {"shape": "square"}, {"row": 20}, {"error": True}]),
    "cover": (lambda: play.cover(FACES, [network("autoencoder")]), [{"picture": "picture 1"}, {"shape": "strokes"}]),
    "levels": (lambda: play.Levels(FACES, fills.fills("box")), [{"p": 30}, {"seed": 3}, {"picture": "picture 2"}]),
    "walk": (walk, [{"t": 0.9}, {"d0": 2}, {"b": "picture 3"}, {"seed": 3}]),
    "move": (moving_hole, [{"row": 3}, {"column": 9}, {"face": "picture 2"}]),
    "window": (
        lambda: play.window(FACES, {"blurred": torch.nn.functional.avg_pool2d(FACES, 3, 1, 1)}),
        [{"window": 31}, {"picture": "picture 1"}],
    ),
    "game": (lambda: play.Game(tiny_game), [{"head_start": 100}, {"turns": 50}, {"seed": 3}]),
    "photograph": (lambda: play.photograph(network("context_encoder")), [{"method": "biharmonic"}]),
}


@pytest.mark.parametrize("name", MOVES)
def test_every_control_changes_what_is_shown(name):
    make, moves = MOVES[name]
    panel = make()
    before = panel.reply["tiles"]
    assert before
    for values in moves:
        after = move(panel, **values)["tiles"]
        assert not panel.reply["message"]
        assert after != before, values
        before = after
    shown = panel._repr_mimebundle_()[0]
    (kind,) = {"image/png", "image/jpeg"} & set(shown)
    still = Image.open(io.BytesIO(base64.b64decode(shown[kind])))
    assert still.width > 300


def test_the_pictures_are_the_fillers_answers_and_the_best_is_framed():
    hole = masking.square(1, 64, 20, (0.5, 0.5))
    panel = play.cover(FACES, [network("autoencoder")], hole)
    tiles = panel.reply["tiles"]
    errors = [float(tile["note"].removeprefix("hole MSE ")) for tile in tiles]
    assert [tile["best"] for tile in tiles] == [error == min(errors) for error in errors]
    masked = masking.apply(FACES[:1], hole)
    full = masking.composite(FACES[:1], fills.Harmonic()(masked, hole), hole)
    assert tiles[0]["picture"] == png(full[0])


@pytest.mark.parametrize(("row", "column"), [(0, 0), (44, 44), (20, 3)])
def test_a_square_network_takes_any_hole_that_fits_into_its_square(row, column):
    hole = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    hole[..., row : row + 20, column : column + 20] = True
    around = play.Around(network("context_encoder"))
    square = around.square(hole)
    assert square.sum() == 32 * 32
    assert (square | ~hole).all(), "the whole hole lies in the square"
    assert around(masking.apply(FACES[:1], hole), hole).shape == (1, 3, 64, 64)
    assert around.square(masking.square(1, 64, 10, (0.5, 0.5))).equal(masking.square(1, 64, 32, (0.5, 0.5)))
    assert "32x32" in around.accepts((1, 3, 64, 64), torch.ones(1, 1, 64, 64, dtype=torch.bool))


def test_empty_and_full_holes_are_said_and_the_panel_goes_on():
    panel = play.cover(FACES, [])
    assert "paint" in move(panel, hole=torch.zeros(1, 1, 64, 64))["message"]
    assert "erase" in move(panel, hole=torch.ones(1, 1, 64, 64))["message"]
    reply = move(panel, hole=masking.square(1, 64, 8, (0.5, 0.5)))
    assert not reply["message"]
    assert len(reply["tiles"]) == 2


def test_pixels_of_a_photograph_of_ones_own_are_lost_too():
    panel = play.Levels(FACES, fills.fills("box"))
    assert "Open a photograph" in move(panel, picture=play.OWN)["message"]
    reply = move(panel, "photo", picture(size=(300, 200), colour="red"), name="mine")
    assert (reply["message"], reply["values"]["picture"]) == ("", play.OWN)
    assert opened(reply["tiles"][-1]).getpixel((0, 0)) == (255, 0, 0)
    assert move(panel, picture="picture 0")["tiles"] != reply["tiles"]


def test_the_network_of_the_nearest_level_fills():
    levels = play.NearestLevel({0.3: fills.fills("mean")[0], 0.8: fills.fills("box")[0]})
    for share, wanted in ((0.4, "mean"), (0.7, "box")):
        mask = masking.pixels(len(FACES), 64, share, torch.Generator().manual_seed(0))
        masked = masking.apply(FACES, mask)
        assert torch.equal(levels(masked, mask), fills.fills(wanted)[0](masked, mask))


def test_own_photographs_are_taken_and_left_again():
    panel = play.cover(FACES, [])
    for kind, mode in (("JPEG", "CMYK"), ("GIF", "P"), ("PNG", "RGBA"), ("PNG", "LA")):
        reply = move(panel, "photo", picture(kind, (90, 70), mode), name="mine")
        assert not reply["message"]
        assert Image.open(io.BytesIO(reply["picture"])).size == (64, 64)
    for bad in (b"", b"text", picture()[:60]):
        reply = move(panel, "photo", bad, name="mine")
        assert reply["message"]
        assert "Traceback" not in reply["message"]
        assert "BytesIO" not in reply["message"]
    reply = move(panel, picture="picture 1")  # the menu works after good and bad ones
    assert reply["picture"] == png(FACES[1])
    assert len(reply["tiles"]) == 2


def test_loaded_masks_follow_the_rules_of_repair():
    panel = play.photograph()
    size = tuple(reversed(panel.picture.shape[-2:]))
    for bad in (b"", b"text", picture(size=(20, 20)), picture(size=size), picture(size=size, colour="white")):
        before = panel.hole.clone()
        assert move(panel, "mask", bad, name="mask.png")["message"]
        assert panel.hole.equal(before)
    painted = Image.new("L", size)
    painted.paste(255, (10, 20, 30, 50))
    buffer = io.BytesIO()
    painted.save(buffer, "PNG")
    assert not move(panel, "mask", buffer.getvalue(), name="mask.png")["message"]
    assert masking.bounding_box(panel.hole).tolist() == [[20, 10, 50, 30]]


def test_a_photograph_from_a_file_is_repaired_at_full_size(tmp_path):
    whole = Image.radial_gradient("L").resize((1500, 1200)).convert("RGB")
    whole.save(tmp_path / "photo.png")
    panel = play.photograph(path=tmp_path / "photo.png", save=tmp_path / "repaired.png")
    assert max(panel.picture.shape[-2:]) == play.PREVIEW
    repaired = Image.open(tmp_path / "repaired.png")
    assert repaired.size == (1500, 1200)
    assert repaired.crop((0, 0, 100, 100)).tobytes() == whole.crop((0, 0, 100, 100)).tobytes()
    patch = panel.patch()
    assert Image.open(io.BytesIO(patch["picture"])).size[0] == panel.hole[0, 0].any(0).sum()


def test_slow_fills_are_answered_one_by_one():
    panel = play.cover(FACES, [])
    assert len(panel.extras) == 2
    reply = move(panel, "extra", extra=0)
    assert [tile["label"] for tile in reply["tiles"]] == panel.extras[:1]


class Broken(Panel):
    def answer(self, values):
        if values["x"] > 1:
            raise KeyError("what nobody has thought of")
        yield Tile("one", FACES[0])


def test_whatever_fails_becomes_a_sentence_and_the_next_move_works():
    panel = Broken([slider("x", "x", 0, 0, 2)])
    assert "KeyError" in move(panel, x=2)["message"]
    assert move(panel, x=1)["tiles"]
    with pytest.raises(ValueError, match="KeyError"):
        Broken([slider("x", "x", 2, 0, 2)])  # at the start it is an error of the notebook's


def test_a_training_is_followed_in_pictures_and_without_a_notebook_in_lines(capsys, monkeypatch):
    values = iter((0.5, 0.2))
    follow = play.live(lambda: {"hole_mse": next(values)}, lambda: FACES)
    assert follow() == {"hole_mse": 0.5}
    assert capsys.readouterr().out == "epoch 1: hole_mse 0.5000\n"
    shown = []
    handle = type("Handle", (), {"update": lambda _, picture: shown.append(picture.data)})
    monkeypatch.setattr(play, "get_ipython", lambda: object())
    monkeypatch.setattr(play, "display", lambda picture, display_id: handle())
    assert follow() == {"hole_mse": 0.2}
    assert Image.open(io.BytesIO(shown[0])).width > 500
