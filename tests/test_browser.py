"""The panels in a real browser: Debian's chromium, driven by playwright, in JupyterLab on this machine."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from jupyter_client import BlockingKernelClient
from PIL import Image

import inpaintkit

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make dev")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not here: apt-get install chromium"),
]

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
ARTEFACTS = Path(os.environ.get("INPAINTKIT_ARTEFACTS", "runs/browser"))  # screenshots, to be looked at
SETTINGS = {  # no question about news over the page; all cells are drawn, also those that nobody has scrolled to
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
COLAB = ["ipywidgets==7.7.1", "anywidget==0.9.21", "notebook==6.5.7", "ipython==7.34.0", "ipykernel==6.17.1"]
CELLS = [
    """import torch
from inpaintkit import data, fills, masking, papers
from inpaintkit.apps import play
from inpaintkit.experiments import run
torch.set_num_threads(1)
faces = data.open("portraits", size=64, n_train=8).test[:4].float() / 255
network = run.shipped_filler(papers.get("autoencoder"), torch.device("cpu"))
lost = run.shipped_filler(papers.get("ssrgan"), torch.device("cpu"))""",
    "cover = play.cover(faces, [network]); cover",
    "levels = play.Levels(faces, [*fills.fills('biharmonic'), lost]); levels",
    "photograph = play.photograph(); photograph",
]


def notebook(path: Path, cells: list[str]) -> None:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    page = nbformat.v4.new_notebook(metadata={"kernelspec": kernel}, cells=[*map(nbformat.v4.new_code_cell, cells)])
    nbformat.write(page, path)


@contextlib.contextmanager
def served(home: Path, module: str, options: list[str], env: dict[str, str]):
    """A server of notebooks in an empty folder: (folder, address, where kernels say how to reach them)."""
    (home / "work").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folders = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "runtime", "JUPYTER_DATA_DIR": "data"}
    folders |= {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
    env = os.environ | {name: str(home / folder) for name, folder in folders.items()} | env
    command = [sys.executable, "-m", module, "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root"]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(
            [*command, *options], env=env, cwd=home / "work", stdout=log, stderr=subprocess.STDOUT
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/api?token=kit", timeout=1).close()
                break
            time.sleep(0.25)
        else:
            pytest.fail((home / "log").read_text())
        yield home / "work", address, home / "runtime"
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab, as `served` says."""
    home = tmp_path_factory.mktemp("lab")
    for name, content in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    options = ["--LabApp.expose_app_in_browser=True", "--IdentityProvider.token=kit"]
    with served(home, "jupyterlab", options, {}) as lab:
        yield lab


@pytest.fixture(scope="module")
def classic(tmp_path_factory):
    """The classic Notebook with the widgets that Colab preinstalls, in front of this environment's packages."""
    home, packages = tmp_path_factory.mktemp("classic"), tmp_path_factory.mktemp("colab")
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if uv is None:
        pytest.skip("uv is not here: make dev")
    command = [uv, "pip", "install", "--python", sys.executable, "--target", str(packages), *COLAB]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"Colab's widgets cannot be installed: {done.stderr[-300:]}")
    where = {"JUPYTER_PATH": packages / "share/jupyter", "JUPYTER_CONFIG_PATH": packages / "etc/jupyter"}
    where["PYTHONPATH"] = os.pathsep.join(map(str, (packages, Path(inpaintkit.__file__).parent.parent)))
    with served(home, "notebook", ["--NotebookApp.token=kit"], {k: str(v) for k, v in where.items()}) as classic:
        yield classic


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield chromium
        chromium.close()


class Kernel:
    """The kernel of a notebook, started before the page is opened (which else asks for one), and asked from outside."""

    def __init__(self, lab, name: str):
        _, address, runtime = lab
        session = {"path": name, "name": name, "type": "notebook", "kernel": {"name": "python3"}}
        request = urllib.request.Request(f"{address}/api/sessions?token=kit", json.dumps(session).encode())
        started = json.loads(urllib.request.urlopen(request).read())
        self.client = BlockingKernelClient(connection_file=str(runtime / f"kernel-{started['kernel']['id']}.json"))
        self.client.load_connection_file()
        self.client.start_channels()

    def __call__(self, expression: str):
        reply = self.client.execute("", user_expressions={"value": expression}, reply=True, timeout=30)
        value = reply["content"]["user_expressions"]["value"]
        assert value["status"] == "ok", value
        return eval(value["data"]["text/plain"])


def run_all(page, address: str, name: str) -> None:
    """Opens a notebook in JupyterLab and runs all its cells."""
    page.goto(f"{address}/lab/tree/{name}?token=kit&reset")
    page.wait_for_function(
        "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
    )
    page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells').then(() => (window.finished = true))")


@contextlib.contextmanager
def screenshot(page, name: str):
    """Keeps what was seen, whatever happens."""
    try:
        yield
    finally:
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=ARTEFACTS / f"{name}.png")


