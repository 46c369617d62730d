"""Training HEAR-Net on the heuristic errors of a frozen AEI-Net (arXiv 1912.13457, 3.2)."""

import functools
import logging
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from faceshifter_jax import losses
from faceshifter_jax.errors import UserError
from faceshifter_jax.networks.build import build_network, compute_dtype
from faceshifter_jax.networks.generator import generator_from
from faceshifter_jax.networks.identity import check_identity, identity_network_from, unit_length
from faceshifter_jax.networks.network import Network, Part, Weights, plain
from faceshifter_jax.networks.pixels import to_unit_range
from faceshifter_jax.tasks.health import Health
from faceshifter_jax.tasks.loss_checks import check_answers, check_loss_weights
from faceshifter_jax.tasks.optimizer import build_optimizer
from faceshifter_jax.tasks.step import (
    accumulate_steps,
    apply_gradients,
    gradient_norms,
    mean_over_devices,
    mean_over_micro_batches,
    weigh_losses,
)
from faceshifter_jax.tasks.swap_metrics import check_of_copying, swap_health, swap_metrics
from faceshifter_jax.tasks.swap_rows import row_weights
from faceshifter_jax.tasks.task import Batch, Frozen, Metrics, Step, TrainState

_logger = logging.getLogger(__name__)
_NO_AEI = (
    "config.aei.weights is empty: name the workdir of a training run with configs/aei.py, or a "
    "file that `faceshifter convert` made of a generator"
)
_NO_IDENTITY = (
    "config.identity.weights is empty: name the identity network that the AEI-Net was trained "
    "with, a workdir or a file that `faceshifter convert` made"
)

_NOTHING_OCCLUDED = (
    "config.loss.occluder learns from synthetic occlusions, and config.data.occlusion_share is 0: "
    "set the loss to 0 or the share above it"
)


