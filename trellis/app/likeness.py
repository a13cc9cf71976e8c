"""What people are told of a result's likeness to its picture; `trellis.export.likeness` measures it."""

LIMIT = 0.3  # docs/journal/likeness.md says what lies above and below
DOUBT = 0.45  # most results below are of things that the model does not know, some are good
UNLIKE = "This does not look like your picture"
ADVICE = (
    "Try a picture of the whole object before a plain background, a box around the object, another seed or a larger "
    "model."
)
LOOK = "Look closely: it may not be what your picture shows."


def judged(likeness: float | None, operation: str) -> float | None:
    """The likeness that a result is judged by: none where the outline is a source's, which no picture need have."""
    return likeness if operation == "generate" else None


def is_unlike(likeness: float | None) -> bool:
    """Whether a result is to be told from a good one; one without a picture never is."""
    return likeness is not None and likeness < LIMIT


def is_doubtful(likeness: float | None) -> bool:
    """Whether a result that is not unlike its picture may be of another thing all the same."""
    return likeness is not None and LIMIT <= likeness < DOUBT
