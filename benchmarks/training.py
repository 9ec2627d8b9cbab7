"""One training step of each work: as it is set up here against the plain way, side by side in one run.

Each way runs in a process of its own, because glibc's memory setting cannot be taken back. Names of cases on the
command line choose some; --list prints them all.
"""

import json
import subprocess
import sys
import time
from statistics import median

import torch

from inpaintkit import papers, runtime
from inpaintkit.experiments import questions

FURTHER = {  # what else is worth a line: {work: {words: parameters}}
    "context_encoder": {"without D": {"weight_adv": 0.0}},
    "ssrgan": {"as written": {"reading": "as_written", "batch_size": 8}},
}
LARGEST = {"ssrgan": 4}  # pictures of the paper's size in a batch; its own 64 fill 24 GB
WAYS = {"plain": (0, 0), "freed memory kept": (1, 0), "and fused Adam, channels last": (1, 1)}
SECONDS = 8  # of timed steps for each case and way


def cases() -> dict[str, tuple[str, dict]]:
    """{name: (work, parameters)}: every work at its demo's and at its paper's size."""
    found = {}
    for paper in papers.PAPERS.values():
        for words, changed in ({"": {}} | FURTHER.get(paper.id, {})).items():
            for profile in ("demo", "paper"):
                given = {"profile": profile, "reading": "fixed"} | changed
                if profile == "paper" and paper.id in LARGEST:
                    given["batch_size"] = LARGEST[paper.id]
                found[f"{paper.id}, {profile}" + (f", {words}" if words else "")] = (paper.id, given)
    return found


def build(case: str):
    """The parameters, the recipe and a batch of random pictures."""
    work, given = cases()[case]
    paper = papers.get(work)
    cfg = paper.Parameters.resolve(given)
    shape = (cfg.batch_size, 3 if getattr(cfg, "colour", True) else 1, cfg.size, cfg.size)
    pictures, _ = paper.training_set(torch.randint(0, 256, shape, dtype=torch.uint8), cfg)
    recipe = paper.recipe(paper.build(cfg), cfg, steps_per_epoch=100)
    return cfg, recipe, pictures[: cfg.batch_size].float() / 255


def measure(case: str, kept_memory: int, fused_channels_last: int) -> dict:
    """Median seconds of a step, what was in it."""
    torch.set_num_threads(2)
    if kept_memory:
        runtime.keep_freed_memory()
    torch.manual_seed(0)
    cfg, recipe, image = build(case)
    if not fused_channels_last:
        recipe.modules.to(memory_format=torch.contiguous_format)
        for name, adam in recipe.optimisers.items():
            options = {key: adam.defaults[key] for key in ("lr", "eps", "betas")}
            recipe.optimisers[name] = torch.optim.Adam(adam.param_groups[0]["params"], **options)
    generator = runtime.generator(0)
    times = []
    while len(times) < 4 or (sum(times) < SECONDS and len(times) < 60):
        masked, mask = recipe.corrupt(image, generator)
        started = time.perf_counter()
        recipe.step((image, masked, mask), generator)
        times.append(time.perf_counter() - started)
    parameters = sum(p.numel() for p in recipe.modules.parameters())
    return {"seconds": median(times[len(times) // 4 :]), "batch": cfg.batch_size, "parameters": parameters}


def whole_training(case: str, found: dict) -> str:
    """What a step's time means for the training that the paper describes."""
    work, given = cases()[case]
    paper = papers.get(work)
    steps = questions.table(paper).get("cost", {}).get("steps")
    if given["profile"] != "paper" or not steps:
        return ""
    own_batch = paper.Parameters.resolve({"profile": "paper"}).batch_size
    return f", {found['seconds'] * own_batch / found['batch'] * steps / 3600:.0f} hours for the paper's {steps:,} steps"


def main(chosen: list[str]) -> None:
    if chosen[:1] == ["--measure"]:
        print(json.dumps(measure(chosen[1], *map(int, chosen[2:]))))
        return
    if chosen == ["--list"]:
        print("\n".join(cases()))
        return
    for case in chosen or cases():
        plain = None
        for way, options in WAYS.items():
            command = [sys.executable, __file__, "--measure", case, *map(str, options)]
            found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
            if plain is None:
                print(f"{case}: batch {found['batch']}, {found['parameters']:,} parameters")
                plain = found["seconds"]
            faster = f"x{plain / found['seconds']:.2f}{whole_training(case, found)}"
            print(f"  {way:30} {1e3 * found['seconds']:7.1f} ms a step, {faster}")


if __name__ == "__main__":
    main(sys.argv[1:])