class HEARTask:
    """Learns to restore in swaps what AEI-Net lost of their targets.

    Player `hear` (HEAR-Net), whose weights are averaged. Frozen: `aei`, the AEI-Net, and
    `identity`, the network that gives z_id and judges the result's identity.
    """

    name = "hear"
    batch_kind = "pairs"

    def __init__(self, config: Mapping[str, Any]):
        check_loss_weights(config["loss"])
        check_answers(config)
        if config["loss"]["occluder"] > 0 and not config["data"]["occlusion_share"]:
            raise UserError(_NOTHING_OCCLUDED)
        self._config = config
        self._weights = config["loss"]
        self._dtype = compute_dtype(config)
        self._accumulate_steps = accumulate_steps(config)
        self._health = self._build_health()
        self._optimizers = {"hear": build_optimizer(config["optimizer"], config["num_steps"])}

    def networks(self) -> Mapping[str, Part]:
        settings = plain(self._config["model"])
        network = Network("HEARNet", settings, {}, image_size=self._config["image_size"])
        return {"hear": Part(network, "hear", settings={"model": settings})}

    def _hear_net(self, axis_name: str | None = None) -> Any:
        network = self.networks()["hear"].network
        return build_network(network, "model", dtype=self._dtype, axis_name=axis_name)

    def init(self, rng: jax.Array) -> TrainState:
        size = self._config["image_size"]
        picture = jnp.zeros((1, size, size, 3))
        variables = self._hear_net().init(rng, picture, picture, picture)
        params, stats = ({"hear": variables[part]} for part in ("params", "batch_stats"))
        return TrainState.initial(params, stats, self._optimizers, "hear")

    def make_step(self, axis_name: str | None) -> Step:
        hear_net = self._hear_net(axis_name)

        def objective(params, batch_stats, frozen, inputs):
            result, updated = hear_net.apply(
                {"params": params, "batch_stats": batch_stats},
                inputs["swap"],
                inputs["error"],
                inputs["target"],
                train=True,
                mutable=["batch_stats"],
            )
            embedding = frozen["identity"].embed(result)
            loss, metrics = weigh_losses(self._losses(result, embedding, inputs), self._weights)
            metrics |= {"loss": loss} | swap_metrics(
                embedding, inputs["identity"], inputs["own_identity"], inputs["swap_weights"]
            )
            return loss, (updated["batch_stats"], metrics)

        def compute(state, frozen, rows):
            inputs = {**rows, **_first_stage(frozen, rows)}
            if self._weights["answer"] > 0:
                inputs["answer"] = to_unit_range(rows["answer"])
            if self._weights["occluder"] > 0:
                inputs["occluder"] = rows["occluder"].astype(jnp.float32) / 255
            return jax.grad(objective, has_aux=True)(
                state.params["hear"], state.batch_stats["hear"], frozen, inputs
            )

        def step(state: TrainState, frozen: Frozen, batch: Batch) -> tuple[TrainState, Metrics]:
            weights, swap_share = row_weights(batch, axis_name)
            grads, (batch_stats, metrics) = mean_over_micro_batches(
                functools.partial(compute, state, frozen),
                {**batch, **weights},
                self._accumulate_steps,
            )
            grads, metrics = mean_over_devices((grads, metrics), axis_name)
            grads, stats = {"hear": grads}, {"hear": batch_stats}
            metrics |= {"swap_share": swap_share} | gradient_norms(grads)
            decay = self._config["ema_decay"]
            return apply_gradients(state, grads, stats, self._optimizers, decay), metrics

        return step

    def _losses(
        self, result: jax.Array, embedding: jax.Array, inputs: Mapping[str, jax.Array]
    ) -> dict[str, jax.Array]:
        """Equations 11 to 13, and those of occluders and right answers, each (B,), keyed like
        `config.loss`."""
        target = inputs["target"]
        reconstruction = losses.reconstruction_loss(result, target)
        found = {
            "identity": losses.identity_loss(embedding, inputs["identity"]),
            "change": losses.change_loss(result, inputs["swap"]),
            "reconstruction": reconstruction * inputs["same_weights"],
        }
        if self._weights["occluder"] > 0:
            found["occluder"] = losses.occluder_loss(result, target, inputs["occluder"])
        if self._weights["answer"] > 0:
            of_answer = losses.answer_loss(
                result, inputs["answer"], target, **self._config["answer"]
            )
            found["answer"] = of_answer * inputs["answer_weights"]
        return found

    def predict(self, state: TrainState, frozen: Frozen, batch: Batch) -> dict[str, jax.Array]:
        """Columns `source`, `target`, `AEI-Net`, the heuristic `error` (grey: none), `HEAR-Net`."""
        inputs = _first_stage(frozen, batch)
        variables = {
            "params": state.ema_params["hear"],
            "batch_stats": state.batch_stats["hear"],
        }
        result = self._hear_net().apply(
            variables, inputs["swap"], inputs["error"], inputs["target"]
        )
        return {
            "source": to_unit_range(batch["source"]),
            "target": inputs["target"],
            "AEI-Net": inputs["swap"],
            "error": jnp.clip(inputs["error"], -1, 1),
            "HEAR-Net": result,
        }

    def health(self) -> Health:
        return self._health

    def _build_health(self) -> Health:
        loss, data = self._weights, self._config["data"]
        copying = check_of_copying(
            self._config,
            f"raise config.loss.identity (now {loss['identity']:g}) or config.loss.change "
            f"({loss['change']:g})",
            f"lower config.loss.reconstruction ({loss['reconstruction']:g}), "
            f"config.loss.occluder ({loss['occluder']:g}) or "
            f"config.data.same_picture_share ({data['same_picture_share']:g})",
        )
        return swap_health(self._config, copying)

    def frozen_sources(self) -> dict[str, str]:
        if not self._config["aei"]["weights"]:
            raise UserError(_NO_AEI)
        if not self._config["identity"]["weights"]:
            raise UserError(_NO_IDENTITY)
        return {
            "aei": self._config["aei"]["weights"],
            "identity": self._config["identity"]["weights"],
        }

    def load_frozen(self, sources: Mapping[str, Weights]) -> Frozen:
        generator = generator_from(sources["aei"], self._dtype)
        network = sources["aei"].networks["generator"]
        identity = identity_network_from(sources["identity"], self._dtype, network.feeding.view)
        embedding_size = sources["identity"].networks["identity"].embedding_size
        alignment = self._config["data"].get("alignment", "arcface")
        if network.feeding.alignment != alignment:
            raise UserError(
                f"{sources['aei'].path} was trained on faces aligned by "
                f"{network.feeding.alignment}: prepare the photos with --alignment "
                f"{network.feeding.alignment} and set "
                f"--config.data.alignment={network.feeding.alignment}"
            )
        warnings = check_identity(
            network, sources["aei"].path, sources["identity"], "config.identity.weights"
        )
        for warning in warnings:
            _logger.warning(warning)
        if network.image_size != self._config["image_size"]:
            raise UserError(
                f"{sources['aei'].path} makes pictures of {network.image_size} pixels: set "
                f"--config.image_size={network.image_size}"
            )
        if network.embedding_size != embedding_size:
            raise UserError(
                f"{sources['aei'].path} takes embeddings of {network.embedding_size} numbers, "
                f"{sources['identity'].path} gives {embedding_size}: name the identity network "
                "that the AEI-Net was trained with"
            )
        trained_with = sources["aei"].frozen.get("identity")
        if trained_with is not None and trained_with["sha256"] != sources["identity"].sha256:
            raise UserError(
                f"{sources['identity'].path} does not hold the identity network that "
                f"{sources['aei'].path} was trained with: name that one, which was at "
                f"{trained_with['path']}"
            )
        return {"aei": generator, "identity": identity}


def _first_stage(frozen: Frozen, batch: Batch) -> dict[str, jax.Array]:
    """The inputs of HEAR-Net: the swap, the heuristic error, and what the losses need."""
    target = to_unit_range(batch["target"])
    identity = frozen["identity"].features(to_unit_range(batch["source"]))
    own_identity = frozen["identity"].features(target)
    return {
        "target": target,
        "identity": unit_length(identity),
        "own_identity": unit_length(own_identity),
        "swap": frozen["aei"].swap(target, identity),
        "error": frozen["aei"].heuristic_error(target, own_identity),
    }
