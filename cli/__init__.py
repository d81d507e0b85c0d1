"""The command line of cpcnn: it parses, calls `cpcnn.jobs`, and renders what they yield."""
