"""Run a newcomer's first session and tell it: `python benchmarks/first_session.py`.

Clones this repository into a temporary folder, runs every command of the session there, looks at
its pages in a headless Chromium, and writes `docs/first-session.md` with what was printed and
`docs/images/first-session/` with what was seen. Needs the `dev` extra, and Debian's chromium and
chromium-driver.
"""

import argparse
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tests.support.browsing import Browser  # noqa: E402  # the tests are no installed package

PICTURES = ROOT / "docs" / "images" / "first-session"
PAGE = ROOT / "docs" / "first-session.md"
CHECKPOINT = "runs/first/version_0/checkpoints/last.ckpt"
EXPLORE = f"python cli.py explore --ckpt_path {CHECKPOINT} --port 0 --open_browser false"

# What Lightning and the libraries say besides, which no step is about.
NOISE = re.compile(r"^\s*$|\d%\||hint|warning|warn\(|^[┏┡│└]|params|mode:|FLOPs|size \(MB\)", re.I)


def write_pictures(folder: Path, count: int = 200) -> None:
    """Write coloured discs, squares and triangles at random places, 48 x 48 pixels."""
    folder.mkdir()
    draw = random.Random(0)
    for number in range(count):
        picture = Image.new("RGB", (48, 48), "white")
        x, y, size = draw.uniform(14, 34), draw.uniform(14, 34), draw.uniform(7, 12)
        color = f"hsl({draw.randrange(360)}, 80%, 50%)"
        pencil = ImageDraw.Draw(picture)
        box = (x - size, y - size, x + size, y + size)
        if number % 3 == 0:
            pencil.ellipse(box, fill=color)
        elif number % 3 == 1:
            pencil.rectangle(box, fill=color)
        else:
            pencil.polygon([(x, y - size), (x - size, y + size), (x + size, y + size)], fill=color)
        picture.save(folder / f"{number:03d}.png")


