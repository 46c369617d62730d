"""Training AEI-Net (arXiv 1912.13457, sections 3.1 and 4)."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from faceshifter_jax import losses
from faceshifter_jax.errors import UserError
from faceshifter_jax.generator import Generator, level_masks
from faceshifter_jax.models import AEIOutput
from faceshifter_jax.tasks.arcface import identity_network_from
from faceshifter_jax.tasks.base import Batch, Frozen, Metrics, Step, Weights, name_networks
from faceshifter_jax.tasks.networks import (
    build_aei_net,
    build_discriminator,
    build_network,
    build_optimizer,
    check_fits,
    compute_dtype,
)
from faceshifter_jax.tasks.state import TrainState
from faceshifter_jax.tasks.step import average_weights, mean_over_devices, to_unit_range
from faceshifter_jax.tasks.warm_start import adopt, check_same_network, find_networks

_NO_WEIGHTS = (
    "config.identity.weights is empty: name a file that `faceshifter convert` made of a published "
    "identity network, or the workdir of one trained by "
    "`python train.py --config configs/arcface.py --workdir runs/arcface "
    "--config.data.path=DATA` on folders with one identity each"
)


def generator_from(weights: Weights) -> Generator:
    """Turns a trained AEI-Net into a frozen function of pictures.

    Raises:
      UserError: the weights hold none, or do not fit it.
    """
    network = weights.networks.get("generator")
    if network is None:
        raise UserError(
            f"{weights.path} holds {name_networks(weights)}, not an AEI-Net: name the "
            "workdir of a training with configs/aei.py, or a file that `faceshifter convert` made "
            "of a generator"
        )
    if network.image_size is None:
        raise UserError(f"{weights.path} does not say for which size of pictures it was made")
    module = build_network(network)
    picture = jnp.zeros((1, network.image_size, network.image_size, 3))
    embedding = jnp.zeros((1, network.embedding_size))
    check_fits(module, network.variables, picture, embedding, path=weights.path)
    return Generator(network.variables, module)


class AEITask:
    """Generator and discriminator, updated at the same time from one forward pass.

    Players `generator` (AEI-Net) and `discriminator`; the generator's weights are averaged.
    Frozen: `identity`, the network that gives z_id and judges the swap's identity.
    """

    name = "aei"
    batch_kind = "pairs"

    def __init__(self, config: Mapping[str, Any]):
        self._config = config
        self._weights = config["loss"]
        self._dtype = compute_dtype(config)
        steps = config["num_steps"]
        self._optimizers = {
            "generator": build_optimizer(config["optimizer"]["generator"], steps),
            "discriminator": build_optimizer(config["optimizer"]["discriminator"], steps),
        }
        self._discriminator = build_discriminator(config["discriminator"], dtype=self._dtype)

    def _aei_net(self, axis_name: str | None = None):
        return build_aei_net(self._config["model"], dtype=self._dtype, axis_name=axis_name)

    def init(self, rng: jax.Array) -> TrainState:
        size = self._config["image_size"]
        picture = jnp.zeros((1, size, size, 3))
        identity = jnp.zeros((1, self._config["identity"]["embedding_size"]))
        generator_key, discriminator_key = jax.random.split(rng)
        generator = self._aei_net().init(generator_key, picture, identity)
        discriminator = self._discriminator.init(discriminator_key, picture)
        params = {"generator": generator["params"], "discriminator": discriminator["params"]}
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats={"generator": generator["batch_stats"]},
            opt_state={name: self._optimizers[name].init(params[name]) for name in params},
            ema_params={"generator": jax.tree.map(jnp.copy, params["generator"])},
        )

    def make_step(self, axis_name: str | None) -> Step:
        aei_net = self._aei_net(axis_name)

        def generator_objective(params, state, frozen, batch):
            variables = {"params": params, "batch_stats": state.batch_stats["generator"]}
            identity = frozen["identity"].embed(batch["source"])
            output, updated = aei_net.apply(
                variables, batch["target"], identity, train=True, mutable=["batch_stats"]
            )
            # The swap's own statistics normalise its attributes, but only the target's are
            # kept: at evaluation the encoder sees nothing but targets.
            swap_attributes, _ = aei_net.apply(
                variables, output.image, train=True, mutable=["batch_stats"], method="encode"
            )
            terms = self._generator_terms(state, frozen, batch, identity, output, swap_attributes)
            terms = {name: jnp.mean(term) for name, term in terms.items()}
            loss = sum(self._weights[name] * term for name, term in terms.items())
            metrics = {"generator_loss": loss} | {f"{name}_loss": terms[name] for name in terms}
            return loss, (output.image, updated["batch_stats"], metrics)

        def discriminator_objective(params, real, fake):
            real_scores = self._discriminator.apply({"params": params}, real)
            fake_scores = self._discriminator.apply({"params": params}, fake)
            loss = losses.hinge_discriminator_loss(real_scores, fake_scores).mean()
            metrics = {
                "discriminator_loss": loss,
                "real_accuracy": _share(lambda score: score > 0, real_scores),
                "fake_accuracy": _share(lambda score: score < 0, fake_scores),
            }
            return loss, metrics

        def step(state: TrainState, frozen: Frozen, batch: Batch) -> tuple[TrainState, Metrics]:
            batch = self._prepare(batch, axis_name)
            generator_grads, (swap, batch_stats, metrics) = jax.grad(
                generator_objective, has_aux=True
            )(state.params["generator"], state, frozen, batch)
            discriminator_grads, more = jax.grad(discriminator_objective, has_aux=True)(
                state.params["discriminator"], batch["target"], swap
            )
            grads = {"generator": generator_grads, "discriminator": discriminator_grads}
            grads, metrics = mean_over_devices((grads, metrics | more), axis_name)
            return self._update(state, grads, batch_stats), metrics

        return step

    def _prepare(self, batch: Batch, axis_name: str | None) -> Batch:
        share = mean_over_devices(jnp.mean(batch["same"]), axis_name)
        return {
            "source": to_unit_range(batch["source"]),
            "target": to_unit_range(batch["target"]),
            "same_weights": losses.masked_mean_weights(batch["same"], share),
        }

    def _generator_terms(
        self,
        state: TrainState,
        frozen: Frozen,
        batch: Batch,
        identity: jax.Array,
        output: AEIOutput,
        swap_attributes: tuple[jax.Array, ...],
    ) -> dict[str, jax.Array]:
        """Equations 6 to 9, each (B,), keyed like the weights in `config.loss`."""
        judge = {"params": state.params["discriminator"]}
        scores = self._discriminator.apply(judge, output.image)
        reconstruction = losses.reconstruction_loss(output.image, batch["target"])
        return {
            "adversarial": losses.hinge_generator_loss(scores),
            "attribute": losses.attribute_loss(swap_attributes, output.attributes),
            "identity": losses.identity_loss(frozen["identity"].embed(output.image), identity),
            "reconstruction": reconstruction * batch["same_weights"],
        }

    def _update(self, state: TrainState, grads: Mapping[str, Any], batch_stats: Any) -> TrainState:
        params, opt_state = {}, {}
        for name, optimizer in self._optimizers.items():
            updates, opt_state[name] = optimizer.update(
                grads[name], state.opt_state[name], state.params[name]
            )
            params[name] = optax.apply_updates(state.params[name], updates)
        average = average_weights(
            state.ema_params["generator"],
            params["generator"],
            state.step,
            self._config["ema_decay"],
        )
        return TrainState(
            step=state.step + 1,
            params=params,
            batch_stats={"generator": batch_stats},
            opt_state=opt_state,
            ema_params={"generator": average},
        )

    def predict(self, state: TrainState, frozen: Frozen, batch: Batch) -> dict[str, jax.Array]:
        """Columns `source`, `target`, `swap`, and each level's mask (white: identity)."""
        source, target = to_unit_range(batch["source"]), to_unit_range(batch["target"])
        variables = {
            "params": state.ema_params["generator"],
            "batch_stats": state.batch_stats["generator"],
        }
        output = self._aei_net().apply(variables, target, frozen["identity"].embed(source))
        columns = {"source": source, "target": target, "swap": output.image}
        for size, mask in level_masks(output.masks).items():
            columns[f"mask {size}"] = _mask_picture(mask, target.shape)
        return columns

    def check_start(self, sources: Sequence[Weights]) -> tuple[dict[str, Any], list[str]]:
        found, lines = find_networks(sources, ("generator", "discriminator"))
        wanted = jax.eval_shape(self.init, jax.random.key(0))
        # The generator's first map has a size of its own for every size of pictures.
        described = {
            "generator": (
                "AEINet",
                {
                    "model": self._config["model"],
                    "identity": {"embedding_size": self._config["identity"]["embedding_size"]},
                    "": {"image_size": self._config["image_size"]},
                },
            ),
            "discriminator": (
                "MultiscaleDiscriminator",
                {"discriminator": self._config["discriminator"]},
            ),
        }
        for role, (network, path) in found.items():
            variables = {
                "params": wanted.params[role],
                "batch_stats": wanted.batch_stats.get(role, {}),
            }
            check_same_network(network, path, variables, *described[role])
        return {role: network.variables for role, (network, _) in found.items()}, lines

    def start_from(self, state: TrainState, networks: Mapping[str, Any]) -> TrainState:
        for role, variables in networks.items():
            state = adopt(state, role, variables)
        return state

    def frozen_sources(self) -> dict[str, str]:
        if not self._config["identity"]["weights"]:
            raise UserError(_NO_WEIGHTS)
        return {"identity": self._config["identity"]["weights"]}

    def load_frozen(self, sources: Mapping[str, Weights]) -> Frozen:
        network = identity_network_from(sources["identity"])
        size = network.module.embedding_size
        if size != self._config["identity"]["embedding_size"]:
            raise UserError(
                f"{sources['identity'].path} gives embeddings of {size} numbers: "
                f"set --config.identity.embedding_size={size}"
            )
        return {"identity": network}


def _share(condition, scores: tuple[jax.Array, ...]) -> jax.Array:
    """The share of scores that meet a condition, averaged over the scales."""
    return sum(jnp.mean(condition(score)) for score in scores) / len(scores)


def _mask_picture(mask: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """A level's mask as a grey picture of `shape` in [-1, 1]."""
    return jnp.broadcast_to(2 * jax.image.resize(mask, (*shape[:3], 1), "nearest") - 1, shape)
