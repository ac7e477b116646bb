"""Moving a store: everything in it as lines of a file, and from there into a store on whatever engine."""
