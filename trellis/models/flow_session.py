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
from trellis.ops.attention_choice import fastest_backend
from trellis.runtime import GraphReplay
from trellis.sparse import SparseTensor, VoxelLayout

ATTENTIONS = ("self_attn", "cross_attn")  # of a block
TIME_DIGITS = 6  # times that agree to so many decimals are one step


class FlowSession:
    """Velocities of one flow for an object under several conditions and the null condition.

    model: a structure flow, or a latent flow together with the `layout` of the object's voxels; conditions: tokens
    [1, L, Cc] each; null: tokens [1, L, Cc]; times on the 0..1000 scale: every time that will be asked for.
    `graphs` ("auto", "on", "off"): whether a step becomes one captured launch where device and network can; `lasting`:
    it is captured from the start, for a session that will `restart` with other objects. Close it after use: `with
    FlowSession(...) as session`.
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
        lasting: bool = False,
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
        self._made_for = self._signature(conditions, null, times)
        self._steps = _steps(times)
        self._times = self._on_device(times)
        self._tokens = [condition[0].to(self._dtype, copy=True) for condition in (*conditions, null)]
        self._time, self._modulations = self._prepare_times()
        self._contexts = [list(self._prepare_condition(tokens)) for tokens in self._tokens]
        self._null = self._contexts.pop()
        self._active, self._active_index = self._contexts[0], 0
        if len(conditions) > 1:  # the step reads one place, whichever condition is in it
            self._active = [context.clone() for context in self._contexts[0]]
        self._step_time = self._time[0].clone()
        self._step_modulations = self._modulations[0].clone()
        self._state: Tensor | None = None
        self._choose_attention()
        self._lasting = lasting
        mode = graphs if model.can_be_captured else "off"
        self._replay = GraphReplay(self._device, mode=mode, lasting=lasting)

    def __enter__(self) -> "FlowSession":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Free captured launches and prepared tensors."""
        self._replay.close()
        self._tokens, self._contexts, self._null, self._active = [], [], [], []
        self._state = None
        self._lasting = False

    @property
    def can_restart(self) -> bool:
        """It is meant to last, it is not closed, and none of its captures failed."""
        return self._lasting and not self._replay.gave_up

    @torch.no_grad()
    def restart(self, conditions: Sequence[Tensor], *, null: Tensor, times: Sequence[float]) -> bool:
        """Go on with another condition, null condition and times, in the places of those before; what was captured
        stays good.

        False, and nothing is done, unless the session `can_restart` and is of one condition and no layout, tokens and
        times are as many as before, the network's weights are where they were and its attention is done in the same
        way, all in the same inference mode.
        """
        null = _without_repeats(null)
        if not self.can_restart or self._layout is not None or len(conditions) != 1:
            return False
        if self._signature(conditions, null, times) != self._made_for:
            return False
        self._steps = _steps(times)
        self._times.copy_(self._on_device(times))
        for tokens, condition in zip(self._tokens, (*conditions, null)):
            tokens.copy_(condition[0])
        self._replay.run("restart", self._prepare_again, remaining=0)
        return True

    def _signature(self, conditions: Sequence[Tensor], null: Tensor, times: Sequence[float]) -> tuple[object, ...]:
        """What captured launches and prepared tensors depend on, besides the values that `restart` changes."""
        weights = tuple((weight.data_ptr(), weight.dtype) for weight in self._model.parameters())
        ways = tuple(getattr(block, name).backend for block in self._model.blocks for name in ATTENTIONS)
        shapes = tuple((condition.shape, condition.dtype, condition.device) for condition in (*conditions, null))
        return shapes, len(times), weights, ways, self._model.torso_dtype, torch.is_inference_mode_enabled()

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

    def _choose_attention(self) -> None:
        """The structure flow's grid has always the same length: take the back end that is fastest for it."""
        if not isinstance(self._model, StructureFlow):
            return
        tokens = self._model.pos_emb.shape[0]
        for name, keys in zip(ATTENTIONS, (tokens, len(self._contexts[0][0].keys))):
            for block in self._model.blocks:
                attention = getattr(block, name)
                if attention.backend is None:
                    width = attention.to_out.in_features // attention.heads
                    attention.measured = fastest_backend(
                        self._device, self._dtype, q_length=tokens, k_length=keys, heads=attention.heads, width=width
                    )

    def _on_device(self, times: Sequence[float]) -> Tensor:
        return torch.tensor(times, dtype=torch.float32, device=self._device)

    @torch.no_grad()
    def _prepare_times(self) -> tuple[Tensor, Tensor]:
        """Time embeddings [S, C], modulations [S, L, 6, C] with `1 + scale` at 1 and 4, in the torso's precision."""
        model = self._model
        embedded = model.t_embedder(self._times)
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
            yield condition_context(block.cross_attn, tokens)  # type: ignore[arg-type]

    def _prepare_again(self) -> Tensor:
        """What is made of times and tokens, in the places where it was made first; returns the time embeddings."""
        time, modulations = self._prepare_times()
        self._modulations.copy_(modulations)
        for contexts, tokens in zip((self._active, self._null), self._tokens):
            for context, other in zip(contexts, self._prepare_condition(tokens)):
                context.copy_from(other)
        return self._time.copy_(time)

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


def _steps(times: Sequence[float]) -> dict[float, int]:
    """The step of each time."""
    return {round(time, TIME_DIGITS): index for index, time in enumerate(times)}


def _without_repeats(condition: Tensor) -> Tensor:
    """A condition of equal tokens (zeros, for pictures) as one: attention to copies of a token is that to one of it."""
    return condition[:, :1] if bool((condition == condition[:, :1]).all()) else condition
