"""`EventStore.verify`: whether a store holds what it should, and what is broken where (`docs/verifying.md`)."""
