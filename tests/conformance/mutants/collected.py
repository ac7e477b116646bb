"""The module that pytest collects: `matrix.run` puts the test classes of a run into it."""
