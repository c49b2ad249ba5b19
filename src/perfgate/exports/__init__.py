"""A run's findings in the forms that other tools read: pure, values in, text or bytes out.

annotations       GitHub workflow commands at the points' lines
bencher           Bencher Metric Format
benchmark_json    pytest-benchmark's JSON
openmetrics       gauges for Prometheus: node_exporter's textfile collector, a push gateway
requests          the records as CSV and Parquet
formats           all of them by name, and the job summary
"""
