"""Workload -> Schedule: which request is how long and due when, the same in real and virtual time.

schedule  every request of a load: prompt and output tokens, and when it is due
pace      who sends what next while a load runs
rounds    where rounds begin and end
backlog   which requests had to wait for a client to be free
trace     recorded traces, line by line
"""
