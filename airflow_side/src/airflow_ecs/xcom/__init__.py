"""The XCom store: values as objects in S3 under KMS.

It knows nothing of Airflow; ``airflow_ecs.xcom_s3`` does.

``store`` joins the others: ``content`` says what a value is as bytes, ``compression`` and ``envelope`` change
bytes, ``keys`` and ``reference`` say where they are, ``objects`` moves them, ``errors`` says what went wrong.
"""
