"""The codes' scores against all true factors, as one torchmetrics Metric."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from infogan.latents import LatentCode
from infogan.metrics.disentanglement import (
    code_importances,
    completeness,
    disentanglement,
    factor_vae_score,
    mutual_information_gap,
    separated_attribute_predictability,
)
from infogan.metrics.variables import (
    as_variables,
    describe_codes,
    information_matrix,
    joint_information,
    read_codes,
)


class FactorScores(Metric):
    """MIG, SAP, FactorVAE score, DCI and mutual information of codes and true factors.

    What is not defined for the codes and factors at hand is left out: with one factor the FactorVAE
    score and DCI's disentanglement, with one code DCI's completeness.

    Args:
        codes: The codes, in the order of what `update` is given.
        factors: Name and number of values of each factor; None for a continuous one.
        only_mig: Whether to leave out all but MIG, which alone takes no time.
    """

    full_state_update = False
    codes: list[Tensor]
    factors: list[Tensor]

    def __init__(
        self,
        codes: Sequence[LatentCode],
        factors: Sequence[tuple[str, int | None]],
        only_mig: bool = False,
    ) -> None:
        super().__init__()
        self.latent_codes = tuple(codes)
        self.described_codes = describe_codes(codes)
        self.described_factors = list(factors)
        self.only_mig = only_mig
        self.information: Float[Tensor, "codes factors"] | None = None
        self.add_state("codes", default=[], dist_reduce_fx="cat")
        self.add_state("factors", default=[], dist_reduce_fx="cat")

    def update(self, values: Sequence[Tensor], factors: Tensor) -> None:
        """Collect one batch.

        Args:
            values: Each code's value in the generator's format, (batch, code.dim) each.
            factors: True factors, (batch, factors).
        """
        self.codes.append(read_codes(self.latent_codes, values))
        self.factors.append(factors.float())

    def compute(self) -> dict[str, Tensor]:
        """Return the scores by name, and keep the matrix of mutual information in nats."""
        codes = as_variables(self.described_codes, dim_zero_cat(self.codes).cpu())
        factors = as_variables(self.described_factors, dim_zero_cat(self.factors).cpu())
        self.information = information_matrix(codes, factors)
        scores = {"mig": mutual_information_gap(codes, factors)}
        if not self.only_mig:
            scores["sap"] = separated_attribute_predictability(codes, factors)
            if len(factors) > 1:
                scores["factor_vae"] = factor_vae_score(codes, factors)
            importances = code_importances(codes, factors)
            if len(factors) > 1:
                scores["dci_disentanglement"] = disentanglement(importances.weights)
            if len(codes) > 1:
                scores["dci_completeness"] = completeness(importances.weights)
            scores["dci_informativeness"] = importances.informativeness
            if any(v.num_values for v in codes) and any(v.num_values for v in factors):
                scores["joint_information"] = joint_information(codes, factors)
        return {name: torch.tensor(value) for name, value in scores.items()}
