"""`twinloop train`: a policy from a dataset."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, slots=True)
class Command:
    """Train a policy on a dataset. Ctrl-C saves everything; --resume goes on as if nothing had happened.

    Example:
        twinloop train out/lift out/lift-policy
        twinloop train out/lift out/lift-act --method act --steps 20000
        twinloop train out/lift out/lift-state --method bc --state
    """

    dataset: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")]
    """Folder of the dataset."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="POLICY")]
    """Folder of the policy."""
    method: str = "keypoint"
    """bc (state only), keypoint (cameras, trains on a CPU), act (cameras, for a GPU), or a plug-in's."""
    steps: int | None = None
    """Training steps; by default what suits the method."""
    batch: int | None = None
    """Rows a step."""
    chunk: int = 20
    """Rows of an action chunk."""
    lr: float | None = None
    """Peak learning rate."""
    seed: int = 0
    """Seed of everything random."""
    cameras: tuple[str, ...] | None = None
    """Cameras to use; by default all."""
    size: tuple[int, int] = (128, 96)
    """Picture width and height that the network sees, px."""
    state: bool = False
    """Add the true positions of the objects to the state (simulation only)."""
    no_aux: bool = False
    """Leave out the auxiliary loss on the objects' positions."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""
    resume: bool = False
    """Go on with the training in the folder of the policy."""

    def run(self) -> int:
        from ...data.reader import Dataset
        from ...policies.methods import find_method
        from ...policies.samples import Samples
        from ...policies.train import default_config, train
        from ...robot.errors import TwinloopError, UsageError
        from ..arguments import output_folder, picture
        from ..collect import OBJECTS
        from ..progress import say, training_bar
        from ..stopping import exit_code

        config = replace(default_config(self.method), chunk=self.chunk, seed=self.seed, device=self.device)
        for name in ("steps", "batch", "lr"):
            if getattr(self, name) is not None:
                config = replace(config, **{name: getattr(self, name)})
        if self.no_aux:
            config = replace(config, keypoint=replace(config.keypoint, aux_weight=0.0))
        config.check()
        picture("--size", self.size)
        if self.out.resolve().is_relative_to(self.dataset.resolve()):
            raise UsageError(f"{self.out}: lies in the dataset; give the policy a folder of its own")
        found = find_method(self.method)
        cameras = self.cameras if found is not None and found.pictures else ()
        samples = Samples.from_dataset(
            Dataset(self.dataset).open(),
            cameras=cameras,
            image_size=(self.size[1], self.size[0]),
            state=("observation.state", OBJECTS) if self.state else ("observation.state",),
        )
        output_folder("policy", self.out)
        with training_bar(config.steps) as show:
            try:
                result = train(samples, config, self.out, show, resume=self.resume)
            except TwinloopError:
                with suppress(OSError):
                    self.out.rmdir()  # nothing came of it; one with files in it stays
                raise
        if not result.finished:
            say(f"{self.out}: stopped and saved at step {result.step}; go on with --resume")
            return exit_code()
        say(
            f"{self.out}: {result.step} steps in {result.wall_s:.0f} s, "
            + (", ".join(f"validation {k} {v:.4g}" for k, v in result.validation.items()) or "no validation")
        )
        return 0
