"""Records what the resize filter is worth before anything is trained: results/02_vae-resize-NAME.json.

python tools/survey_resize.py ffhq pictures/ffhq
"""

import sys
from pathlib import Path

import torch
from PIL import Image

from inpaintkit import data, evaluate, fills, masking, metrics, runtime
from inpaintkit.data import sets
from inpaintkit.data.reading import FILTERS

SCORES = ("hole_mse", "image_ssim_global")


def main(name: str, folder: str) -> None:
    """The article's pictures (100x100, grey) and first hole (20x20), 500 test pictures, one draw of holes."""
    folder_of_pictures, files = sets.find(name, Path(folder))
    with Image.open(folder_of_pictures / files[0][0]) as picture:
        before = f"{picture.width}x{picture.height}"  # of the first; in the recorded sets of all
    filters = {}
    for resize in FILTERS:
        images = data.open(name, data_dir=folder, size=100, colour=False, n_train=1, n_test=500, resize=resize)
        image = images.test.float() / 255
        mask = masking.squares(len(image), 100, 20, 1, runtime.generator(0))
        scores = []
        for row in evaluate.score(fills.fills(), image, mask, SCORES):
            summaries = {evaluate.SCORES[score].label: metrics.summarise(v) for score, v in row.scores.items()}
            scores.append({"filler": row.label} | ({"note": row.note} if row.note else summaries))
        filters[resize] = {"data": images.describe(), "scores": scores}
    path = runtime.results_dir() / f"02_vae-resize-{name}.json"
    runtime.write_json(path, {"resized from": before, "filters": filters, **runtime.provenance(torch.device("cpu"))})
    print(path)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
