"""What the tests of every sidecar share; it ships with the chassis because services are its users.

``fake_clock``  a clock that the test owns
``replay``      a plan replayed at every interrupted prefix
``waiting``     wait for a condition with a deadline, never for a time
``golden``      text that is interface, kept in a file
``plugin``      pytest fixtures: ``aws`` (moto server), ``run_sidecar`` (a real process)
"""
