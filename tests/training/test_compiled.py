"""What the compiler leaves out of a network that it compiles."""

import torch
from torch import Tensor, nn

from trellis.ops.eager import compile_each, compile_rest, uncompiled
from trellis.ops.segments import Segments, expand_segments

LENGTHS = Segments((2, 3), torch.device("cpu"))


class Doubled(nn.Module):
    def forward(self, table: Tensor) -> Tensor:
        return expand_segments(table * 2, LENGTHS) + 1


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def test_functions_are_left_out_of_what_is_compiled() -> None:
    graphs = list[list[str]]()

    def keep(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
        graphs.append([node.name for node in graph.graph.nodes if node.op == "call_function"])
        return graph.forward

    table = torch.eye(2)
    made = compile_rest(Doubled(), backend=keep)(table)
    assert torch.equal(made, (table * 2)[[0, 0, 1, 1, 1]] + 1)
    assert graphs == [["mul"], ["add"]]


def test_blocks_are_compiled_once_and_not_at_all_where_that_is_not_worth_it() -> None:
    calls = list[int]()

    def keep(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
        calls.append(len(inputs))
        return graph.forward

    blocks = [Scaled(2.0), Scaled(3.0)]
    compile_each(blocks, backend=keep)
    with uncompiled():
        expected = [block(torch.ones(3, 2)) for block in blocks]
    assert not calls
    assert all(torch.equal(block(torch.ones(3, 2)), value) for block, value in zip(blocks, expected))
    assert len(calls) == 1
