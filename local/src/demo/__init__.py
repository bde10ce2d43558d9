"""The main job on one machine: the local cloud, PostgreSQL, real Airflow and the four sidecars.

``scenario`` tells the story, ``services`` is the architecture as data, ``stage`` starts and ends the
machinery, ``timeline`` shows what the sidecars say, ``counting`` counts log lines on both ends, and
``verdict`` decides, purely, whether every promise held.
"""
