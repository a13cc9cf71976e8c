"""Create, check and repair the program's own Python environment, with the standard library alone.

The parts, in order: `probe` (facts of the machine) -> `plan` (pure: facts to decisions) -> `steps` (decisions to
commands) -> `state` (what is done, so that an interrupted installation resumes and a second start is instant).
"""
