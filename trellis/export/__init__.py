"""Assets as files: repair, simplification, unwrapping, texture, all file formats; the only place that turns axes."""
