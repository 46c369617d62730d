"""Checks of the losses in a config."""

from collections.abc import Mapping, Sequence
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
    weights = config["loss"]
    check_loss_weights(weights)
    check_answers(config)
    if not 0 < config["identity"]["enough_cosine"] <= 1:
        raise UserError(
            f"config.identity.enough_cosine is {config['identity']['enough_cosine']}: it must be "
            "above 0 and at most 1"
        )
    if weights["perceptual"] > 0 and not weights["adversarial"] > 0:
        raise UserError(
            "config.loss.perceptual compares features of the discriminator, which "
            "config.loss.adversarial=0 does not train: set that above 0"
        )


def check_answers(config: Mapping[str, Any]) -> None:
    """Checks what learns from right answers against what gives them, and the section `answer`.

    Raises:
      UserError: a distance or weight out of range, losses without answers, or the reverse.
    """
    answer = config["answer"]
    if answer["distance"] not in losses.DISTANCES:
        raise UserError(
            f"config.answer.distance must be one of {', '.join(losses.DISTANCES)}, not "
            f"{answer['distance']!r}"
        )
    if not answer["differ_weight"] >= 1:
        raise UserError(
            f"config.answer.differ_weight is {answer['differ_weight']}: it must be at least 1"
        )
    learning, learns = _weights_above_0(config, "loss", ("answer", "perceptual"))
    giving, known = _weights_above_0(config, "data", ("answer_share", "pseudo_share"))
    if learns and not known:
        raise UserError(
            f"what learns from right answers ({learning}) has none: set {giving} above 0 "
            "(config.data.answer_share with a dataset of `faceshifter render OUT --group-size 4`), "
            f"or {learning} to 0"
        )
    if known and not learns:
        raise UserError(
            f"{giving} gives right answers, and nothing learns from them: set config.loss.answer "
            f"above 0, or {giving} to 0"
        )


def _weights_above_0(
    config: Mapping[str, Any], section: str, names: Sequence[str]
) -> tuple[str, bool]:
    """The names of those that the section has, for messages, and whether one is above 0."""
    present = [name for name in names if name in config[section]]
    above = any(config[section][name] > 0 for name in present)
    return " or ".join(f"config.{section}.{name}" for name in present), above
