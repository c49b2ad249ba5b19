"""The concurrency sweep: where to measure next, what came out, and the file that holds it."""
