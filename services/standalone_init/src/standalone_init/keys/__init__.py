"""The secrets without which Airflow's services do not understand each other, and the Fernet key above all."""
