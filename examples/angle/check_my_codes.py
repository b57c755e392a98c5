"""The density of an angle integrates to one, whatever Q emits."""

import math

import torch
from my_codes import AngleCode

code = AngleCode()
values = code.traverse(1000)
for parameters in 10 * torch.randn(20, 2):
    density = code.posterior_log_prob(values, parameters.expand(1000, 2)).exp()
    assert abs(density.mean().item() * 2 * math.pi - 1) < 1e-3
