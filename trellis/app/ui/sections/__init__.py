"""The parts of the page: each has its components, says what happens when they are used, and does it."""
