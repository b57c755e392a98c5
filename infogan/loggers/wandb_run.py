"""Weights & Biases: runs that name themselves, never prompt, and go on where they were."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_info, rank_zero_only, rank_zero_warn

from infogan.errors import ConfigurationError
from infogan.files import write_file
from infogan.latents import LatentCode

# Seconds to wait for a W&B server before the run goes on offline.
WANDB_TIMEOUT = 20
# In the run folder: which W&B run it is, and up to which step each value was sent.
RECORD_FILE = "wandb.json"


class RunLabels(NamedTuple):
    """What tells a run from others in a tracker's table.

    Attributes:
        name: Display name.
        group: What it shares with the other seeds.
        job_type: `fit`, `validate`, `test` or `predict`.
        tags: What to filter by.
    """

    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]

    @classmethod
    def of(
        cls, name: str, stage: str, seed: int | bool | None, model: Any, data: Any
    ) -> "RunLabels":
        """Make them from the config's values.

        Args:
            name: The config's `name`.
            stage: The verb.
            seed: The config's `seed_everything`.
            model: The module; its class becomes a tag, and its codes, if it has any.
            data: The datamodule, if there is one; its class becomes a tag.
        """
        codes = code_tags(getattr(getattr(model, "latents", None), "codes", ()))
        # False means no seed; it is also an int.
        seeded = [] if seed is None or isinstance(seed, bool) else [f"seed{seed}"]
        shown = name if stage == "fit" else f"{name}/{stage}"
        classes = [type(part).__name__ for part in (model, data) if part is not None]
        return cls(" ".join([shown, *codes, *seeded]), name, stage, (*classes, *codes))


def code_tags(codes: Sequence[LatentCode]) -> list[str]:
    """Name the kinds of code and how many there are: `categorical10`, `2xuniform`."""
    kinds = Counter(
        type(code).__name__.removesuffix("Code").lower() + (str(code.dim) if code.dim > 1 else "")
        for code in codes
    )
    return [f"{n}x{kind}" if n > 1 else kind for kind, n in kinds.items()] or ["no-codes"]


class WandbRun(WandbLogger):
    """Track in Weights & Biases: online when logged in and in reach, otherwise offline.

    It never prompts and never stops a run. `WANDB_MODE` decides if it is set: `online`, `offline`
    or `disabled`. W&B's own step is the number of batches.

    Args:
        project: Project that the run belongs to.
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
    """

    def __init__(
        self,
        project: str = "infogan",
        name: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        entity: str | None = None,
        save_dir: str | None = None,
        id: str | None = None,
        log_model: bool = False,
    ) -> None:
        super().__init__(
            name=name,
            save_dir=save_dir or "runs",
            id=id,
            project=project,
            log_model=log_model,
            group=group,
            tags=tags,
            entity=entity,
        )
        self.given_save_dir, self.given_name = save_dir, name
        self.run_folder: Logger | None = None
        self.sent_before: dict[str, int] = {}
        self.sent: dict[str, int] = {}
        self.checkpoints: list[ModelCheckpoint] = []
        self.is_lost = False
        # W&B warns about this argument, which it no longer has.
        del self._wandb_init["anonymous"]

    def place(self, save_dir: str, name: str) -> None:
        """Take folder and name from the run where none were given."""
        self._save_dir = self._wandb_init["dir"] = self.given_save_dir or save_dir
        self._name = self._wandb_init["name"] = self.given_name or name

    def describe(self, labels: RunLabels, run_folder: Logger | None) -> None:
        """Take name, group and tags from the run where none were given.

        Args:
            labels: The run's.
            run_folder: The logger whose `log_dir` is the run folder, if there is one.
        """
        init = self._wandb_init
        self._name = init["name"] = self.given_name or labels.name
        init["group"] = init["group"] or labels.group
        init["job_type"] = labels.job_type
        init["tags"] = [*dict.fromkeys([*labels.tags, *(init["tags"] or [])])]
        self.run_folder = run_folder

    def resume(self, id: str) -> None:
        """Go on with an earlier run, unless the config names another one."""
        if self._id is None:
            self._id = self._wandb_init["id"] = id

    def position(self) -> dict[str, str]:
        """Return the run's identity."""
        return {"id": str(self._id or self.experiment.id)}

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Return the W&B run; the first use starts it."""
        if self._experiment is None:
            # Absolute, since W&B's service keeps the working directory that it was started in.
            folder = Path(self._wandb_init["dir"]).absolute()
            folder.mkdir(parents=True, exist_ok=True)
            self._wandb_init["dir"] = str(folder)
            self._start()
            self._id = super().experiment.id
            self._read_record()
        return self._experiment

    def _start(self) -> None:
        """Start the run online if that works, else offline with one line on how to sync later."""
        import wandb

        settings = wandb.Settings(init_timeout=WANDB_TIMEOUT, console="off", silent=True)
        self._wandb_init["settings"] = settings
        reason = self._reason_to_be_offline()
        if reason is not None:
            if self._log_model:
                raise ConfigurationError(
                    f"log_model=true needs W&B online ({reason}): run `wandb login`, or set "
                    "log_model to false"
                )
            if "WANDB_MODE" not in os.environ:
                os.environ["WANDB_MODE"] = "offline"
                # Login has read the settings already: start over, so that the mode is seen.
                wandb.teardown()
        run = super().experiment
        if run.settings.mode == "offline":
            rank_zero_info(
                f"W&B: {reason}, tracking offline; "
                f"upload later with: wandb sync {run.settings.sync_dir}"
            )

    def _reason_to_be_offline(self) -> str | None:
        """Try to start online, unless `WANDB_MODE` decides; return why it has to be offline."""
        import wandb

        mode = os.environ.get("WANDB_MODE")
        if mode is not None:
            return f"WANDB_MODE={mode}" if mode in ("offline", "dryrun") else None
        if not wandb.login(prompt=False, verify=False):
            return "not logged in"
        try:
            _ = super().experiment
        except wandb.errors.CommError as error:
            return f"no server in reach ({type(error).__name__})"
        return None

    # ---- going on with a run -------------------------------------------------------------------

    @property
    def record_path(self) -> Path | None:
        """The record in the run folder, if the run has a folder and is not disabled."""
        if self.run_folder is None or self.run_folder.log_dir is None or self.experiment.disabled:
            return None
        return Path(self.run_folder.log_dir) / RECORD_FILE

    def _read_record(self) -> None:
        """Learn what this run has sent already, when it goes on from an older state."""
        path = self.record_path
        record = json.loads(path.read_text()) if path is not None and path.is_file() else {}
        if record.get("id") == self.experiment.id:
            self.sent = record["sent"]
            self.sent_before = dict(self.sent)

    def _write_record(self) -> None:
        """Note which run this is and what it has sent."""
        path = self.record_path
        if path is None:
            return
        run = self.experiment
        url = None if run.offline else run.url
        record = {"id": run.id, "project": run.project, "url": url, "sent": self.sent}
        # Not brought to the disk: it is written as often as values are logged.
        write_file(path, json.dumps(record, indent=2) + "\n", sync=False)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Send values of one step, except those that the run had sent before it was resumed.

        W&B cannot take a value back; a resumed run computes the same ones again.
        """
        if step is None:
            super().log_metrics(metrics)
            return
        new = {k: v for k, v in metrics.items() if self.sent_before.get(k, -1) < step}
        if not new or self.is_lost:
            return
        try:
            self.experiment.log({**new, "trainer/global_step": step}, step=step)
        except ConnectionError as error:
            # SIGTERM to a whole job ends the service at once, and the run only after its batch.
            self.is_lost = True
            rank_zero_warn(
                f"W&B: its service has ended ({error}), the run goes on without it; metrics.csv "
                "has what is missing there"
            )
            return
        self.sent.update(dict.fromkeys(new, step))
        self._write_record()

    # ---- checkpoints ---------------------------------------------------------------------------

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Remember who saves checkpoints; which ones are kept is known at the end."""
        if self._log_model and checkpoint_callback not in self.checkpoints:
            self.checkpoints.append(checkpoint_callback)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Upload the checkpoints, also of a run that was stopped."""
        if self._experiment is not None:
            self.log_checkpoints()

    def log_checkpoints(self) -> None:
        """Log each kept checkpoint as a version of one artifact, laid out like a run folder."""
        import wandb

        # The last one comes last, so that W&B's own alias `latest` stays with it.
        for callback in sorted(self.checkpoints, key=lambda callback: callback.monitor is None):
            path = Path(callback.best_model_path)
            alias = "last" if callback.monitor is None else "best"
            score = callback.best_model_score
            metadata = {
                "file": path.name,
                "monitor": callback.monitor,
                "score": None if score is None else float(score),
            }
            artifact = wandb.Artifact(f"model-{self.experiment.id}", "model", metadata=metadata)
            artifact.add_file(str(path), f"checkpoints/{alias}.ckpt")
            config = path.parent.parent / "config.yaml"
            if config.is_file():
                artifact.add_file(str(config), config.name)
            self.experiment.log_artifact(artifact, aliases=[alias])
        self.checkpoints.clear()