def watched(browser):
    """A new page, and the list of what the browser complains of."""
    page, errors = browser.new_page(viewport={"width": 1280, "height": 1600}), []
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: errors.append(str(error)))
    # without a network the badge of Colab is missing, and that is all
    ours = lambda message: message.type == "error" and "127.0.0.1" in message.location.get("url", "")  # noqa: E731
    page.on("console", lambda message: errors.append(message.text) if ours(message) else None)
    return page, errors


@pytest.fixture(scope="module")
def played(lab, browser):
    """A notebook with three panels, run: (page, kernel, what the browser has complained of)."""
    folder, address, _ = lab
    notebook(folder / "panels.ipynb", CELLS)
    kernel = Kernel(lab, "panels.ipynb")
    page, errors = watched(browser)
    with screenshot(page, "panels"):
        run_all(page, address, "panels.ipynb")
        page.wait_for_function("document.querySelectorAll('.ik-panel[data-answers]').length === 3")
    yield page, kernel, errors
    for number, panel in enumerate(page.query_selector_all(".ik-panel")):
        panel.screenshot(path=ARTEFACTS / f"panel-{number}.png")
    assert not errors  # the text file is refused by a sentence, not by an error


@pytest.mark.parametrize("name", [path.name for path in sorted(NOTEBOOKS.glob("*.ipynb"))])
def test_a_notebook_runs_from_top_to_bottom_and_its_panels_are_alive(lab, browser, name):
    folder, address, _ = lab
    source = (NOTEBOOKS / name).read_text().replace('profile: str = \\"demo\\"', 'profile: str = \\"smoke\\"')
    assert "smoke\\" in source
    (folder / name).write_text(source)
    Kernel(lab, name)
    page, errors = watched(browser)
    with screenshot(page, name.removesuffix(".ipynb")):
        run_all(page, address, name)
        page.wait_for_function("window.finished === true", timeout=120_000)
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').all_inner_texts() == []
    panels = page.locator(".ik-panel[data-answers]")
    assert panels.count() >= 1
    for number in range(panels.count()):
        assert panels.nth(number).locator("figure img").count() >= 1
        panels.nth(number).screenshot(path=ARTEFACTS / f"{name[:2]}-panel-{number}.png")
    assert not errors
    page.close()


def after(page, panel: int, act) -> None:
    """Does something to a panel and waits for its answer."""
    one = f"document.querySelectorAll('.ik-panel')[{panel}].dataset"
    before = int(page.evaluate(f"{one}.answers"))
    act()
    page.wait_for_function(f"Number({one}.answers) > {before} && {one}.busy === 'no'")


def stroke(page, panel: int, *points: tuple[float, float]) -> None:
    """A stroke of the pointer over the picture, in shares of its width and height."""
    canvas = page.locator(".ik-panel").nth(panel).locator("canvas").last
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()


def captions(page, panel: int) -> list[str]:
    return page.locator(".ik-panel").nth(panel).locator("figcaption").all_inner_texts()


def test_a_stroke_reaches_the_kernel_and_pictures_answer(played):
    page, kernel, _ = played
    buttons = page.locator(".ik-panel").nth(0)
    after(page, 0, lambda: buttons.get_by_role("button", name="clear").click())
    assert "Nothing is hidden" in buttons.get_by_role("alert").inner_text()
    after(page, 0, lambda: stroke(page, 0, (0.25, 0.5), (0.75, 0.5)))
    top, left, bottom, right = kernel("masking.bounding_box(cover.hole)[0].tolist()")
    assert abs(left - 13) <= 2, "the stroke began at a quarter of 64 pixels, less the radius of the brush"
    assert abs(right - 51) <= 2
    assert bottom - top == kernel("cover.hole[0, 0].any(1).sum().item()") <= 7
    painted = captions(page, 0)
    assert len(painted) == 3
    assert "within 32x32 pixels" in painted[2], "the network says what it cannot take"
    after(page, 0, lambda: buttons.get_by_role("button", name="undo").click())
    assert kernel("cover.hole.any().item()") is False
    after(page, 0, lambda: stroke(page, 0, (0.4, 0.4), (0.55, 0.4), (1.4, 0.4), (0.55, 0.45)))  # leaves the picture
    assert kernel("cover.hole[0, 0, :, -1].any().item()")


def test_keyboard_paints_and_undoes(played):
    page, kernel, _ = played
    after(page, 0, lambda: page.locator(".ik-panel").nth(0).get_by_role("button", name="clear").click())
    canvas = page.locator(".ik-panel").nth(0).locator("canvas").last
    canvas.focus()
    canvas.press("ArrowLeft")
    after(page, 0, lambda: canvas.press(" "))
    assert kernel("cover.hole[0, 0, 30:34].any().item()")
    assert "MSE" in captions(page, 0)[2]
    after(page, 0, lambda: canvas.press("z"))
    assert not kernel("cover.hole.any().item()")


