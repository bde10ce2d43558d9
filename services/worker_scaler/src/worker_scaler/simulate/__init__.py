"""The scaler on virtual time: the same decide and cycle code against a simulated ECS, SQS and Airflow.

``workload`` says what arrives, ``ecs`` and ``world`` play the rest of the world, ``ports`` shows that world
to the scaler as the real one would, ``bounds`` says what nobody can undercut, ``report`` measures.
"""
