"""How fast the store is, beside what does the same work with less, in one run on one machine: `nox -s bench`."""
