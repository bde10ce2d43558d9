"""An ECS that unmodified boto3 talks to and that really starts processes.

Pure rules: ``model``, ``state``, ``lifecycle``, ``scheduler``, ``failures``, ``protection``, ``throttle``,
``faults``. ``engine`` moves them through time over a ``runtime``; ``api`` and ``actions`` speak the ECS
API's JSON; ``server`` serves it; ``virtual`` is the whole without HTTP, on time that the caller owns.
"""
