"""LoadRun --measure--> Measurement: pure functions of records, no clock, no file, no server.

window        which requests and tokens count
distribution  a sample in few numbers, and what it is too small for
metrics       one row a metric: name, unit, direction, formula
validity      the reasons why a run may not be judged; steady_validity, gpu_validity: more of them
attribution   where a request's time went
measure       all of it together
explain       two measurements against each other, phase by phase
curve         throughput over latency for several concurrencies, and its knee
"""
