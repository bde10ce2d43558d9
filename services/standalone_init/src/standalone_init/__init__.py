"""First start and upgrades of an Airflow deployment that cannot go wrong silently.

Looks at the database, the image and the files (``observe``), names the state (``state``), decides what is
missing (``plan``, pure), does it under a lock that waits (``lock``, ``steps``), believes only what it reads
afterwards (``verify``), and tells (``events``, ``record``, ``report``). Airflow itself is reached as a
subprocess through one adapter (``airflow_cli``): this package never imports it.
"""
