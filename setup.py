"""What pyproject.toml has no words for: configs/, the one copy, is a part of the package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["faceshifter_jax*"]), "faceshifter_jax.configs"],
    package_dir={"faceshifter_jax.configs": "configs"},
)
