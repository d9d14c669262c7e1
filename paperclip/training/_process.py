# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""One process of a run: its number, its device, and the others."""

import inspect
import os
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from paperclip.utils.optional import import_optional

__all__ = ["Process", "find_process"]


@dataclass(frozen=True)
class Process:
    """
    One of the processes that train a model together.

    Parameters
    ----------
    rank, world : int
        Number of this process, and of all of them.
    device : `torch.device`
        Where it works.
    """

    rank: int
    world: int
    device: Any

    @property
    def is_main(self):
        """Whether this is the process that writes files."""
        return self.rank == 0

    def wrap(self, model):
        """Return what the forward pass goes through; gradients are averaged."""
        if self.world == 1:
            return model.towers
        from torch.nn.parallel import DistributedDataParallel

        # their gradients come from the loss of the whole batch, alike everywhere
        inner = [n for n, _ in model.towers.named_parameters() if "logit_" in n]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(
            model.towers, inner
        )
        text = model.config["model_cfg"]["text_cfg"]
        known = inspect.signature(DistributedDataParallel).parameters
        new = "forward_sync_buffers"  # from torch 2.14 on
        return DistributedDataParallel(
            model.towers,
            device_ids=[self.device] if self.device.type == "cuda" else None,
            **{new if new in known else "broadcast_buffers": False},
            find_unused_parameters=bool(text.get("hf_model_name")),
        )

    def no_sync(self, towers):
        """Return a context in which gradients stay in this process."""
        return nullcontext() if self.world == 1 else towers.no_sync()

    def agree(self, *numbers):
        """Return the numbers of the main process."""
        if self.world == 1:
            return numbers
        import torch
        from torch import distributed

        tensor = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        distributed.broadcast(tensor, 0)
        return tuple(tensor.tolist())


def find_process(device):
    """
    Find out which process this is.

    Parameters
    ----------
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps". With several processes each one
        has a CUDA device of its own.

    Returns
    -------
    process : Process
        Alone, unless torch.distributed is set up or the program was started by
        ``torchrun`` or ``accelerate launch``.

    Raises
    ------
    InvalidQueryError
        If there is no such device.
    MissingDependencyError
        If there are several processes and accelerate is not installed.
    """
    from torch import distributed

    from paperclip.models.towers import choose_device

    ready = distributed.is_available() and distributed.is_initialized()
    if ready or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        accelerate = import_optional(
            "accelerate", extra="train", purpose="training with several processes"
        )
        state = accelerate.PartialState(cpu=device == "cpu")
        return Process(state.process_index, state.num_processes, state.device)
    return Process(0, 1, choose_device(device))
