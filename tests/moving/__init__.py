"""Tests of export and import, between stores on all engines."""