def test_a_slider_changes_the_pictures(played):
    page, kernel, _ = played
    slider, before = page.locator(".ik-panel").nth(1).get_by_label("lost pixels"), captions(page, 1)
    after(page, 1, lambda: [slider.press("ArrowLeft") for _ in range(6)])
    assert kernel("levels.values['p']") == 50
    assert captions(page, 1) != before
    started = time.perf_counter()
    after(page, 1, lambda: slider.press("ArrowLeft"))
    print(f"reaction to a slider: {time.perf_counter() - started:.3f} s")


def test_pixels_of_a_photograph_of_ones_own_are_lost(played, tmp_path):
    page, kernel, _ = played
    Image.new("RGB", (300, 200), "red").save(tmp_path / "red.png")
    panel = page.locator(".ik-panel").nth(1)
    after(page, 1, lambda: panel.locator("input[type=file]").set_input_files(tmp_path / "red.png"))
    assert panel.get_by_label("picture", exact=True).input_value() == "your own photograph"
    assert kernel("levels.pictures['your own photograph'].shape[-1]") == 128


def test_slow_fills_come_on_request(played):
    page, _, _ = played
    after(page, 0, lambda: stroke(page, 0, (0.4, 0.4), (0.6, 0.4)))
    panel = page.locator(".ik-panel").nth(0)
    panel.get_by_role("button", name="also").click()
    page.wait_for_function("document.querySelectorAll('.ik-panel')[0].querySelectorAll('figure').length === 5")
    after(page, 0, lambda: panel.get_by_label("picture", exact=True).select_option("picture 2"))
    assert len(captions(page, 0)) == 3, "a change ends them"


def test_a_change_ends_slow_fills_that_still_run(played):
    page, _, _ = played
    panel = page.locator(".ik-panel").nth(0)
    after(page, 0, lambda: stroke(page, 0, (0.4, 0.4), (0.6, 0.4)))
    panel.get_by_role("button", name="also").click()
    after(page, 0, lambda: panel.get_by_label("picture", exact=True).select_option("picture 1"))
    page.wait_for_timeout(2000)  # in which the fills of the old picture would come
    assert len(captions(page, 0)) == 3


def test_own_photographs(played, tmp_path):
    page, kernel, _ = played
    panel = page.locator(".ik-panel").nth(2)
    large, text = tmp_path / "large.jpg", tmp_path / "text.jpg"
    turned = Image.Exif()
    turned[0x0112] = 6  # held upright
    Image.radial_gradient("L").resize((6000, 4000)).convert("RGB").save(large, quality=50, exif=turned)
    text.write_text("no picture")
    chooser = panel.get_by_label("open your own photograph")
    chooser.set_input_files(text)
    sync_api.expect(panel.get_by_role("alert")).to_contain_text("text.jpg is no picture")
    after(page, 2, lambda: chooser.set_input_files(large))
    assert kernel("photograph.pixels.shape") == (1024, 683, 3)
    sync_api.expect(panel.get_by_role("alert", include_hidden=True)).to_have_text("")
    with page.expect_download() as download:
        panel.get_by_role("button", name="save the result").click()
    assert Image.open(download.value.path()).size == (683, 1024)
    mask = tmp_path / "mask.png"
    Image.new("L", (20, 20), 255).save(mask)
    after(page, 2, lambda: panel.get_by_label("load mask").set_input_files(mask))
    assert "20 wide and 20 high" in panel.get_by_role("alert").inner_text()


def test_panels_live_with_the_widgets_of_colab(classic, browser):
    """ipywidgets 7.7.1. Cells are run one by one: "Run All" of the classic Notebook may draw no view of a widget."""
    folder, address, _ = classic
    notebook(folder / "panels.ipynb", CELLS[:3])
    kernel = Kernel(classic, "panels.ipynb")
    page, errors = watched(browser)
    with screenshot(page, "classic"):
        page.goto(f"{address}/notebooks/panels.ipynb?token=kit")
        page.wait_for_function("window.Jupyter?.notebook?.kernel?.is_connected()")
        for number in range(3):
            page.evaluate(f"void Jupyter.notebook.execute_cells([{number}])")
            drawn = f"document.querySelectorAll('.ik-panel[data-answers]').length === {number}"
            page.wait_for_function(f"!Jupyter.notebook.kernel_busy && {drawn}", timeout=60_000)
        assert kernel("__import__('ipywidgets').__version__") == "7.7.1"
        after(page, 0, lambda: page.locator(".ik-panel").nth(0).get_by_role("button", name="clear").click())
        after(page, 0, lambda: stroke(page, 0, (0.25, 0.5), (0.75, 0.5)))
        assert kernel("cover.hole[0, 0].any(0).sum().item()") > 30
        before = captions(page, 1)
        after(page, 1, lambda: page.locator(".ik-panel").nth(1).get_by_label("lost pixels").press("ArrowLeft"))
        assert captions(page, 1) != before
    assert set(errors) <= {"Host is not attached."}  # of the widget manager of ipywidgets 7; the panels are there
    page.close()
