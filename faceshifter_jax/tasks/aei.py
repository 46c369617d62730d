"""Training AEI-Net (arXiv 1912.13457, sections 3.1 and 4)."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from faceshifter_jax import losses
from faceshifter_jax.errors import UserError
from faceshifter_jax.models import AEIOutput
from faceshifter_jax.networks.build import (
    build_contract,
    build_network,
    compute_dtype,
    remat_blocks,
)
from faceshifter_jax.networks.contract import View
from faceshifter_jax.networks.generator import level_masks
from faceshifter_jax.networks.identity import for_generator, identity_network_from
from faceshifter_jax.networks.network import Network, Part, Weights, plain
from faceshifter_jax.networks.pixels import to_unit_range
from faceshifter_jax.networks.views import split_seeds
from faceshifter_jax.tasks.health import Health
from faceshifter_jax.tasks.loss_checks import check_losses_of_aei
from faceshifter_jax.tasks.optimizer import build_optimizer
from faceshifter_jax.tasks.step import (
    accumulate_steps,
    apply_gradients,
    gradient_norms,
    mean_over_devices,
    mean_over_micro_batches,
    weigh_losses,
)
from faceshifter_jax.tasks.swap_metrics import (
    check_of_copying,
    check_of_discriminator,
    swap_health,
    swap_metrics,
)
from faceshifter_jax.tasks.swap_rows import prepare_rows, row_weights
from faceshifter_jax.tasks.task import Batch, Frozen, Metrics, Step, TrainState

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
        self._contract = build_contract(config)
        check_losses_of_aei(config)
        self._weights = config["loss"]
        self._views = config["data"].get("identity_views", 0)
        self._dtype = compute_dtype(config)
        self._remat = remat_blocks(config)
        self._accumulate_steps = accumulate_steps(config)
        self._health = self._build_health()
        steps = config["num_steps"]
        self._optimizers = {
            "generator": build_optimizer(config["optimizer"]["generator"], steps),
            "discriminator": build_optimizer(config["optimizer"]["discriminator"], steps),
        }
        self._parts = self._build_parts()
        self._discriminator: Any = build_network(
            self._parts["discriminator"].network, "discriminator", dtype=self._dtype
        )

    def _build_parts(self) -> dict[str, Part]:
        config, size = self._config, self._config["image_size"]
        model, discriminator = plain(config["model"]), plain(config["discriminator"])
        contract, embedding_size = self._contract, config["identity"]["embedding_size"]
        settings = {
            "model": model,
            "identity": {
                "embedding_size": embedding_size,
                "embedding": contract.embedding,
                "region": contract.view.region,
                "resize": contract.view.resize,
            },
            "data": {"alignment": contract.alignment},
            # The generator's first map has a size of its own for every size of pictures.
            "image_size": size,
        }
        generator = Network(
            "AEINet",
            model,
            {},
            embedding_size=embedding_size,
            image_size=size,
            contract=contract,
        )
        of_discriminator = Network("MultiscaleDiscriminator", discriminator, {}, image_size=size)
        return {
            "generator": Part(generator, "generator", settings=settings),
            "discriminator": Part(
                of_discriminator, "discriminator", settings={"discriminator": discriminator}
            ),
        }

    def networks(self) -> Mapping[str, Part]:
        return self._parts

    def _aei_net(self, axis_name: str | None = None) -> Any:
        extra = {"dtype": self._dtype, "axis_name": axis_name, "remat": self._remat}
        return build_network(self._parts["generator"].network, "model", **extra)

    def init(self, rng: jax.Array) -> TrainState:
        size = self._config["image_size"]
        picture = jnp.zeros((1, size, size, 3))
        identity = jnp.zeros((1, self._config["identity"]["embedding_size"]))
        generator_key, discriminator_key = jax.random.split(rng)
        generator = self._aei_net().init(generator_key, picture, identity)
        discriminator = self._discriminator.init(discriminator_key, picture)
        params = {"generator": generator["params"], "discriminator": discriminator["params"]}
        stats = {"generator": generator["batch_stats"]}
        return TrainState.initial(params, stats, self._optimizers, "generator")

    def make_step(self, axis_name: str | None) -> Step:
        aei_net = self._aei_net(axis_name)

        def generator_objective(params, state, frozen, rows):
            variables = {"params": params, "batch_stats": state.batch_stats["generator"]}
            output, updated = aei_net.apply(
                variables, rows["target"], rows["identity"], train=True, mutable=["batch_stats"]
            )
            embeddings = self._embed_swaps(frozen, rows, output.image)

            def encode(image):
                # The swap's own statistics normalise its attributes, but only the target's are
                # kept: at evaluation the encoder sees nothing but targets.
                return aei_net.apply(
                    variables, image, train=True, mutable=["batch_stats"], method="encode"
                )[0]

            found = self._generator_losses(state, rows, output, embeddings, encode)
            loss, metrics = weigh_losses(found, self._weights)
            metrics |= {"generator_loss": loss} | swap_metrics(
                embeddings[0], rows["wanted"], rows["unwanted"], rows["swap_weights"]
            )
            return loss, (output.image, updated["batch_stats"], metrics)

        def compute(state, frozen, rows):
            rows = prepare_rows(
                frozen,
                rows,
                functools.partial(self._average_swap, state),
                self._contract.embedding,
            )
            generator_grads, (swap, batch_stats, metrics) = jax.grad(
                generator_objective, has_aux=True
            )(state.params["generator"], state, frozen, rows)
            grads = {"generator": generator_grads}
            if self._weights["adversarial"] > 0:
                grads["discriminator"], more = jax.grad(
                    self._discriminator_objective, has_aux=True
                )(state.params["discriminator"], rows["real"], swap)
                metrics |= more
            return grads, batch_stats, metrics

        def step(state: TrainState, frozen: Frozen, batch: Batch) -> tuple[TrainState, Metrics]:
            weights, swap_share = row_weights(batch, axis_name)
            grads, batch_stats, metrics = mean_over_micro_batches(
                functools.partial(compute, state, frozen),
                {**batch, **weights},
                self._accumulate_steps,
            )
            grads, metrics = mean_over_devices((grads, metrics), axis_name)
            metrics |= {"swap_share": swap_share} | gradient_norms(grads)
            stats, decay = {"generator": batch_stats}, self._config["ema_decay"]
            return apply_gradients(state, grads, stats, self._optimizers, decay), metrics

        return step

    def _embed_swaps(self, frozen: Frozen, rows: Batch, swaps: jax.Array) -> list[jax.Array]:
        """Embeddings (B, E) of the swaps by the loss's network, one for each random view."""
        network = frozen.get("identity_loss", frozen["identity"])
        if self._weights["identity"] == 0:
            swaps = jax.lax.stop_gradient(swaps)  # for metrics alone
        if not self._views:
            return [network.embed(swaps)]
        return [
            network.embed_views(swaps, seeds)
            for seeds in split_seeds(rows["view_seed"], self._views)
        ]

    def _average_swap(self, state: TrainState, target: jax.Array, identity: jax.Array) -> jax.Array:
        variables = {
            "params": state.ema_params["generator"],
            "batch_stats": state.batch_stats["generator"],
        }
        return self._aei_net().apply(variables, target, identity).image

    def _generator_losses(
        self,
        state: TrainState,
        rows: Batch,
        output: AEIOutput,
        embeddings: Sequence[jax.Array],
        encode: Callable[[jax.Array], tuple[jax.Array, ...]],
    ) -> dict[str, jax.Array]:
        """Equations 6 to 9 and those of right answers, each (B,), keyed like `config.loss`.

        What has a weight of 0 is not computed.
        """
        identity, answer = self._config["identity"], self._config["answer"]

        def adversarial():
            scores, _ = self._discriminate(state, output.image)
            return losses.hinge_generator_loss(scores)

        def of_identity():
            enough, wanted = identity["enough_cosine"], rows["wanted"]
            views = [losses.identity_loss(view, wanted, enough) for view in embeddings]
            return sum(views) / len(views)

        def of_answer():
            pictures = (output.image, rows["answer"], rows["target"])
            return losses.answer_loss(*pictures, **answer) * rows["answer_weights"]

        def perceptual():
            _, swap = self._discriminate(state, output.image)
            _, right = self._discriminate(state, rows["answer"])
            return losses.feature_loss(swap, right) * rows["answer_weights"]

        terms = {
            "adversarial": adversarial,
            "attribute": lambda: losses.attribute_loss(encode(output.image), output.attributes),
            "identity": of_identity,
            "reconstruction": lambda: (
                losses.reconstruction_loss(output.image, rows["target"]) * rows["same_weights"]
            ),
            "answer": of_answer,
            "perceptual": perceptual,
        }
        return {name: term() for name, term in terms.items() if self._weights[name] > 0}

    def _discriminate(
        self, state: TrainState, pictures: jax.Array
    ) -> tuple[tuple[jax.Array, ...], list[jax.Array]]:
        """Each scale's scores, and the feature maps of all scales."""
        variables = {"params": state.params["discriminator"]}
        scores, sown = self._discriminator.apply(variables, pictures, mutable=["intermediates"])
        return scores, jax.tree.leaves(sown)

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

    def predict(self, state: TrainState, frozen: Frozen, batch: Batch) -> dict[str, jax.Array]:
        """Columns `source`, `target`, `swap`, and each level's mask (white: identity)."""
        source, target = to_unit_range(batch["source"]), to_unit_range(batch["target"])
        variables = {
            "params": state.ema_params["generator"],
            "batch_stats": state.batch_stats["generator"],
        }
        identity = for_generator(frozen["identity"].features(source), self._contract.embedding)
        output = self._aei_net().apply(variables, target, identity)
        columns = {"source": source, "target": target, "swap": output.image}
        if "answer" in batch:
            columns["right answer"] = to_unit_range(batch["answer"])
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

    def frozen_sources(self) -> dict[str, str]:
        if not self._config["identity"]["weights"]:
            raise UserError(_NO_WEIGHTS)
        identity = self._config["identity"]
        sources = {"identity": identity["weights"]}
        if identity["loss_weights"]:
            sources["identity_loss"] = identity["loss_weights"]
        return sources

    def load_frozen(self, sources: Mapping[str, Weights]) -> Frozen:
        network = identity_network_from(sources["identity"], self._dtype, self._contract.view)
        size = network.module.embedding_size
        if size != self._config["identity"]["embedding_size"]:
            raise UserError(
                f"{sources['identity'].path} gives embeddings of {size} numbers: "
                f"set --config.identity.embedding_size={size}"
            )
        networks = {"identity": network}
        if "identity_loss" in sources:
            view = View(self._contract.view.region)
            networks["identity_loss"] = identity_network_from(
                sources["identity_loss"], self._dtype, view
            )
        return networks


def _share(condition, scores: tuple[jax.Array, ...]) -> jax.Array:
    """The share of scores that meet a condition, averaged over the scales."""
    total: Any = sum(jnp.mean(condition(score)) for score in scores)
    return total / len(scores)


def _mask_picture(mask: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """A level's mask as a grey picture of `shape` in [-1, 1]."""
    return jnp.broadcast_to(2 * jax.image.resize(mask, (*shape[:3], 1), "nearest") - 1, shape)
