"""One batch for boxes that are moved by separate threads: a force call waits for all the others.

Each box has a force function of its own (:class:`Member`), as if it were alone. A call waits until
every box that is present has asked; then :class:`~bjerrum.potential.batched.BatchedModel` evaluates
all of them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms

from bjerrum.errors import ExternalError
from bjerrum.estimate import Evaluation, FloatArray
from bjerrum.potential.batched import BatchedModel
from bjerrum.potential.model import Model


class Abandoned(Exception):
    """Told to boxes that wait while another one has failed."""


class SharedBatch:
    """Boxes whose forces are found together; ask through their :class:`Member`.

    Raises ModelError for a committee, or an element that the model does not know.
    """

    def __init__(self, model: Model, boxes: Sequence[Atoms]) -> None:
        self._model = model
        self._systems = [(list(box.symbols), box.cell.array) for box in boxes]
        self._present = list(range(len(boxes)))
        self._batched = BatchedModel(model, self._systems)
        self._asked: dict[int, FloatArray] = {}
        self._answers: dict[int, Evaluation] = {}
        self._condition = threading.Condition()
        self.failure: BaseException | None = None
        """Of the first box that failed, or of an evaluation."""

    def member(self, slot: int) -> Member:
        """Return the force function of a box."""
        return Member(self, slot)

    def ask(self, slot: int, positions: FloatArray) -> Evaluation:
        """Wait for all others that are present, then return energy and forces of one's own box."""
        with self._condition:
            self._asked[slot] = np.array(positions, dtype=np.float64)
            self._answer_if_complete()
            self._condition.wait_for(lambda: slot in self._answers or self.failure is not None)
            if slot not in self._answers:
                raise Abandoned from self.failure
            return self._answers.pop(slot)

    def leave(self, slot: int) -> None:
        """Go on without a box; it has ended."""
        with self._condition:
            self._present.remove(slot)
            if self._present and self.failure is None:
                systems = [self._systems[k] for k in self._present]
                self._batched = BatchedModel(self._model, systems)
                self._answer_if_complete()

    def abandon(self, failure: BaseException) -> None:
        """End the waiting of all."""
        with self._condition:
            self.failure = self.failure or failure
            self._condition.notify_all()

    def reset(self, slot: int) -> None:
        """Search neighbours of a box anew at the next call."""
        with self._condition:
            self._batched.reset(self._present.index(slot))

    def _answer_if_complete(self) -> None:
        if len(self._asked) < len(self._present) or self.failure is not None:
            return
        try:
            self._answers |= self._evaluate()
        except BaseException as error:
            self.failure = error
        self._asked = {}
        self._condition.notify_all()

    def _evaluate(self) -> dict[int, Evaluation]:
        flat = np.concatenate([self._asked[slot] for slot in self._present])
        positions = torch.from_numpy(flat).to(self._batched.device)
        try:
            energies, forces = self._batched(positions)
        except torch.OutOfMemoryError as error:
            raise ExternalError(
                f"dynamics: {len(self._present)} boxes of {len(flat)} atoms in all do not fit into "
                "the memory of the device; run fewer at once (the same command without some)"
            ) from error
        of_all, starts = forces.cpu().numpy(), self._batched.starts
        return {
            slot: Evaluation(float(energy), of_all[starts[k] : starts[k + 1]].copy())
            for k, (slot, energy) in enumerate(zip(self._present, energies.tolist(), strict=True))
        }


class Member:
    """The force function of one box of a batch."""

    def __init__(self, batch: SharedBatch, slot: int) -> None:
        self._batch, self._slot = batch, slot

    def reset(self) -> None:
        """Search neighbours anew at the next call."""
        self._batch.reset(self._slot)

    def __call__(self, positions: FloatArray) -> Evaluation:
        """Return energy and forces; waits for the other boxes of the batch."""
        return self._batch.ask(self._slot, positions)
