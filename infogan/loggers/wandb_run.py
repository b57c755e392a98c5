"""Weights & Biases: runs that never prompt, never stop a training, and go on where they were."""

import json
import os
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import Logger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_info, rank_zero_only, rank_zero_warn

from infogan.errors import ConfigurationError, one_line
from infogan.files import write_file
from infogan.loggers.wandb_artifacts import log_checkpoints

# Seconds to wait for a W&B server before the run goes on offline.
WANDB_TIMEOUT = 20
# In the run folder: which W&B run it is, and up to which step each value was sent.
RECORD_FILE = "wandb.json"


class WandbRun(Logger):
    """Track in Weights & Biases: online when logged in and in reach, otherwise offline.

    It never prompts and never stops a run. What is null here is what W&B's own variables say:
    `WANDB_PROJECT`, `WANDB_NAME`, `WANDB_RUN_GROUP`, `WANDB_TAGS`, `WANDB_NOTES`, `WANDB_MODE` and
    so on. W&B's own step is the number of batches. A W&B run of the process's own is left alone.

    Args:
        project: Project that the run belongs to; null for `infogan`.
        name: Display name of the run; null takes the config's `name`, its codes and its seed.
        group: Group of runs that belong together; null takes the config's `name`, so that the
            seeds of an experiment are one group.
        tags: Labels to filter runs by, besides the model's and the data's classes and the codes.
        entity: User or team that owns the project; null for the account's default.
        save_dir: Folder that receives `wandb/`; null takes the config's `save_dir`.
        id: Identity of the run; null draws one. Give that of an earlier run to go on with it;
            `--ckpt_path last` does so by itself.
        log_model: Upload the best and the last checkpoint at the end, as versions of one artifact;
            only online.
        job_type: Kind of run; the command line gives its verb.
        mode: `online`, `offline`, or null for online where that works.
        run_folder: Folder that keeps the record of what was sent; the command line gives its own.
    """

    def __init__(
        self,
        project: str | None = None,
        name: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        entity: str | None = None,
        save_dir: str | None = None,
        id: str | None = None,
        log_model: bool = False,
        job_type: str | None = None,
        mode: Literal["online", "offline"] | None = None,
        run_folder: str | None = None,
    ) -> None:
        super().__init__()
        check_installed()
        given = os.environ
        # Read here, for W&B reads its variables once a process.
        labelled = [tag for tag in given.get("WANDB_TAGS", "").split(",") if tag]
        self.init: dict[str, Any] = {
            "project": project or given.get("WANDB_PROJECT", "infogan"),
            "name": name or given.get("WANDB_NAME"),
            "group": group or given.get("WANDB_RUN_GROUP"),
            "tags": labelled if tags is None else tags,
            "notes": given.get("WANDB_NOTES"),
            "entity": entity or given.get("WANDB_ENTITY"),
            "job_type": job_type or given.get("WANDB_JOB_TYPE"),
        }
        self.folder = Path(save_dir or "runs").expanduser()
        self.id = id or given.get("WANDB_RUN_ID")
        self.log_model, self.mode = log_model, mode
        self.record_path = None if run_folder is None else Path(run_folder) / RECORD_FILE
        self.run: Any = None
        self.sent_before: dict[str, int] = {}
        self.sent: dict[str, int] = {}
        self.checkpoints: list[ModelCheckpoint] = []
        self.is_lost = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave the run to this process."""
        return {**self.__dict__, "run": None}

    @property
    def save_dir(self) -> str:
        """Return the folder that receives `wandb/`."""
        return str(self.folder)

    @property
    def name(self) -> str:
        """Return the project."""
        return str(self.init["project"])

    @property
    def version(self) -> str | None:
        """Return the run's identity, once it has one."""
        return self.id

    # ---- the start -----------------------------------------------------------------------------

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Return the W&B run; the first use starts it."""
        if self.run is None:
            self.run = self.start()
            self.id = self.run.id
            self.read_record()
        return self.run

    def start(self) -> Any:
        """Start the run online if that works, else offline with one line on how to sync later.

        Raises:
            ConfigurationError: If checkpoints shall be uploaded and W&B is not online.
        """
        import wandb

        # Absolute, since W&B's service keeps the working directory that it was started in.
        self.folder = self.folder.absolute()
        mode = self.mode or os.environ.get("WANDB_MODE", "online")
        reason = f"WANDB_MODE={mode}" if self.mode is None else "--wandb offline"
        if mode == "disabled":
            return self.start_in(mode)
        if mode not in ("offline", "dryrun"):
            try:
                if wandb.login(prompt=False, verify=False):
                    return self.start_in(None if self.mode is None else mode)
                reason = "not logged in"
            except (wandb.errors.AuthenticationError, wandb.errors.UsageError, ValueError) as error:
                reason = one_line(error)
            except Exception as error:  # a timeout, a service that does not start
                reason = f"no server in reach ({type(error).__name__})"
        if self.log_model:
            raise ConfigurationError(
                f"log_model=true needs W&B online ({reason}): run `wandb login`, or set log_model "
                "to false"
            )
        try:
            run = self.start_in("offline")
        except Exception as error:  # whatever it is: no run ends because it cannot be tracked
            rank_zero_warn(f"W&B: cannot start ({one_line(error)}), the run goes on without it")
            return self.start_in("disabled")
        rank_zero_info(
            f"W&B: {reason}, tracking offline; "
            f"upload later with: wandb sync {run.settings.sync_dir}"
        )
        return run

    def start_in(self, mode: Any) -> Any:
        """Start the run in a mode; None for that of `WANDB_MODE`."""
        import wandb

        self.folder.mkdir(parents=True, exist_ok=True)
        # Beside a run that the process may have, and with no trace in its environment.
        run = wandb.init(
            **self.init,
            id=self.id,
            dir=str(self.folder),
            mode=mode,
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(init_timeout=WANDB_TIMEOUT, console="off", silent=True),
        )
        run.define_metric("trainer/global_step")
        run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        return run

    # ---- going on with a run -------------------------------------------------------------------

    def position(self) -> dict[str, str]:
        """Return the run's identity."""
        return {"id": str(self.id or self.experiment.id)}

    def read_record(self) -> None:
        """Learn what this run has sent already, when it goes on from an older state."""
        path = self.record_path
        record = json.loads(path.read_text()) if path is not None and path.is_file() else {}
        if record.get("id") == self.id:
            self.sent = record["sent"]
            self.sent_before = dict(self.sent)

    def write_record(self) -> None:
        """Note which run this is and what it has sent."""
        run = self.experiment
        if self.record_path is not None and not run.disabled:
            url = None if run.offline else run.url
            record = {"id": run.id, "project": run.project, "url": url, "sent": self.sent}
            # Once a logged batch: a loss of power may cost the newest, and no time is spent on it.
            write_file(self.record_path, json.dumps(record, indent=2) + "\n", sync=False)

    # ---- what is sent --------------------------------------------------------------------------

    @contextmanager
    def unless_lost(self) -> Iterator[None]:
        """Go on without W&B where its service has ended; say so once."""
        import wandb

        try:
            yield
        except (ConnectionError, wandb.errors.Error) as error:
            # SIGTERM to a whole job ends the service at once, and the run only after its batch.
            if not self.is_lost:
                rank_zero_warn(
                    f"W&B: its service has ended ({error}), the run goes on without it; "
                    "metrics.csv and summary.json have what is missing there"
                )
            self.is_lost = True

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **_: Any) -> None:
        """Show the config beside the run."""
        values = vars(params) if isinstance(params, Namespace) else dict(params)
        with self.unless_lost():
            self.experiment.config.update(values, allow_val_change=True)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Send values of one step, except those that the run had sent before it was resumed.

        W&B cannot take a value back; a resumed run computes the same ones again.
        """
        if self.is_lost:
            return
        with self.unless_lost():
            run = self.experiment
            if step is None:
                run.log(dict(metrics))
                return
            new = {k: v for k, v in metrics.items() if self.sent_before.get(k, -1) < step}
            if new:
                run.log({**new, "trainer/global_step": step}, step=step)
                self.sent.update(dict.fromkeys(new, step))
                self.write_record()

    @rank_zero_only
    def log_image(
        self, key: str, images: list[Any], step: int | None = None, caption: list[str] | None = None
    ) -> None:
        """Send pictures of one step."""
        import wandb

        captions = caption or [key] * len(images)
        pictures = [wandb.Image(i, caption=c) for i, c in zip(images, captions, strict=True)]
        self.log_metrics({key: pictures}, step)

    @rank_zero_only
    def log_summary(self, values: Mapping[str, Any]) -> None:
        """Show values in the table of runs."""
        with self.unless_lost():
            self.experiment.summary.update(dict(values))

    # ---- the end -------------------------------------------------------------------------------

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Remember who saves checkpoints; which ones are kept is known at the end."""
        if self.log_model and checkpoint_callback not in self.checkpoints:
            self.checkpoints.append(checkpoint_callback)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Upload the checkpoints, also of a run that was stopped, and end the run.

        A later use of the logger goes on with it.
        """
        if self.run is None:
            return
        with self.unless_lost():
            log_checkpoints(self.run, self.checkpoints)
            self.checkpoints.clear()
            self.run.finish(exit_code=0 if status == "success" else 1)
        self.run = None


def check_installed() -> None:
    """Refuse to track without W&B.

    Raises:
        ConfigurationError: If the package is missing; a folder `wandb/` of runs is none.
    """
    try:
        from wandb import init  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "WandbRun needs W&B: run `pip install wandb`, or give --wandb disabled"
        ) from error
