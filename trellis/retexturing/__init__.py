"""New pictures for a mesh file of anybody's: everything else in the file stays as it is."""
