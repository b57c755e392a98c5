"""The explorer's page in a real headless browser, served by the command itself."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image, ImageDraw
from selenium.webdriver import ActionChains

from infogan.commands.explore.page import Page
from infogan.commands.explore.server import application, bind, server
from infogan.commands.explore.studio import Studio
from infogan.latents import CategoricalCode
from infogan.modules import InfoGANModule, VanillaGANModule
from tests import ROOT
from tests.project.test_readme import README, verbs
from tests.support.browsing import CHROMIUM, DRIVER, Browser
from tests.support.explorer_run import Explorer, explore
from tests.support.hostile_pictures import hostile_pictures, picture

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="no browser: install Debian's packages chromium and chromium-driver",
    ),
    pytest.mark.xdist_group("browser"),
]

CLI = ROOT / "cli.py"
TITLES = ["Traversal", "Other noise", "Read an image", "Interpolation"]


@pytest.fixture(scope="module")
def explorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explorer]:
    """Run the README's command on a trained checkpoint; in the end it must clean up."""
    # Any free port, and no browser of this machine's user.
    ((*command, _),) = [line for line in verbs(README) if line[0] == "explore"]
    options = ["--port", "0", "--open_browser", "false"]
    running = explore(tmp_path_factory.mktemp("explorer"), command, options)
    yield running
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 0
    assert not any((running.folder / "temporary").glob("infogan-explore-*"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start Chromium."""
    started = Browser(tmp_path_factory.mktemp("browser"))
    yield started
    started.driver.quit()


@pytest.fixture
def page(browser: Browser, explorer: Explorer) -> Iterator[Browser]:
    """Open the explorer's page; afterwards it must have had no error."""
    browser.open(explorer.url)
    yield browser
    assert browser.errors() == []


def test_the_page_asks_nobody_else_for_anything(browser: Browser, explorer: Explorer) -> None:
    browser.requests()
    browser.open(explorer.url)
    assert browser.tabs() == TITLES
    for title in TITLES:
        browser.tab(title)
    browser.find("#start")
    asked = [url for url in browser.requests() if not url.startswith(("data:", "chrome"))]
    assert len(asked) > 10
    assert {f"{urlsplit(url).scheme}://{urlsplit(url).netloc}/" for url in asked} == {explorer.url}
    assert browser.errors() == []


MOVE = """
const [id, moves, done] = arguments;
const slider = document.querySelector(`#${id} input[type=range]`);
const picture = () => document.querySelector("#picture img").src;
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
(async () => {
  const times = [];
  for (let i = 0; i < moves; i++) {
    const before = picture();
    const start = performance.now();
    slider.value = Number(slider.min) + (slider.max - slider.min) * ((i * 7) % moves) / moves;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    while (picture() === before && performance.now() - start < 5000) await pause(2);
    times.push(performance.now() - start);
    await pause(50);
  }
  done(times);
})();
"""


def test_a_slider_move_changes_the_picture_at_once(
    page: Browser, record_property: Callable[[str, object], None]
) -> None:
    page.find(".grid img")
    # The traversal of 40 images is in sight, and is drawn anew each time, too.
    times = page.driver.execute_async_script(MOVE, "uniform1", 16)
    record_property("slider_to_picture_ms", times)
    # With more programs than processors, each waits for its turn.
    turns = max(1, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert median(times) < 200 * turns, times
    assert "uniform1 = " in str(page.find("#picture img").get_attribute("alt"))


def test_every_control_changes_the_picture_and_the_grid(page: Browser) -> None:
    page.find(".grid img")
    grid = page.source(".grid")
    page.changed("#picture", page.find("#categorical0 label:nth-of-type(3)").click)
    assert page.source(".grid") == grid
    page.changed("#picture", page.find("#bernoulli3 label:nth-of-type(2)").click)
    page.wait(lambda: page.source(".grid") != grid, "a new traversal")
    alt = str(page.find("#picture img").get_attribute("alt"))
    assert "categorical0 = 2" in alt and "bernoulli3 = 1" in alt
    page.driver.execute_async_script(MOVE, "normal2", 1)
    assert "normal2 = -2.00" in str(page.find("#picture img").get_attribute("alt"))
    before = page.find("#seed input").get_attribute("value")
    page.changed("#picture", page.find("#resample").click)
    assert page.find("#seed input").get_attribute("value") != before
    page.changed("#picture", page.find("#random-codes").click)


def test_any_code_is_traversed_and_the_grid_is_downloaded(page: Browser) -> None:
    page.find(".grid img")
    page.find("#down input").click()
    options = page.wait(lambda: page.all("ul[role=listbox] li"), "the list of codes")
    names = [option.text.removeprefix("✓\n") for option in options]
    assert names == ["categorical0", "uniform1", "normal2", "bernoulli3"]
    page.changed(".grid", options[1].click)
    assert page.find(".grid img").get_attribute("alt") == "traversal of uniform1"
    page.find(".grid .download").click()
    saved = page.downloads / "traversal_uniform1.png"
    page.wait(saved.is_file, "the download")
    shown = page.driver.execute_script(
        "const i = document.querySelector('.grid img'); return [i.naturalWidth, i.naturalHeight]"
    )
    with Image.open(saved) as grid:
        assert list(grid.size) == shown and grid.width > 10 * 32


def test_a_held_out_image_is_read_and_its_codes_taken_over(page: Browser) -> None:
    page.tab("Read an image")
    page.find("#held-out button").click()
    page.find(".seen img")
    assert len(page.all(".reading")) == 4
    read = page.find(".bar.best span").text
    page.find("#take-over").click()
    chosen = page.wait(lambda: page.all("#categorical0 label.selected"), "a choice")
    page.wait(lambda: page.find("#categorical0 label.selected").text == read, "the taken code")
    assert chosen
    # The first image alone may be drawn again.
    first = page.sources("#held-out")
    page.find("#held-out ~ button, button.sm").click()
    page.wait(lambda: page.sources("#held-out") not in ([], first), "other images")


def test_a_drawing_is_read_while_it_is_made(page: Browser) -> None:
    page.tab("Read an image")
    page.tab("Draw")
    sheet = page.find("#pad canvas")
    pen = ActionChains(page.driver, duration=30)
    pen.move_to_element_with_offset(sheet, -50, 0).click_and_hold().move_by_offset(100, 0)
    pen.perform()
    page.find(".seen img")
    first = page.source(".seen")
    ActionChains(page.driver, duration=30).move_by_offset(-60, 60).release().perform()
    page.wait(lambda: page.source(".seen") != first, "the second stroke")
    assert page.find(".reading")


def test_a_good_file_is_read_and_a_bad_one_refused(page: Browser, tmp_path: Path) -> None:
    page.tab("Read an image")
    page.tab("Upload")
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    drawn = Image.new("L", (200, 120), 250)
    ImageDraw.Draw(drawn).rectangle((20, 50, 180, 65), fill=5)
    drawn.save(good)
    bad.write_bytes(b"not a picture")
    assert page.upload(good) == ""
    assert page.find(".reading") and not page.all(".message")
    assert "this is no picture that can be read" in page.upload(bad)
    # The page changes its parts one after the other.
    page.wait(lambda: not page.all(".reading"), "the end of the old reading")
    assert page.upload(good) == ""
    page.wait(lambda: not page.all(".message"), "the end of the old message")


def test_hostile_files_leave_the_server_up_and_nothing_behind(
    page: Browser, explorer: Explorer, tmp_path: Path
) -> None:
    page.tab("Read an image")
    page.tab("Upload")
    before = explorer.files()
    hostile = hostile_pictures()
    assert len(hostile) >= 30
    answers = {}
    for name, content in hostile.items():
        path = tmp_path / name
        path.write_bytes(content)
        answers[name] = page.upload(path)
    silent = [name for name, answer in answers.items() if len(answer) < 20]
    assert not silent
    assert "million pixels" in answers["bomb.png"]
    assert "Invalid file type" in answers["program.exe"]
    assert "maximum allowed size" in answers["large.png"]
    assert explorer.files() == before
    assert explorer.process.poll() is None
    good = tmp_path / "good.png"
    good.write_bytes(picture())
    assert page.upload(good) == ""


@pytest.mark.parametrize(
    "name",
    [
        "../../../escaped.png",
        "/escaped.png",
        "..\\\\..\\\\escaped.png",
        "%2e%2e%2fescaped.png",
        "a" * 3000 + ".png",
        "nul\\0.png",
        ".",
        "",
    ],
)
def test_a_path_in_the_name_stays_in_the_temporary_folder(explorer: Explorer, name: str) -> None:
    before = explorer.files()
    body = (
        (
            f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
            "Content-Type: image/png\r\n\r\n"
        ).encode()
        + picture()
        + b"\r\n--x--\r\n"
    )
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    status, answer = explorer.post("/gradio_api/upload", body, **kind)
    if status == 200:
        (stored,) = json.loads(answer)
        assert "infogan-explore-" in stored and ".." not in Path(stored).parts
        assert Path(stored).resolve().is_relative_to(explorer.folder.resolve())
    assert explorer.files() == before
    assert not Path("/escaped.png").exists()
    assert explorer.post("/", b"")[0] == 200


def test_what_is_not_for_the_page_is_refused(explorer: Explorer) -> None:
    own = Path(__file__).resolve()
    for path in (f"/gradio_api/file={own}", "/gradio_api/file=/etc/passwd", "/docs"):
        assert explorer.post(path, b"")[0] in (403, 404), path
    assert explorer.post("/", b"", Host="attacker.example")[0] == 400
    upload = "/gradio_api/upload"
    assert explorer.post(upload, b"x", Origin="http://attacker.example")[0] == 403
    assert explorer.post(upload, bytes(6 * 2**20))[0] == 413


def test_two_pictures_are_interpolated(page: Browser) -> None:
    page.tab("Interpolation")
    page.find(".grid img")
    page.changed(".grid", page.find("#start").click)
    page.changed("#picture", page.find("#random-codes").click)
    page.changed(".grid", page.find("#end").click)
    page.find(".grid .download").click()
    page.wait((page.downloads / "interpolation.png").is_file, "the download")


@pytest.fixture
def serving() -> Iterator[Callable[[Any], str]]:
    """Return a function that serves a module's page from this process and returns its address."""
    stops: list[Callable[[], Any]] = []

    def start(module: Any) -> str:
        listener = bind("127.0.0.1", 0)
        running = server(application(Page(Studio(module), None, "a model").build(), local=True))
        thread = threading.Thread(target=running.run, args=([listener],))
        thread.start()

        def stop() -> None:
            running.should_exit = True
            thread.join(20)
            listener.close()
            assert not thread.is_alive()

        stops.append(stop)
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"

    yield start
    for stop in stops:
        stop()


def test_a_vanilla_gan_has_no_panels_for_what_it_lacks(
    browser: Browser, serving: Callable[[Any], str]
) -> None:
    browser.open(serving(VanillaGANModule(codes=[], noise_dim=4, image_size=8)))
    assert browser.tabs() == ["Other noise", "Interpolation"]
    assert not browser.all("#random-codes")
    browser.changed("#picture", browser.find("#resample").click)
    assert browser.errors() == []


def test_colour_many_categories_and_no_noise_are_shown(
    browser: Browser, serving: Callable[[Any], str]
) -> None:
    module = InfoGANModule(codes=[CategoricalCode(30)], noise_dim=0, image_channels=3, image_size=8)
    browser.open(serving(module))
    assert browser.tabs() == ["Traversal", "Read an image", "Interpolation"]
    assert not browser.all("#resample")
    browser.find("#categorical0 input").click()
    options = browser.wait(lambda: browser.all("ul[role=listbox] li"), "the list of categories")
    assert len(options) == 30
    options[2].click()
    alt = "return document.querySelector('#picture img').alt.endsWith('categorical0 = 2')"
    browser.wait(lambda: browser.driver.execute_script(alt), "the picture of category 2")
    browser.tab("Read an image")
    browser.tab("Draw")
    assert browser.find("#pad input[type=color]")
    assert browser.errors() == []
