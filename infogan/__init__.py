"""InfoGAN: latent codes, networks, objectives, modules, callbacks and metrics."""

__version__ = "0.1.0"
