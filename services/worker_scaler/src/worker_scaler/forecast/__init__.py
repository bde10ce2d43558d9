"""Prediction: from an Airflow's own past to the outlook of the next minute.

``latency`` learns how long a worker takes to start, ``slots`` how long a task will hold its slot, ``foresee``
puts both and the known next runs together into an :class:`~worker_scaler.outlook.Outlook`. Each part is a
value of :class:`~worker_scaler.forecast.policy.Foresight` that can be switched off; without a history all of
them say nothing, and the scaler is exact.
"""
