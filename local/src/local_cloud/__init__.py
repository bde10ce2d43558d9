"""The AWS and the PostgreSQL of the local cloud: everything but ECS, on loopback alone.

``server`` is moto's server with ``guards``, ``firehose`` and ``faults`` in front; ``postgres`` is a real
PostgreSQL from a wheel; ``parent`` ties every process to the one that started it.
"""
