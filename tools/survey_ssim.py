"""Records what the pictures of a folder score that nobody has repaired: results/02_vae-survey-NAME.json.

python tools/survey_ssim.py pictures/ffhq [how many]
"""

import sys
from pathlib import Path

import torch

from inpaintkit import data, runtime
from inpaintkit.papers import vae


def main(folder: str, n: str = "") -> None:
    images = data.open("folder", data_dir=folder, size=100, colour=False, n_train=1, n_test=int(n) if n else None)
    measured = vae.survey(images.test.float() / 255)
    content = {"data": images.describe(), **measured, **runtime.provenance(torch.device("cpu"))}
    path = runtime.results_dir() / f"02_vae-survey-{Path(folder).name}.json"
    runtime.write_json(path, content)
    print(path, {fill: kinds["global"]["mean"] for fill, kinds in measured["holes"]["1 x 20 %"].items()})


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
