"""The opponent: the same AEI training step as a plain PyTorch port would write it."""

from typing import Any

import numpy as np
import torch
import torch_networks as networks
from step_scale import Scale, random_batch
from torch.nn import functional as F


class TorchStep:
    """Networks, optimisers and step, with the losses and weights of `configs/aei.py`.

    Args:
      scale: sizes of pictures and networks.
      batch_size: pictures a step.
      dtype: `float32`, or `bfloat16` by autocast.
      compiled: by `torch.compile`; otherwise eager.
      channels_last: the memory format of pictures and kernels.
      device: where it runs, `cpu` or `cuda`.
    """

    def __init__(
        self,
        scale: Scale,
        batch_size: int,
        dtype: str = "float32",
        compiled: bool = False,
        channels_last: bool = False,
        device: str = "cpu",
    ):
        self.scale = scale
        self._device = device
        self._autocast = dtype == "bfloat16"
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self.batch = random_batch(scale, batch_size)
        self._generator_objective = self._plain_generator_objective
        self._discriminator_objective = self._plain_discriminator_objective
        self._embed = self._plain_embed
        if compiled:
            self._generator_objective = torch.compile(self._generator_objective)
            self._discriminator_objective = torch.compile(self._discriminator_objective)
            self._embed = torch.compile(self._embed)

    def start(self) -> None:
        """Draws the weights and makes the optimisers."""
        torch.manual_seed(0)
        scale = self.scale
        self.net = networks.AEINet(
            scale.image_size, scale.encoder, scale.generator, scale.embedding_size
        )
        self.judge = networks.MultiscaleDiscriminator(
            scale.num_scales, scale.judge_width, scale.judge_layers
        )
        self.identity = networks.IRSENet(
            scale.identity_depth, scale.identity_width, scale.embedding_size
        )
        self.identity.eval().requires_grad_(False)
        for module in (self.net, self.judge, self.identity):
            module.to(device=self._device, memory_format=self._format)
        self._start_training()

    def load(self, generator: Any, discriminator: Any, identity: Any) -> None:
        """Takes our variables over (see `torch_networks.load`); training begins anew."""
        networks.load(self.net, generator)
        networks.load(self.judge, discriminator)
        networks.load(self.identity, identity)
        self._start_training()

    def _start_training(self) -> None:
        self._optimizers = [
            torch.optim.Adam(module.parameters(), 4e-4, (0.0, 0.999), fused=True)
            for module in (self.net, self.judge)
        ]
        self._average = [p.detach().clone() for p in self.net.parameters()]
        self._steps = 0

    def run(self) -> dict[str, float]:
        """Makes one step and returns its metrics."""
        source, target = (self._picture(self.batch[name]) for name in ("source", "target"))
        same = torch.from_numpy(self.batch["same"]).to(self._device)
        with torch.autocast(self._device, torch.bfloat16, enabled=self._autocast):
            with torch.no_grad():
                embeddings = self._embed(torch.cat([source, target]))
            identity, own_identity = embeddings.chunk(2)
            self.judge.requires_grad_(False)
            swap, embedding, terms = self._generator_objective(target, identity, same)
        for optimizer in self._optimizers:
            optimizer.zero_grad()
        terms["generator_loss"].backward()
        self.judge.requires_grad_(True)
        swap = swap.detach()
        with torch.autocast(self._device, torch.bfloat16, enabled=self._autocast):
            more = self._discriminator_objective(target, swap)
        more["discriminator_loss"].backward()
        norms = {
            f"{name}_gradient_norm": torch.nn.utils.get_total_norm(
                [p.grad for p in module.parameters()]
            )
            for name, module in (("generator", self.net), ("discriminator", self.judge))
        }
        for optimizer in self._optimizers:
            optimizer.step()
        self._update_average()
        with torch.no_grad():
            cosines = {
                "source_cosine": _mean_where(1 - same, (embedding * identity).sum(1)),
                "target_cosine": _mean_where(1 - same, (embedding * own_identity).sum(1)),
            }
        metrics = {**terms, **more, **norms, **cosines}
        return {name: float(value.detach()) for name, value in metrics.items()}

    def _picture(self, pictures: np.ndarray) -> torch.Tensor:
        picture = torch.from_numpy(pictures).to(self._device)
        picture = picture.permute(0, 3, 1, 2).float() / 127.5 - 1
        return picture.contiguous(memory_format=self._format)

    def _plain_embed(self, pictures: torch.Tensor) -> torch.Tensor:
        embedding = self.identity(networks.crop_for_identity(pictures))
        return F.normalize(embedding.float(), dim=1)

    def _plain_generator_objective(self, target, identity, same):
        swap, attributes = self.net(target, identity)
        # Running statistics are the targets' alone.
        swap_attributes = self.net.encoder(swap, track=False)
        embedding = self._plain_embed(swap)
        scores = self.judge(swap)
        attribute = sum(
            (a.float() - b.float()).square().mean()
            for a, b in zip(swap_attributes, attributes, strict=True)
        )
        error = (swap - target).square().mean((1, 2, 3))
        terms = {
            "adversarial_loss": -sum(s.mean() for s in scores) / len(scores),
            "attribute_loss": 0.5 * attribute,
            "identity_loss": (1 - (embedding * identity).sum(1)).mean(),
            "reconstruction_loss": 0.5 * _mean_where(same, error),
        }
        weights = {"adversarial": 1.0, "attribute": 10.0, "identity": 5.0, "reconstruction": 10.0}
        terms["generator_loss"] = sum(w * terms[f"{name}_loss"] for name, w in weights.items())
        return swap, embedding, terms

    def _plain_discriminator_objective(self, real, fake):
        real_scores, fake_scores = self.judge(real), self.judge(fake)
        scales = [
            F.relu(1 - r).mean() + F.relu(1 + f).mean()
            for r, f in zip(real_scores, fake_scores, strict=True)
        ]
        return {
            "discriminator_loss": sum(scales) / len(scales),
            "real_accuracy": _share(real_scores, 1),
            "fake_accuracy": _share(fake_scores, -1),
        }

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(0.999, (1 + self._steps) / (10 + self._steps))
        torch._foreach_lerp_(self._average, list(self.net.parameters()), 1 - decay)
        self._steps += 1


def _mean_where(mask: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return (mask * values).sum() / mask.sum().clamp(min=1e-6)


def _share(scores: tuple[torch.Tensor, ...], sign: int) -> torch.Tensor:
    return sum((sign * score > 0).float().mean() for score in scores) / len(scores)
