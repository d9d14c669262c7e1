# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""One process of a test of gathered losses: FOLDER SPLITS RANK."""

import json
import sys
from pathlib import Path

import torch  # noqa: TID253
from torch import distributed  # noqa: TID253
from torch.nn.parallel import DistributedDataParallel  # noqa: TID253

from paperclip.training import gather_features, sigmoid_loss, softmax_loss


class Towers(torch.nn.Module):
    """Two linear towers and a scale."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)

        def random(*shape):
            rows = torch.randn(*shape, generator=generator, dtype=torch.float64)
            return torch.nn.Parameter(rows)

        self.image, self.text = random(5, 8), random(7, 8)
        self.log_scale = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
        self.bias = torch.nn.Parameter(torch.tensor(-1.0, dtype=torch.float64))

    def forward(self, image, text):
        normal = torch.nn.functional.normalize
        # every parameter is handed out by the forward pass, as DDP wants it
        return (
            normal(image @ self.image, dim=1),
            normal(text @ self.text, dim=1),
            self.log_scale + 0,
            self.bias + 0,
        )


def train(kind, mine):
    """Train on a part of each batch; return what must not depend on the part."""
    generator = torch.Generator().manual_seed(2)
    image, text = (
        torch.randn(12, d, generator=generator, dtype=torch.float64) for d in (5, 7)
    )
    groups = torch.tensor([0, 1, 2, 0, 3, 4, 5, 1, 6, 0, -1, -1])
    model = DistributedDataParallel(Towers(), find_unused_parameters=kind == "softmax")
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    losses, gradients = [], None
    for _ in range(5):
        left, right, log_scale, bias = model(image[mine], text[mine])
        left, right, labels = gather_features(left, right, groups[mine])
        if kind == "softmax":
            loss = softmax_loss(left, right, log_scale, labels)
        else:
            loss = sigmoid_loss(left, right, log_scale, bias, labels)
        optimizer.zero_grad()
        loss.backward()
        if gradients is None:
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            gradients = torch.cat([grad.flatten() for grad in gradients]).tolist()
        optimizer.step()
        losses.append(float(loss.detach()))
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    return {
        "kind": kind,
        "losses": losses,
        "gradients": gradients,
        "weights": weights.tolist(),
        "groups": labels.tolist(),
    }


def main(folder, splits, rank):
    """Run all cases in one process group."""
    splits, rank = json.loads(splits), int(rank)
    world = len(splits[0])
    store = distributed.FileStore(str(Path(folder) / "store"), world)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=world)
    results = []
    for sizes in splits:
        mine = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        results += [train(kind, mine) for kind in ("softmax", "sigmoid")]
    sys.stdout.write(json.dumps(results))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
