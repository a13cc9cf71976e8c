"""A flow network evaluated many times for an object: what does not depend on the state is computed once.

Time embeddings and modulations of all steps, keys and values of the conditions, position embeddings and neighbour
tables are made at the start; a step is one call with the state. The velocities are those of the network's `forward`
(the reference) up to rounding.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.models.latent_flow import LatentFlow
from trellis.models.structure_flow import StructureFlow
from trellis.nn.inference import ConditionContext, condition_context
from trellis.ops.captures import GraphReplay
from trellis.sparse import SparseTensor, VoxelLayout

TIME_DIGITS = 6  # times that agree to so many decimals are one step


class FlowSession:
    """Velocities of one flow for an object under several conditions and the null condition.

    model: a structure flow, or a latent flow together with the `layout` of the object's voxels; conditions: tokens
    [1, L, Cc] each; null: tokens [1, L, Cc]; times on the 0..1000 scale: every time that will be asked for.
    `graphs` ("auto", "on", "off"): whether a step becomes one captured launch where device and network can. Close it
    after use: `with FlowSession(...) as session`.
    """

    def __init__(
        self,
        model: StructureFlow | LatentFlow,
        conditions: Sequence[Tensor],
        *,
        null: Tensor,
        times: Sequence[float],
        layout: VoxelLayout | None = None,
        graphs: str = "auto",
    ) -> None:
        if isinstance(model, LatentFlow) != (layout is not None):
            raise InvalidInputError("A latent flow needs a layout of voxels, a structure flow takes none.")
        if not conditions or not times:
            raise InvalidInputError("Give at least one condition and one time.")
        self._model = model
        self._layout = layout
        self._device = null.device
        self._dtype = model.torso_dtype
        null = _without_repeats(null)
        self._steps = {round(time, TIME_DIGITS): index for index, time in enumerate(times)}
        self._time, self._modulations = self._prepare_times(times)
        self._contexts = [list(self._prepare_condition(condition[0])) for condition in (*conditions, null)]
        self._null = self._contexts.pop()
        self._active, self._active_index = self._contexts[0], 0
        if len(conditions) > 1:  # the step reads one place, whichever condition is in it
            self._active = [context.clone() for context in self._contexts[0]]
        self._step_time = self._time[0].clone()
        self._step_modulations = self._modulations[0].clone()
        self._state: Tensor | None = None
        self._replay = GraphReplay(self._device, mode=graphs if model.can_be_captured else "off")

    def __enter__(self) -> "FlowSession":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Free captured launches and prepared tensors."""
        self._replay.close()
        self._contexts, self._null, self._active = [], [], []
        self._state = None

    def __len__(self) -> int:
        """Number of conditions."""
        return len(self._contexts)

    def velocity(self, index: int) -> Callable[[Tensor, float], Tensor]:
        """v(x, t1000) under condition `index`."""
        return lambda x, time: self._evaluate(x, time, index=index, kind="one")[0]

    def null_velocity(self) -> Callable[[Tensor, float], Tensor]:
        """v(x, t1000) under the null condition."""
        return lambda x, time: self._evaluate(x, time, index=None, kind="null")[0]

    def pair(self, index: int) -> Callable[[Tensor, float], tuple[Tensor, Tensor]]:
        """v(x, t1000) under condition `index` and under the null condition, in one evaluation."""

        def both(x: Tensor, time: float) -> tuple[Tensor, Tensor]:
            conditional, null = self._evaluate(x, time, index=index, kind="both")
            return conditional, null

        return both

    @torch.no_grad()
    def _prepare_times(self, times: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Time embeddings [S, C], modulations [S, L, 6, C] with `1 + scale` at 1 and 4, in the torso's precision."""
        model = self._model
        embedded = model.t_embedder(torch.tensor(times, dtype=torch.float32, device=self._device))
        time = embedded.to(self._dtype)
        if model.adaLN_modulation is not None:
            shared = model.adaLN_modulation(embedded).to(self._dtype)
            parts = [shared] * len(model.blocks)
        else:
            parts = [block.adaLN_modulation(time) for block in model.blocks]  # type: ignore[operator]
        modulations = torch.stack(parts, 1).unflatten(-1, (6, -1))
        modulations[:, :, 1::3] += 1
        return time, modulations

    @torch.no_grad()
    def _prepare_condition(self, tokens: Tensor) -> Iterator[ConditionContext]:
        for block in self._model.blocks:
            yield condition_context(block.cross_attn, tokens.to(self._dtype))  # type: ignore[arg-type]

    @torch.no_grad()
    def _evaluate(self, x: Tensor, time: float, *, index: int | None, kind: str) -> tuple[Tensor, ...]:
        step = self._steps.get(round(time, TIME_DIGITS))
        if step is None:
            raise InvalidInputError(f"This session was not prepared for time {time}.")
        if self._state is None:
            self._state = x.clone()
        self._state.copy_(x)
        self._step_time.copy_(self._time[step])
        self._step_modulations.copy_(self._modulations[step])
        if index is not None and index != self._active_index:
            for place, context in zip(self._active, self._contexts[index]):
                place.copy_from(context)
            self._active_index = index
        contexts = {"one": [self._active], "null": [self._null], "both": [self._active, self._null]}[kind]
        out = self._replay.run(kind, lambda: self._run(contexts), remaining=len(self._steps) - step)
        return out.chunk(len(contexts))

    def _run(self, contexts: Sequence[Sequence[ConditionContext]]) -> Tensor:
        """Velocities under each of the contexts, along the first axis."""
        assert self._state is not None
        time, modulations = self._step_time, self._step_modulations
        if isinstance(self._model, StructureFlow):
            return self._model.evaluate(self._state, time, modulations, contexts)
        assert self._layout is not None
        return self._model.evaluate(SparseTensor(self._state, self._layout), time, modulations, contexts)


def _without_repeats(condition: Tensor) -> Tensor:
    """A condition of equal tokens (zeros, for pictures) as one: attention to copies of a token is that to one of it."""
    return condition[:, :1] if bool((condition == condition[:, :1]).all()) else condition
