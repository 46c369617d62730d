"""Checks of the losses in a config."""

from collections.abc import Mapping
from typing import Any

from faceshifter_jax import losses
from faceshifter_jax.errors import UserError


def check_loss_weights(weights: Mapping[str, float]) -> None:
    """Checks the config's `loss` part.

    Raises:
      UserError: a negative weight, which would reward what the loss should prevent.
    """
    for name, weight in weights.items():
        if weight < 0:
            raise UserError(f"config.loss.{name} is {weight}: it must be at least 0, 0 is off")


def check_losses_of_aei(config: Mapping[str, Any]) -> None:
    """Checks the sections `loss`, `answer` and `identity` against each other and `data`.

    Raises:
      UserError: a weight, distance or cosine out of range, or a loss that nothing feeds.
    """
    weights, answer, data = config["loss"], config["answer"], config["data"]
    check_loss_weights(weights)
    if answer["distance"] not in losses.DISTANCES:
        raise UserError(
            f"config.answer.distance must be one of {', '.join(losses.DISTANCES)}, not "
            f"{answer['distance']!r}"
        )
    if not answer["differ_weight"] >= 1:
        raise UserError(
            f"config.answer.differ_weight is {answer['differ_weight']}: it must be at least 1"
        )
    if not 0 < config["identity"]["enough_cosine"] <= 1:
        raise UserError(
            f"config.identity.enough_cosine is {config['identity']['enough_cosine']}: it must be "
            "above 0 and at most 1"
        )
    learns = weights["answer"] > 0 or weights["perceptual"] > 0
    known = data.get("answer_share", 0) > 0 or data.get("pseudo_share", 0) > 0
    if learns and not known:
        raise UserError(
            "config.loss.answer and config.loss.perceptual learn from right answers, and there are "
            "none: set config.data.answer_share (with a dataset of `faceshifter render OUT "
            "--group-size 4`) or config.data.pseudo_share above 0, or both losses to 0"
        )
    if known and not learns:
        raise UserError(
            "config.data.answer_share or config.data.pseudo_share gives right answers, and nothing "
            "learns from them: set config.loss.answer above 0, or both shares to 0"
        )
    if weights["perceptual"] > 0 and not weights["adversarial"] > 0:
        raise UserError(
            "config.loss.perceptual compares features of the discriminator, which "
            "config.loss.adversarial=0 does not train: set that above 0"
        )
