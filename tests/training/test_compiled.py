"""What the compiler leaves out of a network that it compiles."""

import torch
from torch import Tensor, nn

from trellis.ops.eager import compile_rest
from trellis.ops.segments import Segments, expand_segments

LENGTHS = Segments((2, 3), torch.device("cpu"))


class Doubled(nn.Module):
    def forward(self, table: Tensor) -> Tensor:
        return expand_segments(table * 2, LENGTHS) + 1


def test_functions_are_left_out_of_what_is_compiled() -> None:
    graphs = list[list[str]]()

    def keep(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
        graphs.append([node.name for node in graph.graph.nodes if node.op == "call_function"])
        return graph.forward

    table = torch.eye(2)
    made = compile_rest(Doubled(), backend=keep)(table)
    assert torch.equal(made, (table * 2)[[0, 0, 1, 1, 1]] + 1)
    assert graphs == [["mul"], ["add"]]
