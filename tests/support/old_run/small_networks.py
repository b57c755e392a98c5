"""Networks of some hundred weights, which keep the checkpoint beside them small."""

from typing import Any

from torch import Tensor, nn

from infogan.networks import NetworkFactory


class SmallTrunk(nn.Module):
    feature_dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(49, 8), nn.Tanh())

    def forward(self, *batches: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.layers(batch) for batch in batches)


class SmallDiscriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = SmallTrunk()
        self.head = nn.Linear(8, 1)

    def logits(self, features: Tensor) -> Tensor:
        return self.head(features)


class SmallNetworks(NetworkFactory):
    def generator(self, latent_dim: int, image_shape: Any) -> nn.Module:
        return nn.Sequential(
            nn.Linear(latent_dim, 49),
            nn.Sigmoid(),
            nn.Unflatten(1, (1, 7, 7)),
            nn.Upsample(scale_factor=4),
        )

    def discriminator(self, image_shape: Any) -> Any:
        return SmallDiscriminator()

    def recognition_head(self, feature_dim: int, num_parameters: int) -> nn.Module:
        return nn.Linear(feature_dim, num_parameters)
