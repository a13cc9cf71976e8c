"""Programs that draw no kind of thing in particular: what a model learns to see from, beside the families."""

from trellis.training.procedural.families import Family
from trellis.training.procedural.generic import drawings, letters, patterned, solids, stacks, thin, turned

_KINDS: dict[str, tuple[Family, ...]] = {
    "lathe": (turned.turned, turned.vessel),
    "drawings": (drawings.cutout, drawings.cushion, drawings.doodle, drawings.emblem),
    "assemblies": (solids.solids, solids.twins),
    "thin": (thin.plates, thin.wires),
    "letters": (letters.letter, letters.word, letters.sign, letters.blocks),
    "stacks": (stacks.stack, stacks.pile, stacks.nest),
    "patterns": (patterned.patterned,),
}
GENERIC: dict[str, Family] = {program.__name__: program for programs in _KINDS.values() for program in programs}
KINDS = {kind: tuple(program.__name__ for program in programs) for kind, programs in _KINDS.items()}
