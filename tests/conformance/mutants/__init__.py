"""Stores that are broken on purpose: the proof that the conformance suite catches what it claims to catch.

Each mutant is a few lines over a sound store, modelled on a failure known from the field, and names the tests that must
catch it. `nox -s mutants` runs the whole suite on each of them and writes the matrix, docs/mutants.md.
"""
