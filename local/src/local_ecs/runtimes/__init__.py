"""What runs the containers of a task: nothing (``virtual``), processes of this machine (``process``)."""
