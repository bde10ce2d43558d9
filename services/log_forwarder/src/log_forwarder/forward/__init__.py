"""Fluent Forward, protocol v1: what Docker's ``fluentd`` driver, FireLens, Fluent Bit and Fluentd speak.

https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1 (read 2026-11)
"""
