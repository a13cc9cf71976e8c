"""Muon: orthogonal steps for matrices, AdamW for the rest, and a better start on an ill-conditioned problem."""

import pytest
import torch
from torch import nn

from trellis.errors import InvalidInputError
from trellis.training import optimizers
from trellis.training.config import OptimizerConfig, parse_config
from trellis.training.optimizers import Muon, create_optimizers, orthogonal_directions, set_rates

CPU = torch.device("cpu")


@pytest.mark.parametrize("shape", [(40, 24), (24, 40), (64, 32)])
def test_steps_are_nearly_orthogonal(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    skewed = torch.randn(3, *shape, generator=generator) * torch.logspace(0, -1.5, shape[1])
    values = torch.linalg.svdvals(torch.stack(orthogonal_directions(list(skewed))))
    assert values.shape == (3, min(shape))
    assert float(values.min()) > 0.3 and float(values.max()) < 1.4
    assert float(torch.linalg.svdvals(skewed).amin() / torch.linalg.svdvals(skewed).amax()) < 0.1


def test_matrices_filled_up_with_zeros_have_the_same_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(2)
    matrices = [torch.randn(*shape, generator=generator) for shape in ((20, 24), (40, 20), (17, 90))]
    alone = orthogonal_directions(matrices)
    monkeypatch.setattr(optimizers, "is_gpu", lambda device: True)
    together = orthogonal_directions(matrices)
    for matrix, one, other in zip(matrices, alone, together):
        assert one.shape == other.shape == matrix.shape and one.dtype == other.dtype == matrix.dtype
        assert torch.allclose(one, other, atol=0.02)
        assert float((matrix * other).sum()) > 0


def test_matrices_of_one_shape_are_updated_as_if_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(20, 24, generator=generator) for _ in range(2)]
    gradients = [torch.randn(20, 24, generator=generator) for _ in range(2)]

    def after(numbers: list[int]) -> list[torch.Tensor]:
        parameters = [nn.Parameter(weights[n].clone()) for n in numbers]
        optimizer = Muon(parameters, lr=0.1, momentum=0.9, weight_decay=0.5)
        for _ in range(2):
            for parameter, n in zip(parameters, numbers):
                parameter.grad = gradients[n].clone()
            optimizer.step()
        return [parameter.detach() for parameter in parameters]

    together = after([0, 1])
    assert torch.allclose(together[0], after([0])[0], atol=2e-3)
    assert torch.allclose(together[1], after([1])[0], atol=2e-3)
    assert float((together[0] - weights[0]).abs().max()) > 0.02


def test_without_a_gradient_nothing_moves() -> None:
    parameter = nn.Parameter(torch.ones(20, 20))
    Muon([parameter], lr=0.1, momentum=0.9, weight_decay=0.5).step()
    assert torch.equal(parameter.detach(), torch.ones(20, 20))


def test_who_trains_what() -> None:
    network = nn.Sequential(nn.Linear(32, 32), nn.LayerNorm(32), nn.Linear(32, 8))
    parameters = list(network.parameters())
    adam, muon = create_optimizers(parameters, OptimizerConfig(name="muon", matrix_rate=0.05), device=CPU)
    assert [id(p) for p in muon.param_groups[0]["params"]] == [id(network[0].weight)]
    assert len(adam.param_groups[0]["params"]) == len(parameters) - 1
    set_rates([adam, muon], 0.5)
    assert muon.param_groups[0]["lr"] == 0.025 and adam.param_groups[0]["lr"] == 2e-4
    assert len(create_optimizers(parameters, OptimizerConfig(), device=CPU)) == 1
    with pytest.raises(InvalidInputError, match="'adamw' or 'muon'"):
        parse_config({"stage": "flows", "models": {}, "optimizer": {"name": "sgd"}})
