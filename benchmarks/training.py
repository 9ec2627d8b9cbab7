"""One training step of each work, as it is set up here against the plain way, side by side in one run.

Each way runs in a process of its own, because glibc's memory settings cannot be taken back. Writes training-speed.json
and training-speed.svg into results/ when all cases were run on a checkout. Names of cases on the command line choose
some; --list prints them.
"""

import json
import os
import subprocess
import sys
import time
from statistics import median

import torch
from matplotlib.figure import Figure
from torch import nn

from inpaintkit import data, papers, runtime
from inpaintkit.experiments import questions, run

PAPER = {"profile": "paper"}
CASES = {  # {words: (work, parameters)}: the demo and the paper's size; narrow where the authors' takes seconds a step
    "autoencoder, 64 px, demo": ("autoencoder", {}),
    "autoencoder, 128 px, paper": ("autoencoder", PAPER),
    "VAE, 52 px, demo": ("vae", {}),
    "VAE, 100 px, medium": ("vae", PAPER | {"network": "medium"}),
    "VAE, 100 px, paper": ("vae", PAPER),
    "context encoder, 64 px, demo": ("context_encoder", {}),
    "context encoder, 128 px, half": ("context_encoder", PAPER | {"network": "half"}),
    "context encoder, 128 px, paper": ("context_encoder", PAPER),
    "SSRGAN, 64 px, demo": ("ssrgan", {}),
    "SSRGAN, 128 px, paper, batch 4": ("ssrgan", PAPER | {"batch_size": 4}),  # its own 64 fill 24 GB
}
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
WAYS = {  # {words: (freed memory kept, fused Adam and channels last, precision, environment)}
    "plain": (0, 0, "fp32", {}),
    "freed memory kept": (1, 0, "fp32", {}),
    "and fused Adam, channels last": (1, 1, "fp32", {}),
    "and huge pages": (1, 1, "fp32", HUGE_PAGES),
    "bf16": (1, 1, "bf16", {}),
    "bf16 and huge pages": (1, 1, "bf16", HUGE_PAGES),
}
SECONDS = 8  # of timed steps for each case and way
THREADS = 2


def recipe_of(case: str):
    """The parameters, the recipe and a batch of random pictures."""
    work, given = CASES[case]
    paper = papers.get(work)
    cfg = paper.Parameters.resolve(given)
    shape = (cfg.batch_size, 3 if getattr(cfg, "colour", True) else 1, cfg.size, cfg.size)
    pictures, _ = paper.training_set(torch.randint(0, 256, shape, dtype=torch.uint8), cfg)
    return cfg, paper.recipe(paper.build(cfg), cfg, steps_per_epoch=100), pictures[: cfg.batch_size].float() / 255


