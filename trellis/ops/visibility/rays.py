"""Which rays are cast: the same in every back end."""

INWARD = 0.02  # how far the rays' points are drawn from the rim of a face to its middle
# Reciprocal powers of the root of x^5 = x + 1: the additive sequence of low discrepancy in four dimensions.
STRIDES = (0.8566748838545029, 0.7338918566271260, 0.6287067210378087, 0.5385972572236101)
