"""Training AEI-Net (arXiv 1912.13457, sections 3.1 and 4)."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from faceshifter_jax import losses
from faceshifter_jax.errors import UserError
from faceshifter_jax.models import AEIOutput
from faceshifter_jax.networks.build import (
    build_aei_net,
    build_discriminator,
    compute_dtype,
    remat_blocks,
)
from faceshifter_jax.networks.generator import level_masks
from faceshifter_jax.networks.identity import identity_network_from
from faceshifter_jax.networks.network import Weights
from faceshifter_jax.networks.pixels import to_unit_range
from faceshifter_jax.tasks.health import Health
from faceshifter_jax.tasks.optimizer import build_optimizer
from faceshifter_jax.tasks.step import (
    accumulate_steps,
    average_weights,
    check_loss_weights,
    gradient_norms,
    mean_over_devices,
    mean_over_micro_batches,
)
from faceshifter_jax.tasks.swap_metrics import (
    check_of_copying,
    check_of_discriminator,
    different_pairs,
    swap_health,
    swap_metrics,
)
from faceshifter_jax.tasks.task import Batch, Frozen, Metrics, Step, TrainState
from faceshifter_jax.tasks.warm_start import adopt, check_same_network, find_networks

_NO_WEIGHTS = (
    "config.identity.weights is empty: name a file that `faceshifter convert` made of a published "
    "identity network, or the workdir of one trained by "
    "`python train.py --config configs/arcface.py --workdir runs/arcface "
    "--config.data.path=DATA` on folders with one identity each"
)


class AEITask:
    """Generator and discriminator, updated at the same time from one forward pass.

    Players `generator` (AEI-Net) and `discriminator`; the generator's weights are averaged.
    Frozen: `identity`, the network that gives z_id and judges the swap's identity.
    """

    name = "aei"
    batch_kind = "pairs"

    def __init__(self, config: Mapping[str, Any]):
        self._config = config
        check_loss_weights(config["loss"])
        self._weights = config["loss"]
        self._dtype = compute_dtype(config)
        self._remat = remat_blocks(config)
        self._accumulate_steps = accumulate_steps(config)
        self._health = self._build_health()
        steps = config["num_steps"]
        self._optimizers = {
            "generator": build_optimizer(config["optimizer"]["generator"], steps),
            "discriminator": build_optimizer(config["optimizer"]["discriminator"], steps),
        }
        self._discriminator = build_discriminator(config["discriminator"], dtype=self._dtype)

    def _aei_net(self, axis_name: str | None = None):
        extra = {"dtype": self._dtype, "axis_name": axis_name, "remat": self._remat}
        return build_aei_net(self._config["model"], **extra)

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

        def generator_objective(params, state, frozen, rows):
            variables = {"params": params, "batch_stats": state.batch_stats["generator"]}
            output, updated = aei_net.apply(
                variables, rows["target"], rows["identity"], train=True, mutable=["batch_stats"]
            )
            # The swap's own statistics normalise its attributes, but only the target's are
            # kept: at evaluation the encoder sees nothing but targets.
            swap_attributes, _ = aei_net.apply(
                variables, output.image, train=True, mutable=["batch_stats"], method="encode"
            )
            embedding = frozen["identity"].embed(output.image)
            terms = self._generator_terms(state, rows, output, embedding, swap_attributes)
            terms = {name: jnp.mean(term) for name, term in terms.items()}
            loss = sum(self._weights[name] * term for name, term in terms.items())
            metrics = {"generator_loss": loss} | {f"{name}_loss": terms[name] for name in terms}
            metrics |= swap_metrics(
                embedding, rows["identity"], rows["own_identity"], rows["swap_weights"]
            )
            return loss, (output.image, updated["batch_stats"], metrics)

        def compute(state, frozen, rows):
            rows = _prepare(frozen, rows)
            generator_grads, (swap, batch_stats, metrics) = jax.grad(
                generator_objective, has_aux=True
            )(state.params["generator"], state, frozen, rows)
            discriminator_grads, more = jax.grad(self._discriminator_objective, has_aux=True)(
                state.params["discriminator"], rows["target"], swap
            )
            grads = {"generator": generator_grads, "discriminator": discriminator_grads}
            return grads, batch_stats, metrics | more

        def step(state: TrainState, frozen: Frozen, batch: Batch) -> tuple[TrainState, Metrics]:
            share = mean_over_devices(jnp.mean(batch["same"]), axis_name)
            swap_weights, swap_share = different_pairs(batch["same"], share)
            weights = {
                "same_weights": losses.masked_mean_weights(batch["same"], share),
                "swap_weights": swap_weights,
            }
            grads, batch_stats, metrics = mean_over_micro_batches(
                functools.partial(compute, state, frozen),
                {**batch, **weights},
                self._accumulate_steps,
            )
            grads, metrics = mean_over_devices((grads, metrics), axis_name)
            metrics |= {"swap_share": swap_share} | gradient_norms(grads)
            return self._update(state, grads, batch_stats), metrics

        return step

    def _generator_terms(
        self,
        state: TrainState,
        rows: Batch,
        output: AEIOutput,
        embedding: jax.Array,
        swap_attributes: tuple[jax.Array, ...],
    ) -> dict[str, jax.Array]:
        """Equations 6 to 9, each (B,), keyed like the weights in `config.loss`."""
        judge = {"params": state.params["discriminator"]}
        scores = self._discriminator.apply(judge, output.image)
        reconstruction = losses.reconstruction_loss(output.image, rows["target"])
        return {
            "adversarial": losses.hinge_generator_loss(scores),
            "attribute": losses.attribute_loss(swap_attributes, output.attributes),
            "identity": losses.identity_loss(embedding, rows["identity"]),
            "reconstruction": reconstruction * rows["same_weights"],
        }

    def _discriminator_objective(
        self, params: Any, real: jax.Array, fake: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """The discriminator's mean loss on pictures, (B, S, S, 3) each, and its metrics."""
        real_scores = self._discriminator.apply({"params": params}, real)
        fake_scores = self._discriminator.apply({"params": params}, fake)
        loss = losses.hinge_discriminator_loss(real_scores, fake_scores).mean()
        metrics = {
            "discriminator_loss": loss,
            "real_accuracy": _share(lambda score: score > 0, real_scores),
            "fake_accuracy": _share(lambda score: score < 0, fake_scores),
        }
        return loss, metrics

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

    def health(self) -> Health:
        return self._health

    def _build_health(self) -> Health:
        loss, data = self._weights, self._config["data"]
        checks = [
            check_of_copying(
                self._config,
                f"raise config.loss.identity (now {loss['identity']:g})",
                f"lower config.loss.attribute ({loss['attribute']:g}), "
                f"config.loss.reconstruction ({loss['reconstruction']:g}) or "
                f"config.data.same_picture_share ({data['same_picture_share']:g})",
            )
        ]
        if loss["adversarial"] > 0:
            checks.append(check_of_discriminator(self._config))
        return swap_health(self._config, *checks)

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
        network = identity_network_from(sources["identity"], self._dtype)
        size = network.module.embedding_size
        if size != self._config["identity"]["embedding_size"]:
            raise UserError(
                f"{sources['identity'].path} gives embeddings of {size} numbers: "
                f"set --config.identity.embedding_size={size}"
            )
        return {"identity": network}


def _prepare(frozen: Frozen, rows: Batch) -> dict[str, jax.Array]:
    """Adds `identity` and `own_identity`, the embeddings (B, E) of the sources and the targets.

    The targets' are for `swap_metrics` alone: at paper scale 4 % of the step's operations with
    IR-SE50, 7 % with IResNet-100.
    """
    source, target = to_unit_range(rows["source"]), to_unit_range(rows["target"])
    # One pass for both, interleaved so that every device keeps its rows.
    both = jnp.stack([source, target], 1).reshape(-1, *source.shape[1:])
    embeddings = frozen["identity"].embed(both).reshape(len(source), 2, -1)
    return {
        **rows,
        "target": target,
        "identity": embeddings[:, 0],
        "own_identity": embeddings[:, 1],
    }


def _share(condition, scores: tuple[jax.Array, ...]) -> jax.Array:
    """The share of scores that meet a condition, averaged over the scales."""
    return sum(jnp.mean(condition(score)) for score in scores) / len(scores)


def _mask_picture(mask: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """A level's mask as a grey picture of `shape` in [-1, 1]."""
    return jnp.broadcast_to(2 * jax.image.resize(mask, (*shape[:3], 1), "nearest") - 1, shape)