def measure_step(case: str, kept_memory: str, ours: str, precision: str) -> dict:
    """Median seconds of a step, what was in it."""
    if int(kept_memory):
        runtime.keep_freed_memory()
    cfg, recipe, image = recipe_of(case)
    recipe.use(precision, torch.device("cpu"))
    if not int(ours):
        recipe.modules.to(memory_format=torch.contiguous_format)
        for name, adam in recipe.optimisers.items():
            options = {key: adam.defaults[key] for key in ("lr", "eps", "betas")}
            recipe.optimisers[name] = torch.optim.Adam(adam.param_groups[0]["params"], **options)
    generator, times = runtime.generator(0), []
    while len(times) < 4 or (sum(times) < SECONDS and len(times) < 100):
        masked, mask = recipe.corrupt(image, generator)
        started = time.perf_counter()
        recipe.step((image, masked, mask), generator)
        times.append(time.perf_counter() - started)
    parameters = sum(p.numel() for p in recipe.modules.parameters())
    return {"seconds": median(times[len(times) // 4 :]), "batch": cfg.batch_size, "parameters": parameters}


def measure_loop(case: str) -> dict:
    """What `training.fit` adds to the steps: its loop, and the share of time for scores and previews of a demo."""
    work, given = CASES[case]
    paper = papers.get(work)
    cfg = paper.Parameters.resolve(given | {"epochs": 2})
    images, started = data.open_for(cfg), time.perf_counter()
    _, history = run.train(paper, cfg, images, None, torch.device("cpu"), progress=False)
    share = 1 - history.seconds / (time.perf_counter() - started)
    return {"seconds": history.seconds / history.steps[-1], "share of scores, previews and setting up": share}


def canary() -> dict:
    """A convolution in bf16 over the same in fp32: above 1 where torch or the processor has no quick one."""
    conv = nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    x, seconds = torch.randn(8, 64, 64, 64).to(memory_format=torch.channels_last), {}
    for name, precision in runtime.PRECISIONS.items():
        if name != "fp16":
            times = []
            for _ in range(7):
                started = time.perf_counter()
                with torch.no_grad(), torch.autocast("cpu", precision, enabled=precision is not None):
                    conv(x)
                times.append(time.perf_counter() - started)
            seconds[name] = median(times)
    return {"bf16 over fp32": seconds["bf16"] / seconds["fp32"]}


def apart(function: str, *arguments: str, environment: dict | None = None) -> dict:
    """Calls one of the functions above in a process of its own."""
    command = [sys.executable, __file__, "--call", function, *arguments]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | (environment or {}))
    return json.loads(found.stdout.splitlines()[-1])


def hours(case: str, found: dict) -> str:
    """What a step's time means for the training that the paper describes."""
    work, given = CASES[case]
    steps = questions.table(papers.get(work)).get("cost", {}).get("steps")
    if given.get("profile") != "paper" or "network" in given or not steps:
        return ""
    whole = papers.get(work).Parameters.resolve(PAPER).batch_size / found["batch"] * steps
    return f", {found['seconds'] * whole / 3600:.0f} hours for the paper's {steps:,} steps"


def picture(measured: dict) -> None:
    """Bars: how many times as fast as the plain way, a group for each case."""
    figure = Figure(figsize=(8, 0.6 + 0.6 * len(measured)), layout="constrained")
    axes, height = figure.subplots(), 0.8 / (len(WAYS) - 1)
    for number, way in enumerate(list(WAYS)[1:]):
        rows = [(i, m["plain"]["seconds"] / m[way]["seconds"]) for i, m in enumerate(measured.values()) if way in m]
        if rows:
            axes.barh([i + (number - 2) * height for i, _ in rows], [gain for _, gain in rows], height, label=way)
    axes.set_yticks(range(len(measured)), list(measured))
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("times as fast as the plain way")
    axes.legend(fontsize=8)
    with runtime.atomic_write(runtime.results_dir() / "training-speed.svg") as part:
        figure.savefig(part, format="svg", metadata={"Date": None})


def main(chosen: list[str]) -> None:
    torch.set_num_threads(THREADS)
    if chosen[:1] == ["--call"]:
        print(json.dumps(globals()[chosen[1]](*chosen[2:])))
        return
    if chosen == ["--list"]:
        print("\n".join(CASES))
        return
    ways = {way: options for way, options in WAYS.items() if options[2] == "fp32" or runtime.cpu_has_bf16()}
    if len(ways) < len(WAYS):
        print("this processor has no bf16: those ways are left out")
    print(f"a convolution, bf16 over fp32: {apart('canary')['bf16 over fp32']:.2f} (above 1: bf16 is no gain)")
    measured: dict[str, dict] = {}
    for case in chosen or CASES:
        measured[case] = {}
        for way, (kept, ours, precision, environment) in ways.items():
            found = apart("measure_step", case, str(kept), str(ours), precision, environment=environment)
            if not measured[case]:
                print(f"{case}: batch {found['batch']}, {found['parameters']:,} parameters")
            measured[case][way] = found
            gain = measured[case]["plain"]["seconds"] / found["seconds"]
            print(f"  {way:30} {1e3 * found['seconds']:7.1f} ms a step, x{gain:.2f}{hours(case, found)}", flush=True)
        if "demo" in case:
            loop = apart("measure_loop", case)
            factor = loop["seconds"] / measured[case]["and fused Adam, channels last"]["seconds"]
            share = loop["share of scores, previews and setting up"]
            print(f"  the loop of fit takes {factor:.2f} of a step; {share:.0%} of two epochs are scores and set-up")
            measured[case]["loop"] = loop
    if not chosen:
        where = runtime.provenance(torch.device("cpu"))
        runtime.write_json(runtime.results_dir() / "training-speed.json", where | {"cases": measured})
        picture(measured)


if __name__ == "__main__":
    main(sys.argv[1:])
