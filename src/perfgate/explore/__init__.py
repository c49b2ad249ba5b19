"""A search through engine and scheduler settings for throughput under a P95 ceiling."""
