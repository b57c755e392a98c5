"""The command `explore`: see into a trained model on a page in the browser."""

import contextlib
import importlib.util
import os
import signal
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml

from infogan.callbacks.morphometrics import can_be_measured, of_samples
from infogan.commands.explore.held_out import load_held_out
from infogan.commands.explore.studio import Studio
from infogan.commands.named_checkpoints import with_config_of_run
from infogan.data import told_by
from infogan.errors import ConfigurationError
from infogan.metrics.morphometrics import captions
from infogan.modules import GANModule
from infogan.modules.loading import load_gan

# Samples that tell what each continuous code sets: a second on one core.
NUM_MEASURED = 300


def explore(
    ckpt_path: Path,
    data: pl.LightningDataModule | None = None,
    host: str = "127.0.0.1",
    port: int = 7860,
    open_browser: bool = True,
) -> None:
    """Open a local web page on which a trained model's codes are played with.

    A slider or selector a code, fresh noise, traversals, interpolations; with an InfoGAN also what
    Q reads from a held-out, drawn or uploaded image, and what G makes of it. Ctrl-C ends it.

    Args:
        ckpt_path: Checkpoint of any GAN that `fit` has saved.
        data: Datamodule whose validation images (test images, if there are none) are shown; by
            default that of the run's config.yaml; null for none.
        host: Address to serve on. The default is reached from this machine only; 0.0.0.0 lets in
            whoever reaches this machine.
        port: Port to serve on; 0 takes any free one.
        open_browser: Whether to open the page in the browser, where there is a screen.

    Raises:
        ConfigurationError: If the checkpoint, the data or the port cannot be used, or Gradio is
            missing.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ConfigurationError(
            "explore needs Gradio, which is not installed: pip install -e '.[explore]'"
        )
    module = load_gan(ckpt_path)
    held_out = None if data is None else load_held_out(data, module)
    if can_be_measured(told_by(data), module):
        correlations = of_samples(module, NUM_MEASURED)
        module.code_captions = captions(module.latents.codes, correlations)
    known = (held_out.meanings, held_out.images) if held_out is not None else ()
    studio = Studio(module, *known)
    with exit_on_termination(), tempfile.TemporaryDirectory(prefix="infogan-explore-") as folder:
        silence_gradio(folder)
        from infogan.commands.explore.page import Page
        from infogan.commands.explore.server import LOOPBACK, bind, serve

        with bind(host, port) as listener:
            local = host in LOOPBACK
            address = (f"[{host}]" if ":" in host else host) if local else "localhost"
            url = f"http://{address}:{listener.getsockname()[1]}/"
            page = Page(studio, held_out, describe(ckpt_path, module)).build()
            print(f"Explorer on {url} (Ctrl-C ends it)", flush=True)
            if not local:
                print(f"host={host}: whoever reaches this machine can use it", flush=True)
            if open_browser and has_screen():
                webbrowser.open(url)
            serve(page, listener, local)


def data_of_run(argv: list[str]) -> dict[str, Any]:
    """Return the data that the checkpoint's run folder names, as a default for `--data`.

    Args:
        argv: The verb and its options.

    Raises:
        ConfigurationError: If the folder's config.yaml cannot be read.
    """
    own = with_config_of_run(argv)
    if own == argv:
        return {}
    path = Path(own[2])
    try:
        data = yaml.safe_load(path.read_text())["data"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} beside the checkpoint names no data ({type(error).__name__}); give the file "
            "to read instead with --config"
        ) from error
    return {"data": data}


def silence_gradio(folder: str) -> None:
    """Keep Gradio's files in one folder and its telemetry at home; before it is imported."""
    os.environ["GRADIO_TEMP_DIR"] = folder
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


@contextlib.contextmanager
def exit_on_termination() -> Iterator[None]:
    """Leave by SystemExit when the program is terminated, so that what is open is cleaned up."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def describe(path: Path, module: GANModule) -> str:
    """Return the run, the class and the image size in one line."""
    run = "/".join(path.resolve().parts[-4:-2])
    channels, side, _ = module.image_shape
    colour = {1: "gray", 3: "RGB"}.get(channels, f"{channels} channels")
    return f"{run} · {type(module).__name__} · {side} x {side} {colour}"


def has_screen() -> bool:
    """Tell whether a browser window can open; on a server it would take over the terminal."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in screens)
