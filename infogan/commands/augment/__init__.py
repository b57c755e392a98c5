"""Appendix D as a study: an InfoGAN's samples as training images of a classifier."""

from infogan.commands.augment.command import augment

__all__ = ["augment"]
