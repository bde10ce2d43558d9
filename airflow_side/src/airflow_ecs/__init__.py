"""What Apache Airflow 3 needs inside its own image to run on AWS ECS.

The dotted names that users put in ``airflow.cfg`` are frozen; importing any of them is cheap.
"""
