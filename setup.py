"""What pyproject.toml cannot say: `configs/` and `studies/` are packages inside `infogan`."""

from setuptools import find_packages, setup

SHIPPED = {
    "infogan.configs": "configs",
    "infogan.configs.sweeps": "configs/sweeps",
    "infogan.studies": "studies",
}

setup(
    packages=[*find_packages(include=["infogan*", "datamodules*"]), *SHIPPED],
    package_dir=SHIPPED,
)
