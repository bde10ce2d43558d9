"""The chassis of the four sidecars: one way to be a sidecar, so that knowing one is knowing four.

A service describes itself with one :class:`sidecar.app.Sidecar` value and hands it to
:func:`sidecar.cli.main`. The chassis reads the settings, speaks on the command line, starts the loop,
serves ``/metrics``, ``/healthz`` and ``/readyz``, and stops on SIGTERM within the deadline. It knows
nothing about Airflow: code enters this package with its second real user, never before.
"""