class Session:
    """A folder in which commands run, and the page that tells of them.

    Args:
        folder: The clone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines = [
            "# A first session",
            "",
            "Train, compare, explore and export a small model: what to type, what is printed, and",
            "what is seen. To install first: `README.md`.",
            "",
            f"*Output of `python benchmarks/first_session.py`, {date.today().isoformat()}, seed 0,",
            f"on {os.cpu_count()} shared CPU cores; an idle machine is faster.*",
        ]

    def say(self, *lines: str) -> None:
        """Add a paragraph."""
        self.lines += ["", *lines]

    def command(self, line: str, say: str, keep: int = 12) -> None:
        """Run a line as typed; tell it and the last lines that it printed."""
        start = time.monotonic()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=self.folder,
            env={**variables, "PATH": path, "COLUMNS": "100"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(f"{line} failed:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
        printed = [row for row in done.stdout.splitlines() if not NOISE.search(row)]
        shown = [row.replace(f"{self.folder}/", "").rstrip() for row in printed[-keep:]]
        self.say(say, "", "```", f"$ {line}", *shown, "```")
        print(f"{time.monotonic() - start:6.0f} s  {line}", flush=True)

    def picture(self, path: Path, name: str, caption: str) -> None:
        """Keep a picture, and show it."""
        shutil.copyfile(path, PICTURES / name)
        self.say(f"![{caption}](images/first-session/{name})")

    def screenshot(self, browser: Browser, name: str, caption: str) -> None:
        """Keep what the browser shows."""
        browser.driver.save_screenshot(str(PICTURES / name))
        self.say(f"![{caption}](images/first-session/{name})")

    def explore(self, browser: Browser, drawn: Path) -> None:
        """Serve the checkpoint and do on the page what a person would."""
        words = shlex.split(EXPLORE)
        program = [sys.executable, *words[1:]]
        server = subprocess.Popen(
            program, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[2]
            browser.open(address)
            browser.find(".grid img")
            browser.changed("#picture", browser.find("#categorical0 label:nth-of-type(4)").click)
            self.screenshot(browser, "explore.png", "The explorer, category 3 chosen")
            self.say("Upload a drawing of your own: what Q reads, and what G makes of it.")
            browser.tab("Read an image")
            browser.tab("Upload")
            refusal = browser.upload(drawn)
            assert refusal == "", refusal
            browser.find(".reading")
            self.screenshot(browser, "read.png", "A picture read")
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)
        print(f"          {EXPLORE}", flush=True)


def draw_seven(path: Path) -> None:
    """Draw a digit as with a mouse."""
    sheet = Image.new("L", (140, 140), 0)
    pencil = ImageDraw.Draw(sheet)
    pencil.line([(35, 32), (100, 32), (62, 112)], fill=255, width=13, joint="curve")
    sheet.save(path)


def tell(session: Session, browser: Browser, scratch: Path, epochs: int) -> None:
    """Run the whole session."""
    train = f"python cli.py fit --config infogan_mnist.yaml --trainer.max_epochs {epochs}"
    quiet = "--trainer.enable_progress_bar false"
    session.say("## Train")
    session.command(
        f"{train} --name first {quiet}",
        f"{epochs} of the 50 epochs of 100 batches. The progress bar, turned off here, shows "
        "losses, mutual information and accuracy.",
    )
    overview = session.folder / "runs" / "first" / "version_0" / "overview.png"
    session.picture(overview, "overview.png", f"The overview after {epochs} epochs")
    session.say("So early the digits are faint. After 50 epochs they look as in `README.md`.")
    session.say("## Compare two runs")
    session.command(
        f"{train.replace('infogan_mnist', 'infogan_mnist_paper')} --name paper {quiet}",
        "The paper's recipe, to compare with:",
    )
    session.command(
        "python cli.py compare first paper | grep -v morpho_",
        "A table, here without the correlations of the codes, and a page:",
        keep=60,
    )
    browser.driver.get((session.folder / "compare.html").as_uri())
    browser.find("svg")
    session.screenshot(browser, "compare.png", "compare.html in the browser")
    session.say("## Explore", "", "```", f"$ {EXPLORE}", "```")
    draw_seven(scratch / "seven.png")
    session.explore(browser, scratch / "seven.png")
    session.say("## Sample and export")
    session.command(
        f"python cli.py sample --ckpt_path {CHECKPOINT} --codes '{{0: 3}}' --num_samples 10",
        "Ten images of category 3, as PNGs and a table of their codes:",
    )
    samples = sorted((session.folder / "samples").glob("*.png"))
    sheet = Image.new("L", (60 * len(samples), 56), 255)
    for place, sample in enumerate(samples):
        with Image.open(sample) as image:
            sheet.paste(image.resize((56, 56)), (60 * place, 0))
    sheet.save(scratch / "samples.png")
    session.picture(scratch / "samples.png", "samples.png", "The ten PNGs side by side")
    session.command(
        f"python cli.py export --ckpt_path {CHECKPOINT} && ls export",
        "Formats that other tools load, checked against torch:",
    )
    session.say("## Your own pictures")
    write_pictures(session.folder / "pictures")
    last = 20 * epochs
    session.command(
        "python cli.py fit --config infogan_image_folder.yaml --data.init_args.data_dir pictures "
        f"--trainer.max_epochs {last} --trainer.check_val_every_n_epoch {last} {quiet}",
        "`pictures/` holds 200 PNGs of 48 x 48 pixels: coloured discs, squares and triangles. "
        f"An epoch is two batches. For a useful model train for some 5,000, and not {2 * last}.",
    )


def main() -> None:
    """Run the session and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=2, help="epochs of 100 batches to train")
    epochs = parser.parse_args().epochs
    if epochs < 1:
        parser.error(f"epochs={epochs} must be at least 1")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch, "infogan")
        subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
        session = Session(clone)
        browser = Browser(Path(scratch))
        try:
            tell(session, browser, Path(scratch), epochs)
        finally:
            browser.driver.quit()
    PAGE.write_text("\n".join(session.lines) + "\n")


if __name__ == "__main__":
    main()
