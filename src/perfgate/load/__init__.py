"""Workload + Server --run--> records: a planner, a worker process and a parser, kept apart.

    planner      what is sent: every request drawn and serialised before the clock starts
    worker       the process that sends it: appends stamps and raw bytes, parses nothing
    parser       what came back: raw bytes to RequestRecords, after the run
    running      the door: one load from start to end

This file imports nothing, so that the worker starts with what it needs alone.
"""
