"""One training from its first step, or from its checkpoint, to its last."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from harness.method import Hyperparameters, Method
from harness.metrics.fitted import Fitted
from harness.metrics.table import evaluate, fit_on_validation
from harness.networks.backbones import Model, set_training_mode
from harness.run.record_values import Scores, score_of
from harness.run.trial import TrialFolder
from harness.run.trial_records import ScheduleLine
from harness.train.checkpoint import (
    CheckpointWriter,
    State,
    changing_tensors,
    copied_to_cpu,
    load_checkpoint,
    on_device,
    restore,
    snapshot,
)
from harness.train.criterion import build_criterion
from harness.train.data import MethodBatches, Side
from harness.train.evaluate import predict
from harness.train.job import Control, Interrupted, NotFiniteError, TrialJob
from harness.train.network import build_network, folds
from harness.train.progress import Progress, in_force
from harness.train.rungs import meet_rung
from harness.train.schedule import Schedule, factor_at
from harness.train.speed.compiled import compile_network
from harness.train.speed.features import Features, is_constant
from harness.train.speed.folding import FoldedNorms
from harness.train.speed.graph import GraphedStep, is_capturable, records_steps
from harness.train.step import (
    StepContext,
    autocast_dtype,
    build_optimizer,
    seed_step,
    set_learning_rates,
)

PREPARE_BATCHES = 50
"""So many batches a method may look at before its first step."""


class Training:
    """The state of one trial in memory.

    All randomness comes from streams named by seed, epoch and step, so there is no generator state to store: a
    resumed training draws what the undisturbed one would have drawn.
    """

    def __init__(
        self,
        job: TrialJob,
        folder: TrialFolder,
        device: torch.device,
        control: Control,
        resident: Tensor | None = None,
    ) -> None:
        self.job, self.folder, self.device, self.control = job, folder, device, control
        self._resident = resident
        self.augmentation = job.augmentation()
        self.progress = Progress(schedule=[change.copy() for change in job.schedule[:1]])
        self._best_logits: npt.NDArray[np.float64] | None = None
        self._at_best = False
        self._norms: FoldedNorms | None = None
        self.writer = CheckpointWriter(folder.checkpoint_path, folder.fence)
        state = load_checkpoint(folder.checkpoint_path)
        # A trial keeps what it began with: compiled sums have other last bits.
        self._compiles = job.train.step == "compiled"
        if state is not None:
            self._compiles = state.get("compiled", self._compiles)
        if state is None:
            self._assemble(job.hyperparameters)
            self.model.eval()
            images = (batch for batch, _ in self.context.batches.all(job.train.eval_batch_size))
            self.method.prepare(self.model, itertools.islice(images, PREPARE_BATCHES))
        else:
            self._assemble(in_force(state["progress"].get("schedule", []), math.inf) or job.hyperparameters)
            self._take_up(state)
            self.control.log(f"resumed after epoch {self.progress.epoch}, step {self.progress.step_in_epoch}")
        self._fold()
        self.writer.expect(self.model)

    def _assemble(self, hyperparameters: Hyperparameters) -> None:
        """Build the network, and all that trains it, for these hyperparameters."""
        job, device = self.job, self.device
        self.method = job.method()
        self.model = self._build(hyperparameters)
        self.steps_per_epoch = job.train.steps_per_epoch(self.data.count("train"))
        self.total_steps = self.steps_per_epoch * job.train.epochs
        precision = autocast_dtype(job.train, device)
        chosen = job.train.optimizer_or(str(hyperparameters.get("optimizer", "adamw")))
        graphed = records_steps(job.train, self.method, chosen.kind, precision, device)
        groups = self.method.param_groups(self.model, hyperparameters)
        self.context = StepContext(
            model=self.model,
            optimizer=build_optimizer(chosen.kind, groups, graphed, **chosen.options),
            criterion=self._criterion(),
            device=device,
            precision=precision,
            scaler=torch.amp.GradScaler(device.type) if precision == torch.float16 else None,
            clip_norm=job.train.clip_norm,
            batches=MethodBatches(self.data, job.seed),
            steps_per_epoch=self.steps_per_epoch,
            total_steps=self.total_steps,
            schedule=Schedule.of(job.train),
        )
        self._rising = job.train.warmup_steps(self.total_steps)
        self.graph = GraphedStep(self.method, self.context, self.control.log) if graphed else None
        self.features: Features | None = None
        if job.train.features == "once" and is_constant(self.method, self.model):
            size = job.train.eval_batch_size
            self.features = features = Features(self.model, self.data, size, precision, job.cache, self.control)
            self.context.features = lambda: (features.side("train"), self.data.targets("train"))
        if self._compiles and not self.compilable:
            self.control.log("steps are not compiled: this method's are not said to be always the same")
            self._compiles = False

    @property
    def compilable(self) -> bool:
        """Whether the network may be compiled: the method allows it, and there is more of it than the head."""
        return self.features is None and is_capturable(self.method)

    @property
    def compiled(self) -> bool:
        """Whether the network is compiled, or will be at the first step."""
        return self._compiles and (self.context.compiled is None or self.context.compiled.works)

    def run(self) -> Progress:
        """Train to the end.

        Raises:
            Interrupted: stopped from outside, with a checkpoint written.
            Pruned: ended at a rung.
            NotFiniteError: the loss or the validation score is not a number.
        """
        progress, train, control = self.progress, self.job.train, self.control
        clock = time.perf_counter()
        if self.features is not None:
            self.features.prepare()
        if progress.epoch == 0 and progress.step_in_epoch == 0 and self.method.fit(self.context):
            self._evaluate(step=0, train_loss=None)
            # Whatever is left of the epochs has nothing to do.
            progress.epoch, progress.seconds = train.epochs, time.perf_counter() - clock
            self.folder.write_curve(progress.curve)
        try:
            while progress.epoch < train.epochs and not self._out_of_patience():
                self._change_hyperparameters()
                progress = self.progress
                self._epoch(clock)
                now = time.perf_counter()
                progress.seconds += now - clock
                clock = now
                self.folder.write_curve(progress.curve)
                if progress.epoch == train.epochs or self._out_of_patience():
                    break
                if control.checkpoint_each_epoch:
                    self.writer.submit(self._state)
                    self.writer.wait()
                meet_rung(self.job, self.folder, control, progress)
                stopped = control.stop.is_set()
                if stopped or self.writer.due:
                    self.writer.submit(self._state)
                if stopped:
                    raise Interrupted
            if self.job.evaluations:
                # Scoring may take longer than training: stopped or killed in it, nothing is trained again.
                self.writer.submit(self._state)
        finally:
            self.writer.wait()
        best = in_force(progress.schedule, progress.best_epoch)
        if best is not None and best != in_force(progress.schedule, math.inf):
            # The best epoch was trained under earlier hyperparameters, which may be part of the network's function.
            self._rebuild(best, progress.schedule)
            progress = self.progress
        restore(self.model, progress.best_tensors)
        # What the method changes now has to be evaluated again.
        self._at_best = type(self.method).finish is Method.finish
        if not self._at_best:
            self.unfold()
        self.method.finish(self.model.eval(), self._score)
        return progress

    def unfold(self) -> None:
        """Undo the folding of batch norms: the model is as it will be exported, the same function to rounding."""
        if self._norms is not None:
            self._norms.undo()
            self._norms = None

    def _fold(self) -> None:
        self._norms = None
        if folds(self.job, self.method, self.model):
            self._norms = FoldedNorms(self.model.eval(), self.data.made_up())

    def step(self, positions: Tensor, number: int) -> Tensor:
        """Train on the images at ``positions``, shape (batch,), or on their features; the detached loss of that step.

        The network must be in training mode.
        """
        job = self.job
        factor = factor_at(number, self.total_steps, self._rising, self.context.schedule)
        set_learning_rates(self.context.optimizer, factor)
        if self.features is not None:
            inputs, labels = self.features.batch(positions)
        else:
            inputs, labels = self.data.training_batch(positions, self.augmentation, job.seed, number)
        if self._compiles and self.context.compiled is None:
            compile_network(self.context, self.method, inputs, labels, job.cache, self.control.log)
        seed_step(job.seed, number, self.device)
        self.context.step = number
        if self.graph is not None:
            whole = len(positions) == min(job.train.batch_size, self.data.count("train"))
            return self.graph(inputs, labels, whole)
        return self.method.training_step(self.context, inputs, labels)

    def batches(self, epoch: int) -> Sequence[Tensor]:
        """Positions of the images of each step of an epoch, int64."""
        size = self.job.train.batch_size
        return torch.split(self.data.order(self.job.seed, epoch)[: self.steps_per_epoch * size], size)

    def logits(self, side: Side) -> npt.NDArray[np.float64]:
        """Float64 logits of a side with the tensors as they are now."""
        # Nothing is evaluated twice; a trial that was resumed after its best epoch has them no more.
        if side == "val" and self._at_best and self._best_logits is not None:
            return self._best_logits
        if self.features is not None:
            return self.features.logits(side)
        return predict(self.model, self.data, side, self.job.train.eval_batch_size, self.context.precision)

    def _score(self) -> float:
        score = score_of(self.scores("val", self.logits("val")), self.job.metric)
        return -math.inf if score is None else self.job.sign * float(score)

    def fitted(self, logits: npt.NDArray[np.float64]) -> Fitted:
        """What the validation side decides for metrics that need it; ``logits`` are of that side."""
        return fit_on_validation(logits, self.data.targets("val").cpu().numpy(), self.job.further)

    def scores(self, side: Side, logits: npt.NDArray[np.float64], fitted: Fitted | None = None) -> Scores:
        """All metrics of a side.

        Args:
            side: which.
            logits: of that side.
            fitted: what the validation side decided, for any other side; ``logits`` decide it where they are of that.

        Raises:
            NotFiniteError: a logit is not finite.
        """
        if not np.isfinite(logits).all():
            raise NotFiniteError(f"{side} logits are not finite")
        job, labels = self.job, self.data.targets(side).cpu().numpy()
        own = self.fitted(logits) if side == "val" else fitted
        return evaluate(logits, labels, job.dataset.ordinal, job.further, own)

    def _build(self, hyperparameters: Hyperparameters) -> Model:
        model, self.data = build_network(self.job, self.method, hyperparameters, self.device, self._resident)
        if self.job.opens_test:
            self.control.log(f"test split opened: {self.data.count('test')} cases")
        return model

    def _criterion(self) -> nn.Module:
        train, labels = self.job.train, self.data.targets("train")
        return build_criterion(labels, len(self.job.data.classes), train.class_weights, train.label_smoothing)

    def _epoch(self, clock: float) -> None:
        progress = self.progress
        batches = self.batches(progress.epoch)
        losses: list[Tensor] = []
        set_training_mode(self.model, self.method.batch_norm)
        for index in range(progress.step_in_epoch, self.steps_per_epoch):
            step = progress.epoch * self.steps_per_epoch + index
            losses.append(self.step(batches[index], step))
            self._report(step)
            if self.control.stop.is_set() and index + 1 < self.steps_per_epoch:
                self._interrupt(index + 1, losses, clock)
        self._finish_epoch(losses)

    def _interrupt(self, step_in_epoch: int, losses: list[Tensor], clock: float) -> None:
        self._add_losses(losses)
        self.progress.step_in_epoch = step_in_epoch
        self.progress.seconds += time.perf_counter() - clock
        self.writer.submit(self._state)
        self.writer.wait()
        raise Interrupted

    def _finish_epoch(self, losses: list[Tensor]) -> None:
        progress, job = self.progress, self.job
        self._add_losses(losses)
        train_loss = progress.loss_sum / self.steps_per_epoch
        if not math.isfinite(train_loss):
            raise NotFiniteError(f"training loss is {train_loss} in epoch {progress.epoch}")
        self._evaluate((progress.epoch + 1) * self.steps_per_epoch, train_loss)
        progress.epoch, progress.step_in_epoch, progress.loss_sum = progress.epoch + 1, 0, 0.0
        self.control.progress(
            {"epoch": progress.epoch, "epochs": job.train.epochs, "val": self.progress.curve[-1]["val"]}
        )

    def _evaluate(self, step: int, train_loss: float | None) -> None:
        """Score the network as it is, keep it if it is the best so far, and add a line to the curve."""
        progress, job = self.progress, self.job
        logits = self.logits("val")
        val = self.scores("val", logits)
        score = score_of(val, job.metric)
        if score is None:
            raise NotFiniteError(
                f"validation {job.metric} is undefined: a class has no validation case, or every one bears its label"
            )
        if job.sign * score > progress.best_score:
            progress.best_score, progress.best_epoch = job.sign * score, progress.epoch
            progress.best_tensors = snapshot(changing_tensors(self.model))
            self._best_logits = logits
        scalars: Scores = {name: value for name, value in val.items() if not isinstance(value, list)}
        progress.curve.append({"epoch": progress.epoch, "step": step, "train_loss": train_loss, "val": scalars})
        progress.epoch_ends.append(time.time())

    def _add_losses(self, losses: list[Tensor]) -> None:
        # One transfer an interval; added one by one in float64, so that where the interval ends changes nothing.
        for value in torch.stack(losses).double().tolist() if losses else ():
            self.progress.loss_sum += value

    def _out_of_patience(self) -> bool:
        patience = self.job.train.patience
        return patience is not None and self.progress.epoch - 1 - self.progress.best_epoch >= patience

    def _report(self, step: int) -> None:
        epoch, epochs = self.progress.epoch, self.job.train.epochs
        self.control.progress({"step": step + 1, "steps": self.total_steps, "epoch": epoch, "epochs": epochs})

    def _state(self) -> State:
        progress = self.progress
        current = snapshot(changing_tensors(self.model))
        if progress.best_epoch == progress.epoch - 1 and progress.step_in_epoch == 0:
            current = progress.best_tensors  # the same values: stored once
        scaler = self.context.scaler
        return {
            "progress": {
                **vars(progress),
                "best_tensors": dict(progress.best_tensors),
                "curve": [*progress.curve],
                "epoch_ends": [*progress.epoch_ends],
            },
            "tensors": current,
            "optimizer": copied_to_cpu(self.context.optimizer.state_dict()),
            "scaler": None if scaler is None else scaler.state_dict(),
            "method": copied_to_cpu(self.method.state()),
            "compiled": self.compiled,
        }

    def _take_up(self, state: State) -> None:
        """Go on from a state, under the hyperparameters that this was assembled for."""
        self.progress = Progress(**state["progress"])
        restore(self.model, state["tensors"])
        optimizer, stored = self.context.optimizer, state["optimizer"]
        changes = self.progress.schedule
        if changes and changes[-1]["epoch"] == self.progress.epoch and self.progress.step_in_epoch == 0:
            # The state's settings are those before the change; at other times they may be what the method made of them.
            stored = {**stored, "param_groups": optimizer.state_dict()["param_groups"]}
        optimizer.load_state_dict(stored)
        if self.context.scaler is not None:
            self.context.scaler.load_state_dict(state["scaler"])
        self.method.load_state(on_device(state["method"], self.device))
        self.folder.write_curve(self.progress.curve)
        if self.progress.schedule:
            self.folder.write_schedule(self.progress.schedule)

    def _change_hyperparameters(self) -> None:
        """Make the change that is due before the next epoch, if one is: the tensors stay, all else is built anew."""
        made = self.progress.schedule
        due = [change.copy() for change in self.job.schedule[len(made) :] if change["epoch"] <= self.progress.epoch]
        if self.progress.step_in_epoch == 0 and due:
            self._rebuild(due[-1]["hyperparameters"], [*made, *due])

    def _rebuild(self, hyperparameters: Hyperparameters, schedule: list[ScheduleLine]) -> None:
        state = self._state()
        state["progress"]["schedule"] = schedule
        self._assemble(hyperparameters)
        self._take_up(state)
        self._fold()
