"""A training loop as short as accelerate allows, to be started with a configuration file; prints one line of JSON.

accelerate launch --config_file zero2.yaml -m minimind_lite.course.chapters.scale.launched

All files lead to the same losses: what is sharded, and where, does not change what is computed.
"""

import json

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.utils import DistributedType

from .experiments import EXAMPLES, LONGEST, ModelWithMeanLoss, double_batch, say_where, tiny_model


def main(steps: int = 3) -> None:
    """Train the tiny model on one batch, each process on its share of it."""
    say_where(0.9 * LONGEST)  # just before `launch` gives up
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    accelerator = Accelerator(kwargs_handlers=[InitProcessGroupKwargs(backend=backend)])
    rank, ranks = accelerator.process_index, accelerator.num_processes
    if accelerator.distributed_type == DistributedType.DEEPSPEED:  # it wants to know before it sees any data
        sizes = accelerator.state.deepspeed_plugin.deepspeed_config
        sizes["train_micro_batch_size_per_gpu"] = EXAMPLES // ranks
    model = ModelWithMeanLoss(tiny_model())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model, optimizer = accelerator.prepare(model, optimizer)
    ids, targets = (one[rank::ranks].to(accelerator.device) for one in double_batch(equal=True))
    losses = []
    for _ in range(steps):
        loss = model(ids, targets)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(accelerator.reduce(loss.detach(), "mean")))
    kind = str(accelerator.distributed_type.value)
    accelerator.print(json.dumps({"kind": kind, "processes": ranks, "losses": losses}))
    accelerator.wait_for_everyone()  # a rank that leaves the group early can keep the other from ending
    # DDP holds on to the group, whose threads are to end while Python still lives.
    model, optimizer = accelerator.free_memory(model, optimizer)
    accelerator.end_training()


if __name__ == "__main__":
    main()
