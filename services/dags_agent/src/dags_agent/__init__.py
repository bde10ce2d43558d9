"""Keeps a directory (EFS) in step with an S3 prefix; readers see whole, verified releases only.

Observe: :mod:`dags_agent.source` (S3), :mod:`dags_agent.disk` (the target). Decide: :mod:`dags_agent.plan`
(pure). Act: :mod:`dags_agent.publish` with :mod:`dags_agent.fetch`. Tell: :mod:`dags_agent.events`.
:mod:`dags_agent.cycle` joins them.
"""
