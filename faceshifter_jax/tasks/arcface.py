"""Training an identity network with the additive angular margin loss (arXiv 1801.07698)."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from faceshifter_jax import losses
from faceshifter_jax.errors import UserError
from faceshifter_jax.networks.build import build_network, compute_dtype
from faceshifter_jax.networks.identity import crop_for_identity, unit_length
from faceshifter_jax.networks.network import Network, Part, Weights, plain
from faceshifter_jax.networks.pixels import to_unit_range
from faceshifter_jax.networks.trained import identity_input
from faceshifter_jax.networks.views import random_views
from faceshifter_jax.tasks.health import Health
from faceshifter_jax.tasks.loss_checks import check_loss_weights
from faceshifter_jax.tasks.optimizer import build_optimizer
from faceshifter_jax.tasks.step import (
    accumulate_steps,
    apply_gradients,
    gradient_norms,
    mean_over_devices,
    mean_over_micro_batches,
)
from faceshifter_jax.tasks.task import Batch, Frozen, Metrics, Step, TrainState

CODE_SIZE = 103
"""Numbers that make a rendered person, see `synthetic.identity_code`."""


class ArcFaceTask:
    """Classifies the identities of a dataset; only the embedding network is kept.

    Player `classifier`: parameters `network` (an IResNet), `centres`, one direction for each
    identity, (num_classes, embedding_size), and with `loss.code` `reader`, a linear map from the
    embedding to the numbers that describe a rendered person. Thousands of people have too few
    pictures each to find their centres from in a short training run; a code has the same meaning
    for all of them.
    """

    name = "arcface"
    batch_kind = "identities"

    def __init__(self, config: Mapping[str, Any]):
        self._model = config["model"]
        self._input = identity_input(
            self._model["input_size"], config["data"].get("alignment", "arcface")
        )
        self._loss = config["loss"]
        self._ema_decay = config["ema_decay"]
        self._views = config["data"].get("identity_views", 0) > 0
        self._dtype = compute_dtype(config)
        self._accumulate_steps = accumulate_steps(config)
        self._optimizers = {"classifier": build_optimizer(config["optimizer"], config["num_steps"])}
        _check_losses(config)
        if self._model["num_classes"] < 2:
            raise UserError("an identity network needs a dataset of at least two identities")

    def networks(self) -> Mapping[str, Part]:
        settings = plain(self._model)
        del settings["input_size"], settings["num_classes"]
        network = Network(
            "IResNet",
            settings,
            {},
            embedding_size=self._model["embedding_size"],
            input=self._input,
        )
        return {"identity": Part(network, "classifier", "network", {"model": settings})}

    def _network(self, axis_name: str | None = None) -> Any:
        network = self.networks()["identity"].network
        return build_network(network, "model", dtype=self._dtype, axis_name=axis_name)

    def init(self, rng: jax.Array) -> TrainState:
        size = self._model["input_size"]
        network_key, centres_key = jax.random.split(rng)
        variables = self._network().init(network_key, jnp.zeros((1, size, size, 3)))
        shape = (self._model["num_classes"], self._model["embedding_size"])
        centres = 0.01 * jax.random.normal(centres_key, shape, jnp.float32)
        params = {"classifier": {"network": variables["params"], "centres": centres}}
        if self._loss["code"] > 0:
            shape = (self._model["embedding_size"], CODE_SIZE)
            params["classifier"]["reader"] = jnp.zeros(shape, jnp.float32)
        stats = {"classifier": variables["batch_stats"]}
        return TrainState.initial(params, stats, self._optimizers, "classifier")

    def make_step(self, axis_name: str | None) -> Step:
        network = self._network(axis_name)

        def objective(params, batch_stats, crops, rows):
            embedding, updated = network.apply(
                {"params": params["network"], "batch_stats": batch_stats},
                crops,
                train=True,
                mutable=["batch_stats"],
            )
            embedding = unit_length(embedding)
            cosines = embedding @ unit_length(params["centres"]).T
            metrics = {"accuracy": jnp.mean(jnp.argmax(cosines, 1) == rows["label"])}
            loss = 0.0
            if self._loss["classes"] > 0:
                logits = losses.angular_margin_logits(
                    cosines, rows["label"], margin=self._loss["margin"], scale=self._loss["scale"]
                )
                loss = self._loss["classes"] * losses.cross_entropy_loss(logits, rows["label"])
                loss = loss.mean()
            if self._loss["code"] > 0:
                # Numbers of about 1, as the code's are.
                read = embedding * embedding.shape[-1] ** 0.5 @ params["reader"]
                metrics["code_loss"] = losses.code_loss(read, rows["code"]).mean()
                loss = loss + self._loss["code"] * metrics["code_loss"]
            return loss, (updated["batch_stats"], {"loss": loss} | metrics)

        def step(state: TrainState, frozen: Frozen, batch: Batch) -> tuple[TrainState, Metrics]:
            del frozen
            gradient = jax.grad(objective, has_aux=True)

            def compute(rows):
                crops = self._crop(rows)
                params, batch_stats = (
                    tree["classifier"] for tree in (state.params, state.batch_stats)
                )
                return gradient(params, batch_stats, crops, rows)

            computed = mean_over_micro_batches(compute, batch, self._accumulate_steps)
            grads, (batch_stats, metrics) = computed
            grads, metrics = mean_over_devices((grads, metrics), axis_name)
            grads, stats = {"classifier": grads}, {"classifier": batch_stats}
            metrics |= gradient_norms(grads)
            return apply_gradients(state, grads, stats, self._optimizers, self._ema_decay), metrics

        return step

    def _crop(self, rows: Batch) -> jax.Array:
        pictures, size = to_unit_range(rows["image"]), self._input.size
        if self._views:
            return random_views(pictures, rows["view_seed"], size, self._input.view.region)
        return crop_for_identity(pictures, size, self._input.view)

    def predict(self, state: TrainState, frozen: Frozen, batch: Batch) -> dict[str, jax.Array]:
        """Columns `picture` and `nearest`: of the other pictures, the one of closest identity."""
        del frozen
        pictures = to_unit_range(batch["image"])
        variables = {
            "params": state.ema_params["classifier"]["network"],
            "batch_stats": state.batch_stats["classifier"],
        }
        crops = crop_for_identity(pictures, self._input.size, self._input.view)
        embedding = unit_length(self._network().apply(variables, crops))
        others = embedding @ embedding.T - 2 * jnp.eye(len(pictures))
        return {"picture": pictures, "nearest": pictures[jnp.argmax(others, 1)]}

    def health(self) -> Health:
        shown = {"accuracy": "accuracy"} if self._loss["classes"] > 0 else {}
        return Health(shown=shown | ({"code_loss": "code"} if self._loss["code"] > 0 else {}))

    def frozen_sources(self) -> dict[str, str]:
        return {}

    def load_frozen(self, sources: Mapping[str, Weights]) -> Frozen:
        del sources
        return {}


def _check_losses(config: Mapping[str, Any]) -> None:
    """Checks the weights of the two losses, and that the data feed the second.

    Raises:
      UserError: a negative weight, no loss at all, or codes that only one of both sides wants.
    """
    loss = config["loss"]
    check_loss_weights({name: loss[name] for name in ("classes", "code")})
    if loss["classes"] == 0 and loss["code"] == 0:
        raise UserError("config.loss.classes and config.loss.code are both 0: nothing is learned")
    if (loss["code"] > 0) != bool(config["data"].get("identity_codes", False)):
        raise UserError(
            f"config.loss.code is {loss['code']:g} and config.data.identity_codes is "
            f"{config['data'].get('identity_codes', False)}: set both or neither; codes are known "
            "of rendered faces alone"
        )
